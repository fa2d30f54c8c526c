// Convolutions of [N, H, W, C] as products of matrices, in pieces that threads can take. A row of a
// matrix is an output pixel. Nothing here knows TensorFlow.
#ifndef SSPQ_CONV_CONV_H_
#define SSPQ_CONV_CONV_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>

#include "custom_ops/conv/cpu/loops.h"
#include "custom_ops/cpu/aligned.h"

namespace sspq {

struct ConvShape {
  int64_t batch, height, width, channels;
  int64_t kernel_h, kernel_w, features;
  int64_t stride_h, stride_w;
  int64_t out_h, out_w, pad_top, pad_left;

  // Works out the last four by TensorFlow's rule: as many rows of zeros above as below, or one
  // less.
  void Pad(bool same) {
    const auto one = [same](int64_t size, int64_t kernel, int64_t stride, int64_t* out,
                            int64_t* pad) {
      *out = same ? (size + stride - 1) / stride : size < kernel ? 0 : (size - kernel) / stride + 1;
      *pad = same ? std::max((*out - 1) * stride + kernel - size, int64_t{0}) / 2 : 0;
    };
    one(height, kernel_h, stride_h, &out_h, &pad_top);
    one(width, kernel_w, stride_w, &out_w, &pad_left);
  }

  int64_t rows() const { return batch * out_h * out_w; }
  // Values that an output reads, in the kernel's order.
  int64_t patch() const { return kernel_h * kernel_w * channels; }
  bool pointwise() const { return kernel_h == 1 && kernel_w == 1; }
  // Whether the rows of the input are the patches.
  bool plain() const { return pointwise() && stride_h == 1 && stride_w == 1; }
  // A row's image, and the pixel of the output in it.
  struct Place {
    int64_t n, i, j;
  };
  Place PlaceOf(int64_t row) const {
    return {row / out_w / out_h, row / out_w % out_h, row % out_w};
  }
  // Where the one pixel of a pointwise convolution's patch begins; such a patch is never padded.
  int64_t PixelOf(int64_t row) const {
    if (plain()) return row * channels;  // divisions take longer than a short row's product
    const Place at = PlaceOf(row);
    return ((at.n * height + at.i * stride_h) * width + at.j * stride_w) * channels;
  }
};

// Copies the values [first, last) of the patches of some rows; zeros where they leave the image.
inline void CopyPatches(const ConvShape& shape, const float* x, int64_t first_row, int64_t rows,
                        int64_t first, int64_t last, float* to) {
  const int64_t line = shape.width * shape.channels, span = shape.kernel_w * shape.channels;
  for (int64_t row = first_row; row < first_row + rows; ++row) {
    const ConvShape::Place at = shape.PlaceOf(row);
    const int64_t left = (at.j * shape.stride_w - shape.pad_left) * shape.channels;
    for (int64_t k = first / span; k * span < last; ++k) {
      const int64_t y = at.i * shape.stride_h - shape.pad_top + k;
      const int64_t begin = std::max(first - k * span, int64_t{0});
      const int64_t end = std::min(last - k * span, span);
      // [begin, inside) and [outside, end) lie beyond the line.
      const bool beyond = y < 0 || y >= shape.height;
      const int64_t inside = beyond ? end : std::min(std::max(begin, -left), end);
      const int64_t outside = beyond ? end : std::max(std::min(end, line - left), inside);
      const float* from = x + (at.n * shape.height + y) * line + left;
      std::fill(to, to + (inside - begin), 0.f);
      if (outside > inside) {
        std::memcpy(to + (inside - begin), from + inside, (outside - inside) * sizeof(float));
      }
      std::fill(to + (outside - begin), to + (end - begin), 0.f);
      to += end - begin;
    }
  }
}

// The right factor b of a product, cut into panels as wide as a tile, the last one narrower. Panels
// are copies, in which a panel's rows lie next to each other; or they lie in b itself.
class Panels {
 public:
  // b[depth][columns], or of its transpose b[columns][depth], of which panels are always copies.
  Panels(const ProductLoops& loops, const float* b, int64_t depth, int64_t columns, bool transposed)
      : loops_(loops),
        b_(b),
        depth_(depth),
        columns_(columns),
        wide_(loops.lanes * loops.vectors),
        transposed_(transposed),
        // Whole vectors are read.
        copied_(transposed || columns % loops.lanes != 0),
        room_(copied_ ? (columns + loops.lanes - 1) / loops.lanes * loops.lanes * depth : 0) {}

  int64_t count() const { return (columns_ + wide_ - 1) / wide_; }
  int64_t depth() const { return depth_; }
  int64_t wide() const { return wide_; }
  int64_t first(int64_t panel) const { return panel * wide_; }
  int64_t columns(int64_t panel) const { return std::min(wide_, columns_ - first(panel)); }
  // From one row of a panel to the next.
  int64_t step(int64_t panel) const {
    if (!copied_) return columns_;
    return (columns(panel) + loops_.lanes - 1) / loops_.lanes * loops_.lanes;
  }
  const float* at(int64_t panel) const {
    return copied_ ? room_.data() + first(panel) * depth_ : b_ + first(panel);
  }

  // Has to be called for every panel before it is used.
  void Fill(int64_t panel) const {
    if (!copied_) return;
    float* const to = room_.data() + first(panel) * depth_;
    const int64_t own = columns(panel), padded = step(panel);
    if (transposed_) {
      loops_.transpose(b_ + first(panel) * depth_, own, depth_, depth_, to, padded);
    } else {
      for (int64_t k = 0; k < depth_; ++k) {
        std::memcpy(to + k * padded, b_ + k * columns_ + first(panel), own * sizeof(float));
      }
    }
    if (padded == own) return;
    for (int64_t k = 0; k < depth_; ++k) {
      std::fill(to + k * padded + own, to + (k + 1) * padded, 0.f);
    }
  }

 private:
  const ProductLoops& loops_;
  const float* const b_;
  const int64_t depth_, columns_, wide_;
  const bool transposed_, copied_;
  const AlignedRoom<float> room_;
};

// c (+)= a b for some rows, tile by tile: `columns` columns, b_step values from row to row of b, at
// which whole vectors may be read. a_row(i) and c_row(i) tell where a row begins; a_step is from
// one value of a row of a to the next.
template <typename ARow, typename CRow>
void MultiplyTiles(const ProductLoops& loops, int64_t rows, int64_t columns, int64_t depth,
                   const ARow& a_row, int64_t a_step, const float* b, int64_t b_step,
                   const CRow& c_row, bool add) {
  const int vectors = (columns + loops.lanes - 1) / loops.lanes;
  const int tall = loops.rows[vectors - 1];
  const bool whole = columns == vectors * loops.lanes;
  alignas(64) float aside[kMaxRows][kMaxVectors * kMaxLanes];
  for (int64_t i = 0; i < rows; i += tall) {
    const float* a[kMaxRows];
    float* c[kMaxRows];
    const int64_t own = std::min<int64_t>(tall, rows - i);
    for (int64_t r = 0; r < tall; ++r) {
      a[r] = a_row(i + std::min(r, own - 1));  // what is computed twice goes aside
      c[r] = whole && r < own ? c_row(i + r) : aside[r];
      if (!whole && add && r < own) std::memcpy(c[r], c_row(i + r), columns * sizeof(float));
    }
    loops.tile[vectors - 1](Tile{a, a_step, b, b_step, c, depth, add});
    if (whole) continue;
    for (int64_t r = 0; r < own; ++r) std::memcpy(c_row(i + r), c[r], columns * sizeof(float));
  }
}

// As much of a panel as stays in a core's second cache next to what else is there.
constexpr int64_t kDepth = 256;

// c = a b for some rows and panels.
template <typename ARow, typename CRow>
void MultiplyPanels(const ProductLoops& loops, int64_t rows, const ARow& a_row,
                    const Panels& panels, int64_t first_panel, int64_t last_panel,
                    const CRow& c_row) {
  for (int64_t k = 0; k == 0 || k < panels.depth(); k += kDepth) {  // an empty sum is zero
    const int64_t depth = std::min(kDepth, panels.depth() - k);
    for (int64_t p = first_panel; p < last_panel; ++p) {
      const int64_t column = panels.first(p), step = panels.step(p);
      MultiplyTiles(
          loops, rows, panels.columns(p), depth, [&](int64_t i) { return a_row(i) + k; }, 1,
          panels.at(p) + k * step, step, [&](int64_t i) { return c_row(i) + column; }, k > 0);
    }
  }
}

// A product cut into rows and panels, so that every thread has several pieces of it. No sum is cut.
class ProductPieces {
 public:
  struct Piece {
    int64_t first_row, rows, first_panel, last_panel;
  };

  ProductPieces(int64_t rows, const Panels& panels, int threads)
      : rows_(rows), panels_(panels.count()), row_blocks_((rows + kRows - 1) / kRows) {
    const int64_t wanted = (kPieces * threads + row_blocks_ - 1) / row_blocks_;
    wide_ = (panels_ + wanted - 1) / wanted;
    groups_ = (panels_ + wide_ - 1) / wide_;
    cost_ = kRows * panels.depth() * wide_ * panels.wide() / 16;
  }

  int64_t count() const { return row_blocks_ * groups_; }
  int64_t cost() const { return cost_; }
  Piece at(int64_t i) const {
    const int64_t row = i / groups_ * kRows, panel = i % groups_ * wide_;
    return {row, std::min(kRows, rows_ - row), panel, std::min(panel + wide_, panels_)};
  }

 private:
  static constexpr int64_t kRows = 96;
  static constexpr int64_t kPieces = 4;  // of a thread

  int64_t rows_, panels_, row_blocks_, wide_, groups_, cost_;
};

// Writes zeros to the pixels that a pointwise convolution with strides does not read, behind and
// below those that some rows read.
inline void ZeroBetween(const ConvShape& shape, int64_t first_row, int64_t rows, float* x) {
  if (shape.stride_h == 1 && shape.stride_w == 1) return;
  const int64_t line = shape.width * shape.channels;
  for (int64_t row = first_row; row < first_row + rows; ++row) {
    const ConvShape::Place at = shape.PlaceOf(row);
    float* const first = x + (at.n * shape.height + at.i * shape.stride_h) * line;
    const int64_t pixel = at.j * shape.stride_w;
    const int64_t next = at.j + 1 < shape.out_w ? pixel + shape.stride_w : shape.width;
    std::fill(first + (pixel + 1) * shape.channels, first + next * shape.channels, 0.f);
    if (at.j > 0) continue;
    const int64_t below =
        at.i + 1 < shape.out_h ? shape.stride_h : shape.height - at.i * shape.stride_h;
    std::fill(first + line, first + below * line, 0.f);
  }
}

// Gradient to the kernel: the sum over all rows of patch' gy. Rows are cut into chunks, and each
// chunk's patches into strips of columns; a strip of a chunk is a piece of work. How it is cut
// depends on the shape alone and chunks are added up in order, so the bits do not depend on the
// number of threads.
class KernelGradient {
 public:
  KernelGradient(const ProductLoops& loops, const ConvShape& shape, const float* x, const float* gy,
                 float* gradient)
      : loops_(loops), shape_(shape), x_(x), gy_(gy), gradient_(gradient) {
    const int64_t size = shape.patch() * shape.features, rows = shape.rows();
    const int64_t most = std::max<int64_t>(1, std::min(kMaxChunks, kMaxPartial / size));
    chunk_ = (rows + most - 1) / most;
    chunk_ = std::max((chunk_ + kRows - 1) / kRows, int64_t{2}) * kRows;
    chunks_ = (rows + chunk_ - 1) / chunk_;
    strips_ = (shape.patch() + kMaxStrip - 1) / kMaxStrip;
    strip_ = (shape.patch() + strips_ - 1) / strips_;
    strip_ = (strip_ + 1) / 2 * 2;
    strips_ = (shape.patch() + strip_ - 1) / strip_;
    if (chunks_ > 1) partial_.reset(new AlignedRoom<float>(chunks_ * size));
  }

  int64_t pieces() const { return chunks_ * strips_; }
  int64_t cost() const { return std::min(chunk_, shape_.rows()) * strip_ * shape_.features / 16; }

  void Run(int64_t piece) {
    const int64_t chunk = piece / strips_, first = piece % strips_ * strip_;
    const int64_t last = std::min(first + strip_, shape_.patch()), strip = last - first;
    const int64_t begin = chunk * chunk_, end = std::min(begin + chunk_, shape_.rows());
    const int64_t features = shape_.features, wide = loops_.lanes * loops_.vectors;
    const int64_t tail = features % loops_.lanes == 0 ? 0 : features % wide;
    const int64_t tail_wide = (tail + loops_.lanes - 1) / loops_.lanes * loops_.lanes;
    float* const to =
        (chunks_ > 1 ? partial_->data() + chunk * shape_.patch() * features : gradient_) +
        first * features;
    const AlignedRoom<float> patches(shape_.plain() ? 0 : kRows * strip), rest(kRows * tail_wide);
    for (int64_t row = begin; row < end; row += kRows) {
      const int64_t rows = std::min(kRows, end - row);
      const float* a = x_ + row * shape_.channels + first;
      int64_t a_step = shape_.channels;
      if (!shape_.plain()) {
        CopyPatches(shape_, x_, row, rows, first, last, patches.data());
        a = patches.data();
        a_step = strip;
      }
      for (int64_t j = 0; j < features; j += wide) {
        const int64_t columns = std::min(wide, features - j);
        const float* b = gy_ + row * features + j;
        int64_t b_step = features;
        if (columns == tail) {  // whole vectors are read, and the last ones would leave the tensor
          for (int64_t k = 0; k < rows; ++k) {
            std::memcpy(rest.data() + k * tail_wide, b + k * features, tail * sizeof(float));
          }
          b = rest.data();
          b_step = tail_wide;
        }
        MultiplyTiles(
            loops_, strip, columns, rows, [&](int64_t i) { return a + i; }, a_step, b, b_step,
            [&](int64_t i) { return to + i * features + j; }, row > begin);
      }
    }
  }

  // Adds up the chunks' values [begin, end).
  void Finish(int64_t begin, int64_t end) {
    if (chunks_ == 1) return;
    const int64_t size = shape_.patch() * shape_.features;
    std::copy(partial_->data() + begin, partial_->data() + end, gradient_ + begin);
    for (int64_t chunk = 1; chunk < chunks_; ++chunk) {
      const float* const from = partial_->data() + chunk * size;
      for (int64_t i = begin; i < end; ++i) gradient_[i] += from[i];
    }
  }

 private:
  static constexpr int64_t kRows = 256;  // rows at a time: their values stay in the second cache
  static constexpr int64_t kMaxChunks = 16;
  static constexpr int64_t kMaxPartial = 1 << 21;  // values of all chunks
  static constexpr int64_t kMaxStrip = 96;

  const ProductLoops& loops_;
  const ConvShape shape_;
  const float *x_, *gy_;
  float* gradient_;
  int64_t chunk_, chunks_, strip_, strips_;
  std::unique_ptr<AlignedRoom<float>> partial_;
};

}  // namespace sspq

#endif  // SSPQ_CONV_CONV_H_

// shift2d on the CPU for both layouts: splits the work into items that a thread pool may run in
// any order. No two items write one value, and every sum has a fixed order, so the result does not
// depend on the number of threads, nor on which version of the loops runs. Knows nothing of
// TensorFlow.
#ifndef SSPQ_SHIFT2D_CPU_SHIFT2D_CPU_H_
#define SSPQ_SHIFT2D_CPU_SHIFT2D_CPU_H_

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>

#include "custom_ops/cpu/aligned.h"
#include "custom_ops/cpu/versions.h"
#include "custom_ops/shift2d/core/element.h"
#include "custom_ops/shift2d/core/geometry.h"
#include "custom_ops/shift2d/cpu/blocks.h"
#include "custom_ops/shift2d/cpu/loops.h"
#include "custom_ops/shift2d/cpu/paths.h"
#include "custom_ops/shift2d/cpu/plan.h"
#include "custom_ops/shift2d/cpu/reference.h"
#include "custom_ops/shift2d/cpu/taps.h"

namespace sspq {

// The loops of a version; null for the reference.
const Shift2DLoops* Shift2DLoopsOf(Version version);

// Enough for the threads of a large machine to share.
constexpr int64_t kMostItems = 32;
// What a thread works on at a time, so that it is in the cache where it is read again: few rows for
// both gradients of kWindow, more where a band begins with rows that the one before it had read.
constexpr int64_t kBandBytes = 256 * 1024, kWindowBackwardBytes = 64 * 1024;

// One pass of one call.
template <typename T>
class Shift2DCpu {
 public:
  // `shift` is [2, channels]: along W, then along H.
  Shift2DCpu(const Geometry& g, const T* shift, Version version, Pass pass)
      : g_(g),
        taps_(g, shift),
        loops_(Shift2DLoopsOf(version)),
        lines_(taps_.y.padded / kLineChannels),
        in_blocks_(InBlocks(g.nchw, g.channels)) {
    plan_.reset(loops_ ? MakePlan(g, taps_, pass) : nullptr);
    SplitBackward();
  }

  // What works the lines off, and how many each: for the trace.
  std::string Paths() const {
    std::string text = in_blocks_ && Vectorised() ? "blocks, " : "";
    for (Path path : {Path::kWindow, Path::kStrided, Path::kShifter, Path::kElement}) {
      int64_t count = 0;
      for (int64_t line = 0; line < lines_; ++line) count += PathOf(line) == path;
      if (count == 0) continue;
      if (count < lines_) text += std::to_string(count) + " of " + std::to_string(lines_) + " ";
      text += std::string(PathName(path)) + ", ";
    }
    return text.substr(0, text.size() - std::min<size_t>(2, text.size()));
  }

  // ---- forward

  // Lines of images in blocks, rows of images elsewhere.
  int64_t forward_items() const { return g_.batch * (in_blocks_ ? lines_ : g_.h.out); }

  void Forward(const T* x, T* y, int64_t begin, int64_t end) const {
    AlignedRoom<float> room(Has(Path::kShifter) ? ShifterSampleRoom(BlockOrAll(), 1) : 0);
    if (in_blocks_) {
      AlignedRoom<float> from(BlockSize(g_.h.in, g_.w.in)), to(BlockSize(g_.h.out, g_.w.out));
      for (int64_t item = begin; item < end; ++item) {
        ForwardBlock(x, item / lines_, item % lines_, room.data(), from.data(), to.data(), y);
      }
      return;
    }
    ForEachBand(begin, end, g_.h.out, BandRows(g_.h.out, g_.w.out, kBandBytes),
                [&](int64_t n, bool start, int64_t first, int64_t last) {
                  ForwardRows(x, n, start, first, last, room.data(), y);
                });
  }

  // ---- backward: both gradients, one visit to the data

  // Item = one slice of one group of images: a share of the lines (blocks) or a band of rows.
  int64_t backward_items() const { return groups_ * slices_; }

  // float64 sums that Backward leaves for Finish: sets of [2, padded channels].
  int64_t partial_size() const { return sets() * 2 * taps_.y.padded; }

  // An item sets its share of `partial` to zero first. If no item is run, the caller does that.
  void Backward(const T* x, const T* gy, T* gx, double* partial, int64_t begin, int64_t end) const {
    const int64_t rows = in_blocks_ ? g_.h.in : g_.h.in / slices_ / bands_ + 2;
    AlignedRoom<float> room(
        !plan_ ? 0
               : std::max(WindowRoom(BlockOrAll(), rows),
                          Has(Path::kShifter) ? ShifterRoom(BlockOrAll(), rows) : 0));
    AlignedRoom<float> x_block(BlockSize(g_.h.in, g_.w.in)), gx_block(BlockSize(g_.h.in, g_.w.in));
    AlignedRoom<float> gy_block(BlockSize(g_.h.out, g_.w.out));
    const BackwardRoom rooms = {room.data(), x_block.data(), gy_block.data(), gx_block.data()};
    for (int64_t item = begin; item < end; ++item) {
      const int64_t group = item / slices_, slice = item % slices_;
      const int64_t first = Cut(g_.batch, group, groups_), last = Cut(g_.batch, group + 1, groups_);
      double* const sum_x = partial + 2 * (in_blocks_ ? group : item) * taps_.y.padded;
      const Sums sums = {sum_x, sum_x + taps_.y.padded};
      if (in_blocks_) {
        BackwardLines(x, gy, gx, rooms, sums, first, last, slice);
      } else {
        BackwardRows(x, gy, gx, room.data(), sums, first, last, slice);
      }
    }
  }

  // Adds the partial sums of channels [begin, end) up, in order, into `gshift` [2, channels].
  void Finish(double* partial, bool normalize, int64_t begin, int64_t end, T* gshift) const {
    const int64_t padded = taps_.y.padded;
    // Set by set, in the order of memory; into the first set.
    for (int64_t s = 1; s < sets(); ++s) {
      for (int64_t first : {int64_t{0}, padded}) {
        double* const to = partial + first;
        const double* const set = to + 2 * s * padded;
        for (int64_t c = begin; c < end; ++c) to[c] += set[c];
      }
    }
    for (int64_t c = begin; c < end; ++c) {
      double *const x = &partial[c], *const y = &partial[padded + c];
      if (normalize) NormalizeGradient(x, y);
      gshift[c] = static_cast<T>(*x);
      gshift[g_.channels + c] = static_cast<T>(*y);
    }
    for (int64_t c : taps_.lost) {
      if (c < begin || c >= end) continue;
      gshift[c] = gshift[g_.channels + c] = std::numeric_limits<T>::quiet_NaN();
    }
  }

 private:
  struct Sums {
    double *x, *y;
  };
  struct BackwardRoom {
    float *loops, *x, *gy, *gx;
  };

  // Loops are for float32.
  static Plan* MakePlan(const Geometry& g, const ChannelTaps<float>& taps, Pass pass) {
    return new Plan(g, taps, pass);
  }
  static Plan* MakePlan(const Geometry&, const ChannelTaps<double>&, Pass) { return nullptr; }
  static const float* Floats(const float* values) { return values; }
  static float* Floats(float* values) { return values; }
  static const float* Floats(const double*) { return nullptr; }  // there is no plan
  static float* Floats(double*) { return nullptr; }

  // Whether any line is worked off by loops.
  bool Vectorised() const {
    return Has(Path::kWindow) || Has(Path::kStrided) || Has(Path::kShifter);
  }
  bool Has(Path path) const { return plan_ && plan_->Has(path); }
  Path PathOf(int64_t line) const { return plan_ ? plan_->path(line) : Path::kElement; }
  PixelMap BlockOrAll() const { return in_blocks_ ? BlockMap(plan_->map(), 0) : plan_->map(); }
  int64_t BlockSize(int64_t height, int64_t width) const {
    return in_blocks_ && Vectorised() ? height * width * kLineChannels : 0;
  }

  // Where share `at` of `shares` of n things begins.
  static int64_t Cut(int64_t n, int64_t at, int64_t shares) { return n * at / shares; }

  // One at least, for Finish: no images give a gradient of zero.
  int64_t sets() const { return std::max<int64_t>(1, in_blocks_ ? groups_ : groups_ * slices_); }

  // Few images are cut into slices, many into groups; either depends on sizes alone, never on the
  // number of threads. A set of partial sums takes 16 bytes a channel, which Finish reads again:
  // small tensors are cut less.
  void SplitBackward() {
    const int64_t bytes = g_.batch * g_.h.in * g_.w.in * static_cast<int64_t>(sizeof(T));
    const int64_t wanted = std::max(bytes / 512, std::min<int64_t>(4, bytes / 16));
    const int64_t most = std::max<int64_t>(1, std::min(kMostItems, wanted));
    groups_ = std::min(g_.batch, most);
    slices_ = std::min(in_blocks_ ? lines_ : g_.h.in, most / std::max<int64_t>(1, g_.batch));
    slices_ = std::max<int64_t>(1, slices_);
    const int64_t rows = g_.h.in / slices_,
                  band = BandRows(rows, g_.w.in,
                                  Has(Path::kWindow) ? kWindowBackwardBytes : kBandBytes);
    bands_ = std::max<int64_t>(1, (rows + band - 1) / band);
  }

  // Rows of a band of about `bytes`. All bands are about equally long, since each begins anew.
  int64_t BandRows(int64_t height, int64_t width, int64_t bytes) const {
    const int64_t row = std::max<int64_t>(1, width * g_.channels * static_cast<int64_t>(sizeof(T)));
    const int64_t most = std::max<int64_t>(1, bytes / row);
    const int64_t bands = std::max<int64_t>(1, (height + most - 1) / most);
    return std::max<int64_t>(1, (height + bands - 1) / bands);
  }

  // Calls visit(image, start, begin, end) for bands of rows that make up [begin, end), counted over
  // all images of `height` rows; `start` is false where a band goes on from the one before.
  template <typename Visit>
  static void ForEachBand(int64_t begin, int64_t end, int64_t height, int64_t band,
                          const Visit& visit) {
    int64_t n = begin / std::max<int64_t>(1, height), first = begin - n * height;
    for (int64_t left = end - begin; left > 0; ++n, first = 0) {
      const int64_t last = std::min(height, first + left);
      left -= last - first;
      for (int64_t i = first; i < last; i += band) {
        visit(n, i == first, i, std::min(last, i + band));
      }
    }
  }

  // Calls visit(c) for the channels of a line.
  template <typename Visit>
  void ForChannels(int64_t line, const Visit& visit) const {
    const int64_t first = line * kLineChannels;
    for (int64_t c = first; c < std::min(g_.channels, first + kLineChannels); ++c) visit(c);
  }

  // ---- rows [begin, end) of image n, all lines

  void ForwardRows(const T* x, int64_t n, bool start, int64_t begin, int64_t end, float* room,
                   T* y) const {
    if (Has(Path::kWindow) || Has(Path::kStrided)) {
      const auto loop = Has(Path::kWindow) ? loops_->window_forward : loops_->strided_forward;
      loop(plan_->map(), Floats(x) + n * InSize(), begin, end, Floats(y) + n * OutSize());
      return;
    }
    for (int64_t line = 0; line < lines_; ++line) {
      if (PathOf(line) == Path::kShifter) {
        loops_->shifter_forward(plan_->map(), line, Floats(x) + n * InSize(), start, begin, end,
                                room, Floats(y) + n * OutSize());
        continue;
      }
      ForChannels(line, [&](int64_t c) { ReferenceForward(g_, taps_, x, n, c, begin, end, y); });
    }
  }

  // Band `slice` of images [first, last).
  void BackwardRows(const T* x, const T* gy, T* gx, float* room, const Sums& sums, int64_t first,
                    int64_t last, int64_t slice) const {
    // Where band k of the slice begins, of an image of `height` rows.
    auto row = [&](int64_t height, int64_t k) {
      const int64_t begin = Cut(height, slice, slices_), end = Cut(height, slice + 1, slices_);
      return begin + Cut(end - begin, k, bands_);
    };
    std::fill(sums.x, sums.x + 2 * taps_.y.padded, 0.0);
    for (int64_t n = first; n < last; ++n) {
      const float *const own_gy = Floats(gy) + n * OutSize(), *const own_x =
                                                                  Floats(x) + n * InSize();
      float* const own_gx = Floats(gx) + n * InSize();
      for (int64_t k = 0; k < bands_; ++k) {
        const int64_t begin = row(g_.h.in, k), end = row(g_.h.in, k + 1);
        if (Has(Path::kWindow)) {
          loops_->window_backward(plan_->map(), own_gy, own_x, begin, end, room, own_gx, sums.x,
                                  sums.y);
          continue;
        }
        for (int64_t line = 0; line < lines_; ++line) {
          if (PathOf(line) == Path::kShifter) {
            loops_->shifter_backward(plan_->map(), line, own_gy, own_x, k == 0, begin, end, room,
                                     own_gx, sums.x, sums.y);
          } else {
            BackwardByElement(x, gy, gx, n, line, begin, end, sums);
          }
        }
      }
    }
    AddIntegers(x, gy, first, last, row(g_.h.out, 0), row(g_.h.out, bands_), 0, lines_, sums);
  }

  // ---- whole images in blocks, line by line

  void ForwardBlock(const T* x, int64_t n, int64_t line, float* room, float* from, float* to,
                    T* y) const {
    if (PathOf(line) == Path::kElement) {
      ForChannels(line, [&](int64_t c) { ReferenceForward(g_, taps_, x, n, c, 0, g_.h.out, y); });
      return;
    }
    const PixelMap m = BlockMap(plan_->map(), line);
    ToBlock(LineView<const float>(Floats(x), g_, g_.h.in * g_.w.in, n, line), from);
    if (PathOf(line) == Path::kWindow) {
      loops_->window_forward(m, from, 0, g_.h.out, to);
    } else if (PathOf(line) == Path::kStrided) {
      loops_->strided_forward(m, from, 0, g_.h.out, to);
    } else {
      loops_->shifter_forward(m, 0, from, true, 0, g_.h.out, room, to);
    }
    FromBlock(to, LineView<float>(Floats(y), g_, g_.h.out * g_.w.out, n, line));
  }

  // Share `slice` of the lines of images [first, last).
  void BackwardLines(const T* x, const T* gy, T* gx, const BackwardRoom& rooms, const Sums& sums,
                     int64_t first, int64_t last, int64_t slice) const {
    const int64_t begin = Cut(lines_, slice, slices_), end = Cut(lines_, slice + 1, slices_);
    std::fill(sums.x + begin * kLineChannels, sums.x + end * kLineChannels, 0.0);
    std::fill(sums.y + begin * kLineChannels, sums.y + end * kLineChannels, 0.0);
    for (int64_t n = first; n < last; ++n) {
      for (int64_t line = begin; line < end; ++line) {
        BackwardBlock(x, gy, gx, n, line, rooms, sums);
      }
    }
    AddIntegers(x, gy, first, last, 0, g_.h.out, begin, end, sums);
  }

  void BackwardBlock(const T* x, const T* gy, T* gx, int64_t n, int64_t line,
                     const BackwardRoom& rooms, const Sums& sums) const {
    if (PathOf(line) == Path::kElement) {
      return BackwardByElement(x, gy, gx, n, line, 0, g_.h.in, sums);
    }
    const PixelMap m = BlockMap(plan_->map(), line);
    const int64_t in = g_.h.in * g_.w.in;
    double *const sum_x = sums.x + line * kLineChannels, *const sum_y =
                                                             sums.y + line * kLineChannels;
    ToBlock(LineView<const float>(Floats(x), g_, in, n, line), rooms.x);
    ToBlock(LineView<const float>(Floats(gy), g_, g_.h.out * g_.w.out, n, line), rooms.gy);
    if (PathOf(line) == Path::kWindow) {
      loops_->window_backward(m, rooms.gy, rooms.x, 0, g_.h.in, rooms.loops, rooms.gx, sum_x,
                              sum_y);
    } else {
      loops_->shifter_backward(m, 0, rooms.gy, rooms.x, true, 0, g_.h.in, rooms.loops, rooms.gx,
                               sum_x, sum_y);
    }
    FromBlock(rooms.gx, LineView<float>(Floats(gx), g_, in, n, line));
  }

  // ---- element by element

  // Rows [begin, end) of the input.
  void BackwardByElement(const T* x, const T* gy, T* gx, int64_t n, int64_t line, int64_t begin,
                         int64_t end, const Sums& sums) const {
    ForChannels(line, [&](int64_t c) {
      ReferenceInputGradient(g_, taps_, gy, n, c, begin, end, gx);
      if (taps_.IsInteger(c)) return;  // by AddIntegers
      ReferenceShiftGradient(g_, taps_, x, gy, n, c, begin, end, &sums.x[c], &sums.y[c]);
    });
  }

  // The sums of the channels of lines [begin, end) whose shift is an integer, over rows [top,
  // bottom) of the output of images [first, last), in place of what loops made of them.
  void AddIntegers(const T* x, const T* gy, int64_t first, int64_t last, int64_t top,
                   int64_t bottom, int64_t begin, int64_t end, const Sums& sums) const {
    for (int64_t c : taps_.integer) {
      if (c / kLineChannels < begin || c / kLineChannels >= end) continue;
      sums.x[c] = sums.y[c] = 0;
      for (int64_t n = first; n < last; ++n) {
        ReferenceShiftGradient(g_, taps_, x, gy, n, c, top, bottom, &sums.x[c], &sums.y[c]);
      }
    }
  }

  int64_t InSize() const { return g_.h.in * g_.w.in * g_.channels; }
  int64_t OutSize() const { return g_.h.out * g_.w.out * g_.channels; }

  const Geometry g_;
  const ChannelTaps<T> taps_;
  const Shift2DLoops* const loops_;
  const int64_t lines_;
  const bool in_blocks_;
  std::unique_ptr<Plan> plan_;
  int64_t slices_ = 1, groups_ = 1, bands_ = 1;  // bands: of an image's slice
};

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CPU_SHIFT2D_CPU_H_

// Strips of a few pixels, which walk down the rows of an image, for kWindow: what a strip loads
// from row to row, and the order of strips and lines of channels.
#ifndef SSPQ_SHIFT2D_CPU_STRIPS_H_
#define SSPQ_SHIFT2D_CPU_STRIPS_H_

#include "custom_ops/cpu/vectors.h"
#include "custom_ops/shift2d/cpu/loops.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// Asks for memory that is read or written next, line by line in its order, which the processor's
// own prefetching takes up.
template <int N>
struct InOrder {
  // The cache line that comes `line` lines later; and to go on from there.
  SSPQ_INLINE void Ask(int line) const {
    for (int n = 0; n < N; ++n) Prefetch(next[n] + line * kLineChannels);
  }
  SSPQ_INLINE void Advance(int64_t lines) {
    for (int n = 0; n < N; ++n) next[n] += lines * kLineChannels;
  }

  const float* next[N];
};

// The first row of input that a band of output up to `end` does not read.
SSPQ_INLINE const float* NextInput(const PixelMap& m, const float* in, int64_t end) {
  const int64_t below = m.windows->row + m.windows->rows;
  const int64_t row = (end * m.stride_h + (below > 0 ? below : 0)) / m.zeros_h;
  return in + row * ReadWidth(m) * m.pitch;
}

// What a strip has to look out for: nothing, as all columns are inside; that its first column and
// its last two may be outside, as where shifts are within a pixel and nothing is padded; or all.
enum StripCare { kInside, kAtBorder, kAnywhere };

// Where the N + 2 columns that a strip reads begin, in a row.
template <int N, StripCare kCare>
class StripColumns {
 public:
  SSPQ_INLINE StripColumns(const PixelMap& m, int64_t first)
      : begin_(first + m.windows->column), width_(m.in_w), pitch_(m.pitch) {
    for (int k = 0; kCare == kAnywhere && k < N + 2; ++k) {
      const int64_t column = begin_ + k;
      const bool outside = column < 0 || column >= width_;
      offset_[k] = outside || column % m.zeros_w != 0 ? -1 : column / m.zeros_w * pitch_;
    }
  }

  SSPQ_INLINE V operator()(const float* row, int k) const {
    if (kCare == kAnywhere) return offset_[k] < 0 ? V{} : Load(row + offset_[k]);
    const int64_t column = begin_ + k;
    const bool may_be_outside = kCare == kAtBorder && (k == 0 || k >= N);
    if (may_be_outside && (column < 0 || column >= width_)) return V{};
    return Load(row + column * pitch_);
  }

 private:
  const int64_t begin_, width_, pitch_;
  int64_t offset_[kCare == kAnywhere ? N + 2 : 1];
};

// What a vector of channels takes from rows of N pixels: its own of the two rows and of the two
// columns.
template <int N, StripCare kCare, bool kKeep>
class StripVector {
 public:
  typedef StripColumns<N, kCare> Columns;

  SSPQ_INLINE void Load(const PixelMap& m, int64_t channel) {
    lo_x_ = SSPQ_CPU_VERSION::Load(m.lo_x + channel);
    hi_x_ = SSPQ_CPU_VERSION::Load(m.hi_x + channel);
    below_ = SSPQ_CPU_VERSION::Load(m.rows + channel) != m.windows->row;
    right_ = SSPQ_CPU_VERSION::Load(m.columns + channel) != m.windows->column;
  }

  // The first row.
  SSPQ_INLINE void Start(const float* row, const Columns& columns) {
    Unrolled<kKeep ? N + 2 : 0>::Run([&](int k) __attribute__((always_inline)) {
      last_[k] = columns(row, k);
    });
  }

  // Calls visit(k, left, right, sample) for the N pixels of a row and the one below.
  template <typename Visit>
  SSPQ_INLINE void Row(const float* upper, const float* lower, const Columns& columns,
                       const Visit& visit) {
    auto down = [&](int k) __attribute__((always_inline)) {
      const V above = kKeep ? last_[k] : columns(upper, k), below = columns(lower, k);
      if (kKeep) last_[k] = below;
      return IfThenElse(below_, below, above);
    };
    V middle = down(1), left = IfThenElse(right_, middle, down(0));
    Unrolled<N>::Run([&](int k) __attribute__((always_inline)) {
      const V next = down(k + 2), right = IfThenElse(right_, next, middle);
      visit(k, left, right, lo_x_ * left + hi_x_ * right);
      middle = next;
      left = right;
    });
  }

 private:
  V lo_x_, hi_x_;
  M below_, right_;
  V last_[kKeep ? N + 2 : 1];  // the row above
};

// The vectors of a line are worked off together: the second would no longer find the cache line
// where pixels lie many lines apart.
constexpr int kVectors = kLineChannels / kLanes;

// kVectors, but for loops that compilers should not unroll, as registers would not suffice.
SSPQ_INLINE int Vectors() {
  int n = kVectors;
  if (kVectors > 1) asm("" : "+r"(n));
  return n;
}

// What a line of channels reads of the rows of N pixels from `first` on, going down from row to
// row. `kKeep`: the row above is kept, in registers if a line is one vector; else it is loaded
// again.
template <int N, StripCare kCare, bool kKeep>
class Strip {
 public:
  SSPQ_INLINE Strip(const PixelMap& m, const float* in, int64_t channel, int64_t first, int64_t row)
      : columns_(m, first),
        step_(ReadWidth(m) * m.pitch),
        height_(m.in_h),
        zeros_between_(m.zeros_h),
        next_row_(row + m.windows->row),
        in_(in + channel),
        zeros_(m.zeros),
        lower_(NextRow()) {
    for (int h = 0; h < kVectors; ++h) {
      vectors_[h].Load(m, channel + h * kLanes);
      vectors_[h].Start(lower_ + h * kLanes, columns_);
    }
  }

  // Goes to the next row, of which Row(h, visit) calls visit(k, left, right, sample) for the N
  // pixels of vector h.
  SSPQ_INLINE void Advance() {
    upper_ = lower_;
    lower_ = NextRow();
  }
  template <typename Visit>
  SSPQ_INLINE void Row(int h, const Visit& visit) {
    vectors_[h].Row(upper_ + h * kLanes, lower_ + h * kLanes, columns_, visit);
  }

 private:
  SSPQ_INLINE const float* NextRow() {
    const int64_t row = next_row_++;
    if (row < 0 || row >= height_) return zeros_;
    if (zeros_between_ == 1) return in_ + row * step_;
    return row % zeros_between_ == 0 ? in_ + row / zeros_between_ * step_ : zeros_;
  }

  const StripColumns<N, kCare> columns_;
  const int64_t step_, height_, zeros_between_;
  int64_t next_row_;
  const float *const in_, *const zeros_;
  const float *upper_, *lower_;
  StripVector<N, kCare, kKeep> vectors_[kVectors];
};

// Calls body.Run<N, kCare>(channel, first) for all lines of the strip of N pixels from `first` on.
template <int N, typename Body>
SSPQ_INLINE void ForEachLine(const PixelMap& m, int64_t first, const Body& body) {
  const int64_t column = first + m.windows->column;
  StripCare care = kAnywhere;
  if (m.zeros_w == 1 && first + N <= m.out_w && column >= -1 && column + N <= m.in_w) {
    care = column >= 0 && column + N + 2 <= m.in_w ? kInside : kAtBorder;
  }
  for (int64_t c = 0; c < m.lines * kLineChannels; c += kLineChannels) {
    if (care == kInside) {
      body.template Run<N, kInside>(c, first);
    } else if (care == kAtBorder) {
      body.template Run<N, kAtBorder>(c, first);
    } else {
      body.template Run<N, kAnywhere>(c, first);
    }
  }
}

// The same for all strips of an image.
template <typename Body>
SSPQ_INLINE void ForEachStrip(const PixelMap& m, const Body& body) {
  int64_t first = 0;
  for (; first + 8 <= m.out_w; first += 8) ForEachLine<8>(m, first, body);
  const int64_t left = m.out_w - first;
  if (left > 4) {
    ForEachLine<8>(m, first, body);
  } else if (left > 0) {
    ForEachLine<4>(m, first, body);
  }
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CPU_STRIPS_H_

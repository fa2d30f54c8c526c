// Strips of a few pixels of NHWC images, of which all channels read from one window of 3x3 pixels,
// each two by two of them: what a strip loads from row to row, and the order of strips and
// channels.
#ifndef SSPQ_SHIFT2D_INTERLEAVED_STRIPS_H_
#define SSPQ_SHIFT2D_INTERLEAVED_STRIPS_H_

#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/simd.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// Asks for memory that is read or written next, line by line in its order, which the processor's
// own prefetching takes up.
template <typename T, int N>
struct InOrder {
  // The line that comes `line` lines later; and to go on from there.
  SSPQ_INLINE void Ask(int line) const {
    for (int n = 0; n < N; ++n) Prefetch(next[n], 64 * line);
  }
  SSPQ_INLINE void Advance(int64_t lines) {
    for (int n = 0; n < N; ++n) next[n] += lines * (64 / static_cast<int64_t>(sizeof(T)));
  }

  const T* next[N];
};

// What a strip has to look out for: nothing, as all columns are inside and all channels read; that
// its first column and its last two may be outside, as where shifts are within a pixel and nothing
// is padded; or all.
enum StripCare { kInside, kAtBorder, kAnywhere };

// What a block of channels takes from rows of N pixels.
template <typename T, int L, int N, StripCare kCare, bool kKeep>
class WindowBlock {
 public:
  typedef Vec<T, L> V;
  typedef Mask<T, L> M;

  SSPQ_INLINE void Load(const PixelMap<T>& m, int64_t channel) {
    lo_x_ = SSPQ_CPU_VERSION::Load<T, L>(m.lo_x + channel);
    hi_x_ = SSPQ_CPU_VERSION::Load<T, L>(m.hi_x + channel);
    const T* const masks = static_cast<const T*>(m.masks) + m.distances->mask + channel;
    below_ = LoadMask<T, L>(masks);
    right_ = LoadMask<T, L>(masks + m.channels);
    if (kCare == kAnywhere) used_ = LoadMask<T, L>(static_cast<const T*>(m.used) + channel);
  }

  // The first row, whose pixel k is column(from, k).
  template <typename Column>
  SSPQ_INLINE void Start(const T* from, const Column& column) {
    Unrolled<kKeep ? N + 2 : 0>::Run([&](int k) __attribute__((always_inline)) {
      last_[k] = column(from, k);
    });
  }

  // Calls visit(k, left, right, sample) for the N pixels of a row and the one below.
  template <typename Column, typename Visit>
  SSPQ_INLINE void Row(const T* upper, const T* lower, const Column& column, const Visit& visit) {
    auto down = [&](int k) __attribute__((always_inline)) {
      const V above = kKeep ? last_[k] : column(upper, k), below = column(lower, k);
      if (kKeep) last_[k] = below;
      return Replace<T, L>(above, below_, below);
    };
    V middle = down(1), left = Pick(down(0), middle);
    Unrolled<N>::Run([&](int k) __attribute__((always_inline)) {
      const V next = down(k + 2), right = Pick(middle, next);
      visit(k, left, right, lo_x_ * left + hi_x_ * right);
      middle = next;
      left = right;
    });
  }

 private:
  SSPQ_INLINE V Pick(V left, V right) const {
    const V v = Replace<T, L>(left, right_, right);
    return kCare == kAnywhere ? Keep<T, L>(v, used_) : v;
  }

  V lo_x_, hi_x_;
  M below_, right_, used_;
  V last_[kKeep ? N + 2 : 1];  // the row above
};

// What H blocks of channels, side by side, read of the rows of N pixels from `first` on, going down
// from row to row. `kKeep`: the row above is kept, in registers if H is 1; else it is loaded again.
template <typename T, int L, int H, int N, StripCare kCare, bool kKeep>
class WindowStrip {
 public:
  typedef Vec<T, L> V;

  SSPQ_INLINE WindowStrip(const PixelMap<T>& m, const T* in, int64_t channel, int64_t first,
                          int64_t row)
      : channels_(m.channels),
        width_(m.in_w),
        height_(m.in_h),
        next_row_(row + m.distances->row),
        column_(first + m.distances->column),
        in_(in + channel),
        zeros_(m.zero_row + channel),
        lower_(NextRow()) {
    for (int h = 0; h < H; ++h) {
      blocks_[h].Load(m, channel + h * L);
      blocks_[h].Start(lower_ + h * L, Column());
    }
  }

  // Goes to the next row, of which Row(h, visit) calls visit(k, left, right, sample) for the N
  // pixels of block h.
  SSPQ_INLINE void Advance() {
    upper_ = lower_;
    lower_ = NextRow();
  }
  template <typename Visit>
  SSPQ_INLINE void Row(int h, const Visit& visit) {
    blocks_[h].Row(upper_ + h * L, lower_ + h * L, Column(), visit);
  }

 private:
  SSPQ_INLINE const T* NextRow() {
    const int64_t r = next_row_++;
    return (r >= 0 && r < height_ ? in_ + r * width_ * channels_ : zeros_) + column_ * channels_;
  }

  struct ColumnOf {
    SSPQ_INLINE V operator()(const T* from, int k) const {
      const bool may_be_outside = kCare == kAnywhere || (kCare == kAtBorder && (k == 0 || k >= N));
      if (may_be_outside && (column + k < 0 || column + k >= width)) return V{};
      return Load<T, L>(from + k * channels);
    }
    const int64_t column, width, channels;
  };
  SSPQ_INLINE ColumnOf Column() const { return {column_, width_, channels_}; }

  const int64_t channels_, width_, height_;
  int64_t next_row_;
  const int64_t column_;
  const T *const in_, *const zeros_;
  const T *upper_, *lower_;
  WindowBlock<T, L, N, kCare, kKeep> blocks_[H];
};

// N, but for loops that compilers should not unroll, as registers would not suffice.
template <int N>
SSPQ_INLINE int Times() {
  int n = N;
  if (N > 1) asm("" : "+r"(n));
  return n;
}

// As many whole vectors as make up a cache line are worked off together: the second of two would no
// longer find the line in the cache where pixels lie many lines apart.
constexpr int kLineBlocks = 64 / kVectorBytes;

// How many channels make up whole lines.
template <typename T>
SSPQ_INLINE int64_t InLines(const PixelMap<T>& m) {
  constexpr int kChannels = kLineBlocks * MostLanes<T>();
  return m.channels / kChannels * kChannels;
}

// Calls body.Strip<L, H, N, kCare>(channel, first) for all whole lines of channels, H blocks of L
// at a time, of the strip of N pixels from `first` on.
template <int N, typename T, typename Body>
SSPQ_INLINE void StripOfLines(const PixelMap<T>& m, int64_t first, const Body& body) {
  constexpr int L = MostLanes<T>(), H = kLineBlocks;
  const int64_t column = first + m.distances->column;
  StripCare care = kAnywhere;
  if (m.all_used && first + N <= m.out_w && column >= -1 && column + N <= m.in_w) {
    care = column >= 0 && column + N + 2 <= m.in_w ? kInside : kAtBorder;
  }
  for (int64_t c = 0; c < InLines(m); c += H * L) {
    if (care == kInside) {
      body.template Strip<L, H, N, kInside>(c, first);
    } else if (care == kAtBorder) {
      body.template Strip<L, H, N, kAtBorder>(c, first);
    } else {
      body.template Strip<L, H, N, kAnywhere>(c, first);
    }
  }
}

// The same for the channels that are left. They are not worth code of their own for the middle of
// an image, nor for many N.
template <int N, typename Body>
struct RestOfStrip {
  template <int L>
  SSPQ_INLINE void Run(int64_t, int64_t channel) const {
    body.template Strip<L, 1, N, kAnywhere>(channel, first);
  }

  const int64_t first;
  const Body& body;
};
template <int N, typename T, typename Body>
SSPQ_INLINE void StripOfRest(const PixelMap<T>& m, int64_t first, const Body& body) {
  ForEachBlock<T>(m.channels, RestOfStrip<N, Body>{first, body}, InLines(m));
}

// Calls visit(first) for strips of N pixels. Where N does not divide the width, the last one begins
// earlier.
template <typename Visit>
SSPQ_INLINE void ForEachStrip(int N, int64_t width, const Visit& visit) {
  for (int64_t j = 0; j < width; j += N) visit(j + N > width ? width - N : j);
}
template <int N, typename T, typename Body>
SSPQ_INLINE void StripsOfLines(const PixelMap<T>& m, const Body& body) {
  ForEachStrip(N, m.out_w, [&](int64_t first) { StripOfLines<N>(m, first, body); });
}
template <int N, typename T, typename Body>
SSPQ_INLINE void StripsOfRest(const PixelMap<T>& m, const Body& body) {
  ForEachStrip(N, m.out_w, [&](int64_t first) { StripOfRest<N>(m, first, body); });
}

// The first row of input that a band of output up to `end` does not read.
template <typename T>
SSPQ_INLINE const T* NextWindows(const PixelMap<T>& m, const T* in, int64_t end) {
  const int64_t below = m.distances->row + 2 > 0 ? m.distances->row + 2 : 0;
  return in + (end + below) * m.in_w * m.channels;
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_INTERLEAVED_STRIPS_H_

// shift2d on NHWC images at stride 1 where the channels read from a window of two by two pixels: in
// strips of a few pixels and one block of channels that walk down the rows, so that every value is
// loaded once. What a row hands on to the next stays in registers.
#ifndef SSPQ_SHIFT2D_INTERLEAVED_WINDOW_H_
#define SSPQ_SHIFT2D_INTERLEAVED_WINDOW_H_

#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/simd.h"
#include "custom_ops/shift2d/cc/kernels/simd_sums.h"

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

// All blocks of channels of a strip of N pixels. Only whole lines are worth code of their own for
// the middle of an image.
template <typename T, int N, typename Body>
struct StripBlocks {
  SSPQ_INLINE void Run() const {
    constexpr int L = MostLanes<T>();
    int64_t c = 0;
    for (; c + kLineBlocks * L <= body.m.channels; c += kLineBlocks * L) {
      if (care == kInside) {
        body.template Strip<L, kLineBlocks, N, kInside>(c, first);
      } else if (care == kAtBorder) {
        body.template Strip<L, kLineBlocks, N, kAtBorder>(c, first);
      } else {
        body.template Strip<L, kLineBlocks, N, kAnywhere>(c, first);
      }
    }
    ForEachBlock<T>(body.m.channels, *this, c);
  }

  template <int L>
  SSPQ_INLINE void Run(int64_t, int64_t channel) const {
    body.template Strip<L, 1, N, kAnywhere>(channel, first);
  }

  const Body& body;
  const int64_t first;
  const StripCare care;
};

// Calls body.Strip<L, H, N, kCare>(channel, first) for all channels, H blocks of L at a time, of
// the strip of N pixels from `first` on.
template <int N, typename T, typename Body>
SSPQ_INLINE void OneStrip(const PixelMap<T>& m, int64_t first, const Body& body) {
  const int64_t column = first + m.distances->column;
  StripCare care = kAnywhere;
  if (m.all_used && first + N <= m.out_w && column >= -1 && column + N <= m.in_w) {
    care = column >= 0 && column + N + 2 <= m.in_w ? kInside : kAtBorder;
  }
  StripBlocks<T, N, Body>{body, first, care}.Run();
}

// The same for all strips. Where N does not divide the width, the last one begins earlier.
template <int N, typename T, typename Body>
SSPQ_INLINE void ForEachStrip(const PixelMap<T>& m, const Body& body) {
  for (int64_t j = 0; j < m.out_w; j += N) {
    OneStrip<N>(m, j + N > m.out_w ? m.out_w - N : j, body);
  }
}

// The first row of input that a band of output up to `end` does not read.
template <typename T>
SSPQ_INLINE const T* NextWindows(const PixelMap<T>& m, const T* in, int64_t end) {
  const int64_t below = m.distances->row + 2 > 0 ? m.distances->row + 2 : 0;
  return in + (end + below) * m.in_w * m.channels;
}

// ---- sampling

// Output rows [begin, end) of pixels [first, first + N).
template <typename T, int L, int H, int N, StripCare kCare>
__attribute__((noinline)) void SampleStrip(const PixelMap<T>& m, const T* in, int64_t channel,
                                           int64_t first, int64_t begin, int64_t end,
                                           InOrder<T, 2>* ahead, T* out) {
  typedef Vec<T, L> V;
  const int64_t channels = m.channels;
  WindowStrip<T, L, H, N, kCare, true> strip(m, in, channel, first, begin);
  InOrder<T, 2> prefetch = *ahead;
  V lo_y[H], hi_y[H], above[H][N];
  strip.Advance();
  for (int h = 0; h < Times<H>(); ++h) {
    lo_y[h] = Load<T, L>(m.lo_y + channel + h * L);
    hi_y[h] = Load<T, L>(m.hi_y + channel + h * L);
    strip.Row(
        h, [&](int k, V, V, V sample) __attribute__((always_inline)) { above[h][k] = sample; });
  }
  T* y = out + (begin * m.out_w + first) * channels + channel;
  for (int64_t i = begin; i < end; ++i) {
    strip.Advance();
    for (int h = 0; h < Times<H>(); ++h) {
      const V lo = lo_y[h], hi = hi_y[h];
      strip.Row(
          h, [&](int k, V, V, V sample) __attribute__((always_inline)) {
            if (k % H == 0) prefetch.Ask(k + h);
            Store<T, L>(y + h * L + k * channels, lo * above[h][k] + hi * sample);
            above[h][k] = sample;
          });
    }
    prefetch.Advance(N);
    y += m.out_w * channels;
  }
  *ahead = prefetch;
}

template <typename T>
struct SampleStrips {
  template <int L, int H, int N, StripCare kCare>
  SSPQ_INLINE void Strip(int64_t channel, int64_t first) const {
    SampleStrip<T, L, H, N, kCare>(m, in, channel, first, begin, end, ahead, out);
  }

  const PixelMap<T>& m;
  const T* const in;
  const int64_t begin, end;
  InOrder<T, 2>* const ahead;
  T* const out;
};

template <typename T>
void SampleWindows(const PixelMap<T>& m, const T* in, int64_t begin, int64_t end, T* out) {
  InOrder<T, 2> ahead{{NextWindows(m, in, end), out + end * m.out_w * m.channels}};
  const SampleStrips<T> body = {m, in, begin, end, &ahead, out};
  if (m.out_w >= 8 && m.out_w % 7 != 0) {
    ForEachStrip<8>(m, body);
  } else if (m.out_w >= 7) {
    ForEachStrip<7>(m, body);
  } else if (m.out_w >= 4) {
    ForEachStrip<4>(m, body);
  } else {
    ForEachStrip<1>(m, body);
  }
}

// ---- both gradients, where no shift is an integer; `m` is the adjoint map

// Also the runs of rows [begin, end) of pixels [first, first + N), as far as these belong to the
// row: [end - begin, all runs of a row, 2, channels], of which it writes its own to `runs`.
template <typename T, int L, int H, int N, StripCare kCare>
__attribute__((noinline)) void BackwardStrip(const PixelMap<T>& m, const T* gy, const T* x,
                                             int64_t channel, int64_t first, int64_t begin,
                                             int64_t end, InOrder<T, 3>* ahead, T* gx, T* runs) {
  typedef Vec<T, L> V;
  const int64_t channels = m.channels, width = m.out_w, row_runs = RunsOf(width) * 2 * channels;
  WindowStrip<T, L, H, N, kCare, (H > 1)> strip(m, gy, channel, first, begin);
  InOrder<T, 3> prefetch = *ahead;
  V lo_y[H], hi_y[H], sample_above[H][N], slope_above[H][N];
  strip.Advance();
  for (int h = 0; h < Times<H>(); ++h) {
    lo_y[h] = Load<T, L>(m.lo_y + channel + h * L);
    hi_y[h] = Load<T, L>(m.hi_y + channel + h * L);
    strip.Row(
        h, [&](int k, V left, V right, V sample) __attribute__((always_inline)) {
          sample_above[h][k] = sample;
          slope_above[h][k] = right - left;
        });
  }
  const int64_t at = (begin * width + first) * channels + channel;
  const T* value = x + at;
  T* to = gx + at;
  T* run = runs + first / kSumRun * 2 * channels + channel;
  const int64_t count = kCare == kAnywhere && width - first < N ? width - first : N;
  for (int64_t i = begin; i < end; ++i) {
    strip.Advance();
    for (int h = 0; h < Times<H>(); ++h) {
      const V lo = lo_y[h], hi = hi_y[h];
      V run_x = {}, run_y = {};
      strip.Row(
          h, [&](int k, V left, V right, V sample) __attribute__((always_inline)) {
            if (kCare == kAnywhere && k >= count) return;
            if (k % H == 0) prefetch.Ask(k + h);
            const int64_t pixel = h * L + k * channels;
            const V slope = right - left, v = Load<T, L>(value + pixel);
            Store<T, L>(to + pixel, lo * sample_above[h][k] + hi * sample);
            run_x -= v * (lo * slope_above[h][k] + hi * slope);
            run_y -= v * (sample - sample_above[h][k]);
            sample_above[h][k] = sample;
            slope_above[h][k] = slope;
          });
      Store<T, L>(run + h * L, run_x);
      Store<T, L>(run + h * L + channels, run_y);
    }
    prefetch.Advance(count);
    value += width * channels;
    to += width * channels;
    run += row_runs;
  }
  *ahead = prefetch;
}

template <typename T>
struct BackwardStrips {
  template <int L, int H, int N, StripCare kCare>
  SSPQ_INLINE void Strip(int64_t channel, int64_t first) const {
    BackwardStrip<T, L, H, N, kCare>(m, gy, x, channel, first, begin, end, ahead, gx, runs);
  }

  const PixelMap<T>& m;
  const T *const gy, *const x;
  const int64_t begin, end;
  InOrder<T, 3>* const ahead;
  T* const gx;
  T* const runs;
};

// Adds `count` runs, [count, 2, channels], to the sums.
template <typename T>
struct AddRuns {
  template <int L>
  SSPQ_INLINE void Run(int64_t, int64_t channel) const {
    RunSums<T, L> sums(sums_x + channel, sums_y + channel);
    const T* run = runs + channel;
    for (int64_t k = 0; k < count; ++k, run += 2 * channels) {
      sums.x = Load<T, L>(run);
      sums.y = Load<T, L>(run + channels);
      sums.EndRun();
    }
    sums.Store();
  }

  const T* const runs;
  const int64_t count, channels;
  double* const sums_x;
  double* const sums_y;
};

// `runs` has room for 2 * RunsOf(out_w) * channels values a row.
template <typename T>
void BackwardWindows(const PixelMap<T>& m, const T* gy, const T* x, int64_t begin, int64_t end,
                     T* runs, T* gx, double* sums_x, double* sums_y) {
  const int64_t next = end * m.out_w * m.channels;
  InOrder<T, 3> ahead{{NextWindows(m, gy, end), x + next, gx + next}};
  const BackwardStrips<T> body = {m, gy, x, begin, end, &ahead, gx, runs};
  const int64_t whole = m.out_w / kSumRun * kSumRun;
  for (int64_t j = 0; j < whole; j += kSumRun) OneStrip<kSumRun>(m, j, body);
  const int64_t left = m.out_w - whole;
  if (left == 4) {
    OneStrip<4>(m, whole, body);
  } else if (left == 6) {
    OneStrip<6>(m, whole, body);
  } else if (left == 7) {
    OneStrip<7>(m, whole, body);
  } else if (left > 0) {
    OneStrip<kSumRun>(m, whole, body);
  }
  // In the order of rows, as where there are no strips.
  const int64_t count = (end - begin) * RunsOf(m.out_w);
  ForEachBlock<T>(m.channels, AddRuns<T>{runs, count, m.channels, sums_x, sums_y});
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_INTERLEAVED_WINDOW_H_

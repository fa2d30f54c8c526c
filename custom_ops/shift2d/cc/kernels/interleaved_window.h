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

// What a block of channels reads of the rows of N pixels from `first` on, going down from row to
// row. `kKeep`: the row above stays in registers; else it is loaded again.
template <typename T, int L, int N, StripCare kCare, bool kKeep>
class WindowStrip {
 public:
  typedef Vec<T, L> V;
  typedef Mask<T, L> M;

  SSPQ_INLINE WindowStrip(const PixelMap<T>& m, const T* in, int64_t channel, int64_t first,
                          int64_t row)
      : lo_x_(Load<T, L>(m.lo_x + channel)),
        hi_x_(Load<T, L>(m.hi_x + channel)),
        channels_(m.channels),
        width_(m.in_w),
        height_(m.in_h),
        next_row_(row + m.distances->row),
        column_(first + m.distances->column),
        in_(in + channel),
        zeros_(m.zero_row + channel) {
    const T* const masks = static_cast<const T*>(m.masks) + m.distances->mask + channel;
    below_ = LoadMask<T, L>(masks);
    right_ = LoadMask<T, L>(masks + m.channels);
    if (kCare == kAnywhere) used_ = LoadMask<T, L>(static_cast<const T*>(m.used) + channel);
    upper_ = NextRow();
    Unrolled<kKeep ? N + 2 : 0>::Run([&](int k) __attribute__((always_inline)) {
      last_[k] = Column(upper_, k);
    });
  }

  // Calls visit(k, left, right, sample) for the N pixels of the next row.
  template <typename Visit>
  SSPQ_INLINE void Row(const Visit& visit) {
    const T* const lower = NextRow();
    V column = Down(lower, 0), next = Down(lower, 1), left = Pick(column, next);
    Unrolled<N>::Run([&](int k) __attribute__((always_inline)) {
      column = next;
      next = Down(lower, k + 2);
      const V right = Pick(column, next);
      visit(k, left, right, lo_x_ * left + hi_x_ * right);
      left = right;
    });
    upper_ = lower;
  }

 private:
  SSPQ_INLINE const T* NextRow() {
    const int64_t r = next_row_++;
    return (r >= 0 && r < height_ ? in_ + r * width_ * channels_ : zeros_) + column_ * channels_;
  }

  SSPQ_INLINE V Column(const T* from, int k) const {
    const bool may_be_outside = kCare == kAnywhere || (kCare == kAtBorder && (k == 0 || k >= N));
    if (may_be_outside && (column_ + k < 0 || column_ + k >= width_)) return V{};
    return Load<T, L>(from + k * channels_);
  }

  SSPQ_INLINE V Down(const T* from, int k) {
    const V upper = kKeep ? last_[k] : Column(upper_, k), lower = Column(from, k);
    if (kKeep) last_[k] = lower;
    return Replace<T, L>(upper, below_, lower);
  }

  SSPQ_INLINE V Pick(V left, V right) const {
    const V v = Replace<T, L>(left, right_, right);
    return kCare == kAnywhere ? Keep<T, L>(v, used_) : v;
  }

  const V lo_x_, hi_x_;
  const int64_t channels_, width_, height_;
  int64_t next_row_;
  const int64_t column_;
  const T *const in_, *const zeros_;
  const T* upper_;
  M below_, right_, used_;
  V last_[kKeep ? N + 2 : 1];  // the row above
};

// All blocks of channels of a strip of N pixels. Only whole vectors are worth code of their own for
// the middle of an image.
template <typename T, int N, typename Body>
struct StripBlocks {
  template <int L>
  SSPQ_INLINE void Run(int64_t, int64_t channel) const {
    constexpr bool kWhole = L == MostLanes<T>();
    if (care == kInside) {
      body.template Strip<L, N, kWhole ? kInside : kAnywhere>(channel, first);
    } else if (care == kAtBorder) {
      body.template Strip<L, N, kWhole ? kAtBorder : kAnywhere>(channel, first);
    } else {
      body.template Strip<L, N, kAnywhere>(channel, first);
    }
  }

  const Body& body;
  const int64_t first;
  const StripCare care;
};

// Calls body.Strip<L, N, kCare>(channel, first) for all blocks of channels of strips of N pixels
// from `first` on. Where N does not divide the width, the last strip begins earlier (`overlap`) or
// reaches beyond the row.
template <int N, typename T, typename Body>
SSPQ_INLINE void ForEachStrip(const PixelMap<T>& m, bool overlap, const Body& body) {
  for (int64_t j = 0; j < m.out_w; j += N) {
    const int64_t first = overlap && j + N > m.out_w ? m.out_w - N : j;
    const int64_t column = first + m.distances->column;
    StripCare care = kAnywhere;
    if (m.all_used && first + N <= m.out_w && column >= -1 && column + N <= m.in_w) {
      care = column >= 0 && column + N + 2 <= m.in_w ? kInside : kAtBorder;
    }
    ForEachBlock<T>(m.channels, StripBlocks<T, N, Body>{body, first, care});
  }
}

// The first row of input that a band of output up to `end` does not read.
template <typename T>
SSPQ_INLINE const T* NextWindows(const PixelMap<T>& m, const T* in, int64_t end) {
  const int64_t below = m.distances->row + 2 > 0 ? m.distances->row + 2 : 0;
  return in + (end + below) * m.in_w * m.channels;
}

// 32 vectors hold all of a strip of eight pixels, 16 what is blended of one of four.
constexpr bool kManyRegisters = kVectorBytes == 64;

// ---- sampling

// Output rows [begin, end) of pixels [first, first + N).
template <typename T, int L, int N, StripCare kCare>
__attribute__((noinline)) void SampleStrip(const PixelMap<T>& m, const T* in, int64_t channel,
                                           int64_t first, int64_t begin, int64_t end,
                                           InOrder<T, 2>* ahead, T* out) {
  typedef Vec<T, L> V;
  const V lo_y = Load<T, L>(m.lo_y + channel), hi_y = Load<T, L>(m.hi_y + channel);
  const int64_t channels = m.channels;
  WindowStrip<T, L, N, kCare, kManyRegisters> strip(m, in, channel, first, begin);
  InOrder<T, 2> prefetch = *ahead;
  V above[N];
  strip.Row([&](int k, V, V, V sample) __attribute__((always_inline)) { above[k] = sample; });
  T* y = out + (begin * m.out_w + first) * channels + channel;
  for (int64_t i = begin; i < end; ++i) {
    strip.Row([&](int k, V, V, V sample) __attribute__((always_inline)) {
      prefetch.Ask(k);
      Store<T, L>(y + k * channels, lo_y * above[k] + hi_y * sample);
      above[k] = sample;
    });
    prefetch.Advance(N);
    y += m.out_w * channels;
  }
  *ahead = prefetch;
}

template <typename T>
struct SampleStrips {
  template <int L, int N, StripCare kCare>
  SSPQ_INLINE void Strip(int64_t channel, int64_t first) const {
    SampleStrip<T, L, N, kCare>(m, in, channel, first, begin, end, ahead, out);
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
  if (kManyRegisters && m.out_w >= 8 && m.out_w % 7 != 0) {
    ForEachStrip<8>(m, true, body);
  } else if (kManyRegisters && m.out_w >= 7) {
    ForEachStrip<7>(m, true, body);
  } else if (m.out_w >= 4) {
    ForEachStrip<4>(m, true, body);
  } else {
    ForEachStrip<1>(m, true, body);
  }
}

// ---- both gradients, where no shift is an integer; `m` is the adjoint map

// Also the runs of rows [begin, end) of pixels [first, first + N), as far as these belong to the
// row: [end - begin, all runs of a row, 2, channels], of which it writes its own to `runs`.
template <typename T, int L, int N, StripCare kCare>
__attribute__((noinline)) void BackwardStrip(const PixelMap<T>& m, const T* gy, const T* x,
                                             int64_t channel, int64_t first, int64_t begin,
                                             int64_t end, InOrder<T, 3>* ahead, T* gx, T* runs) {
  typedef Vec<T, L> V;
  const V lo_y = Load<T, L>(m.lo_y + channel), hi_y = Load<T, L>(m.hi_y + channel);
  const int64_t channels = m.channels, width = m.out_w, row_runs = RunsOf(width) * 2 * channels;
  WindowStrip<T, L, N, kCare, false> strip(m, gy, channel, first, begin);
  InOrder<T, 3> prefetch = *ahead;
  V sample_above[N], slope_above[N];
  strip.Row([&](int k, V left, V right, V sample) __attribute__((always_inline)) {
    sample_above[k] = sample;
    slope_above[k] = right - left;
  });
  const int64_t at = (begin * width + first) * channels + channel;
  const T* value = x + at;
  T* to = gx + at;
  T* run = runs + first / kSumRun * 2 * channels + channel;
  const int64_t count = kCare == kAnywhere && width - first < N ? width - first : N;
  for (int64_t i = begin; i < end; ++i) {
    V run_x = {}, run_y = {};
    strip.Row([&](int k, V left, V right, V sample) __attribute__((always_inline)) {
      if (kCare == kAnywhere && k >= count) return;
      prefetch.Ask(k);
      const V slope = right - left, v = Load<T, L>(value + k * channels);
      Store<T, L>(to + k * channels, lo_y * sample_above[k] + hi_y * sample);
      run_x -= v * (lo_y * slope_above[k] + hi_y * slope);
      run_y -= v * (sample - sample_above[k]);
      sample_above[k] = sample;
      slope_above[k] = slope;
    });
    Store<T, L>(run, run_x);
    Store<T, L>(run + channels, run_y);
    prefetch.Advance(count);
    value += width * channels;
    to += width * channels;
    run += row_runs;
  }
  *ahead = prefetch;
}

template <typename T>
struct BackwardStrips {
  template <int L, int N, StripCare kCare>
  SSPQ_INLINE void Strip(int64_t channel, int64_t first) const {
    BackwardStrip<T, L, N, kCare>(m, gy, x, channel, first, begin, end, ahead, gx, runs);
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
  if (m.out_w == 7) {
    ForEachStrip<7>(m, false, body);
  } else {
    ForEachStrip<kSumRun>(m, false, body);
  }
  // In the order of rows, as where there are no strips.
  const int64_t count = (end - begin) * RunsOf(m.out_w);
  ForEachBlock<T>(m.channels, AddRuns<T>{runs, count, m.channels, sums_x, sums_y});
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_INTERLEAVED_WINDOW_H_

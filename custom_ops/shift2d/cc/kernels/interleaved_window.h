// shift2d on NHWC images at stride 1 where shifts are within a pixel: in strips of a few pixels and
// a cache line of channels that walk down the rows, so that every value comes from memory once.
#ifndef SSPQ_SHIFT2D_INTERLEAVED_WINDOW_H_
#define SSPQ_SHIFT2D_INTERLEAVED_WINDOW_H_

#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/interleaved_strips.h"
#include "custom_ops/shift2d/cc/kernels/simd.h"
#include "custom_ops/shift2d/cc/kernels/simd_sums.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

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
    StripsOfLines<8>(m, body);
  } else if (m.out_w >= 7) {
    StripsOfLines<7>(m, body);
  } else if (m.out_w >= 4) {
    StripsOfLines<4>(m, body);
  } else {
    StripsOfLines<1>(m, body);
  }
  m.out_w >= 4 ? StripsOfRest<4>(m, body) : StripsOfRest<1>(m, body);
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
  const int64_t whole = m.out_w / kSumRun * kSumRun, left = m.out_w - whole;
  for (int64_t j = 0; j < whole; j += kSumRun) StripOfLines<kSumRun>(m, j, body);
  if (left == 4) {
    StripOfLines<4>(m, whole, body);
  } else if (left == 6) {
    StripOfLines<6>(m, whole, body);
  } else if (left == 7) {
    StripOfLines<7>(m, whole, body);
  } else if (left > 0) {
    StripOfLines<kSumRun>(m, whole, body);
  }
  for (int64_t j = 0; j < m.out_w; j += kSumRun) StripOfRest<kSumRun>(m, j, body);
  // In the order of rows, as where there are no strips.
  const int64_t count = (end - begin) * RunsOf(m.out_w);
  ForEachBlock<T>(m.channels, AddRuns<T>{runs, count, m.channels, sums_x, sums_y});
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_INTERLEAVED_WINDOW_H_

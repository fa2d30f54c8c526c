// kWindow: in strips of a few pixels and a line of channels that walk down the rows, so that every
// value comes from memory once.
#ifndef SSPQ_SHIFT2D_CPU_WINDOW_H_
#define SSPQ_SHIFT2D_CPU_WINDOW_H_

#include "custom_ops/shift2d/cpu/run_sums.h"
#include "custom_ops/shift2d/cpu/strips.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// How many of a strip's N pixels belong to the row.
template <int N, StripCare kCare>
SSPQ_INLINE int64_t PixelsOf(const PixelMap& m, int64_t first) {
  return kCare == kAnywhere && m.out_w - first < N ? m.out_w - first : N;
}

// ---- forward

struct ForwardStrip {
  // Output rows [begin, end) of pixels [first, first + N), as far as these belong to the row. Not
  // inlined, so that each has the registers to itself.
  template <int N, StripCare kCare>
  __attribute__((noinline)) void Run(int64_t channel, int64_t first) const {
    Strip<N, kCare, true> strip(m, in, channel, first, begin);
    InOrder<2> prefetch = *ahead;
    V lo_y[kVectors], hi_y[kVectors], above[kVectors][N];
    strip.Advance();
    for (int h = 0; h < Vectors(); ++h) {
      lo_y[h] = Load(m.lo_y + channel + h * kLanes);
      hi_y[h] = Load(m.hi_y + channel + h * kLanes);
      strip.Row(
          h, [&](int k, V, V, V sample) __attribute__((always_inline)) { above[h][k] = sample; });
    }
    const int64_t count = PixelsOf<N, kCare>(m, first);
    float* y = out + (begin * m.out_w + first) * m.pitch + channel;
    for (int64_t i = begin; i < end; ++i) {
      strip.Advance();
      for (int h = 0; h < Vectors(); ++h) {
        const V lo = lo_y[h], hi = hi_y[h];
        strip.Row(
            h, [&](int k, V, V, V sample) __attribute__((always_inline)) {
              if (kCare == kAnywhere && k >= count) return;
              if (k % kVectors == 0) prefetch.Ask(k + h);
              Store(lo * above[h][k] + hi * sample, y + h * kLanes + k * m.pitch);
              above[h][k] = sample;
            });
      }
      prefetch.Advance(count);
      y += m.out_w * m.pitch;
    }
    *ahead = prefetch;
  }

  const PixelMap& m;
  const float* const in;
  const int64_t begin, end;
  InOrder<2>* const ahead;
  float* const out;
};

void WindowForward(const PixelMap& m, const float* in, int64_t begin, int64_t end, float* out) {
  InOrder<2> ahead{{NextInput(m, in, end), out + end * m.out_w * m.pitch}};
  ForEachStrip(m, ForwardStrip{m, in, begin, end, &ahead, out});
}

// ---- both gradients; `m` is the adjoint map

struct BackwardStrip {
  // Also the runs of rows [begin, end) of pixels [first, first + N), as far as these belong to the
  // row: [end - begin, all runs of a row, 2, channels], of which it writes its own to `runs`.
  template <int N, StripCare kCare>
  __attribute__((noinline)) void Run(int64_t channel, int64_t first) const {
    const int64_t channels = m.lines * kLineChannels, row_runs = RunsOf(m.out_w) * 2 * channels;
    Strip<N, kCare, (kVectors > 1)> strip(m, gy, channel, first, begin);
    InOrder<3> prefetch = *ahead;
    V lo_y[kVectors], hi_y[kVectors], sample_above[kVectors][N], slope_above[kVectors][N];
    strip.Advance();
    for (int h = 0; h < Vectors(); ++h) {
      lo_y[h] = Load(m.lo_y + channel + h * kLanes);
      hi_y[h] = Load(m.hi_y + channel + h * kLanes);
      strip.Row(
          h, [&](int k, V left, V right, V sample) __attribute__((always_inline)) {
            sample_above[h][k] = sample;
            slope_above[h][k] = right - left;
          });
    }
    const int64_t at = (begin * m.out_w + first) * m.pitch + channel;
    const float* value = x + at;
    float* to = gx + at;
    float* run = runs + first / kSumRun * 2 * channels + channel;
    const int64_t count = PixelsOf<N, kCare>(m, first);
    for (int64_t i = begin; i < end; ++i) {
      strip.Advance();
      for (int h = 0; h < Vectors(); ++h) {
        const V lo = lo_y[h], hi = hi_y[h];
        V run_x = {}, run_y = {};
        strip.Row(
            h, [&](int k, V left, V right, V sample) __attribute__((always_inline)) {
              if (kCare == kAnywhere && k >= count) return;
              if (k % kVectors == 0) prefetch.Ask(k + h);
              const int64_t pixel = h * kLanes + k * m.pitch;
              const V slope = right - left, v = Load(value + pixel);
              Store(lo * sample_above[h][k] + hi * sample, to + pixel);
              run_x -= v * (lo * slope_above[h][k] + hi * slope);
              run_y -= v * (sample - sample_above[h][k]);
              sample_above[h][k] = sample;
              slope_above[h][k] = slope;
            });
        Store(run_x, run + h * kLanes);
        Store(run_y, run + h * kLanes + channels);
      }
      prefetch.Advance(count);
      value += m.out_w * m.pitch;
      to += m.out_w * m.pitch;
      run += row_runs;
    }
    *ahead = prefetch;
  }

  const PixelMap& m;
  const float *const gy, *const x;
  const int64_t begin, end;
  InOrder<3>* const ahead;
  float *const gx, *const runs;
};

// `runs` has WindowRoom().
void WindowBackward(const PixelMap& m, const float* gy, const float* x, int64_t begin, int64_t end,
                    float* runs, float* gx, double* sum_x, double* sum_y) {
  static_assert(kSumRun == 8, "a strip is a run");
  const int64_t next = end * m.out_w * m.pitch, channels = m.lines * kLineChannels;
  InOrder<3> ahead{{NextInput(m, gy, end), x + next, gx + next}};
  ForEachStrip(m, BackwardStrip{m, gy, x, begin, end, &ahead, gx, runs});
  for (int64_t c = 0; c < channels; c += kLanes) {
    AddRuns(runs + c, (end - begin) * RunsOf(m.out_w), channels, sum_x + c, sum_y + c);
  }
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CPU_WINDOW_H_

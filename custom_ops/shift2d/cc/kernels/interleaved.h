// shift2d on NHWC images, in blocks of as many channels as a vector holds, row by row where nothing
// faster is made for. The channels of a block may read different pixels; gathers, or masked loads
// where shifts are within a pixel, bring these together, and from there on all channels are treated
// alike: blended along W with the pixel before, and along H with the row above, which a buffer
// keeps.
#ifndef SSPQ_SHIFT2D_INTERLEAVED_H_
#define SSPQ_SHIFT2D_INTERLEAVED_H_

#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/interleaved_ahead.h"
#include "custom_ops/shift2d/cc/kernels/interleaved_far.h"
#include "custom_ops/shift2d/cc/kernels/interleaved_rows.h"
#include "custom_ops/shift2d/cc/kernels/interleaved_strided.h"
#include "custom_ops/shift2d/cc/kernels/interleaved_window.h"
#include "custom_ops/shift2d/cc/kernels/simd.h"
#include "custom_ops/shift2d/cc/kernels/simd_sums.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// Whether a block reads from few rows and columns. Only whole vectors are worth code for that.
template <typename T, int L>
SSPQ_INLINE bool IsFar(const PixelMap<T>& m, int64_t channel) {
  return L == MostLanes<T>() && m.far != nullptr && m.far[channel / kFarGroup].rows > 0;
}

// ---- sampling

template <typename T, int L, bool kStrideOne>
__attribute__((noinline)) void SampleBlock(const PixelMap<T>& m, int64_t block, int64_t channel,
                                           const T* in, bool start, int64_t begin, int64_t end,
                                           T* above, T* out) {
  typedef Vec<T, L> V;
  typedef GatheredRow<T, L> Row;
  const V lo_x = Load<T, L>(m.lo_x + channel), hi_x = Load<T, L>(m.hi_x + channel);
  const V lo_y = Load<T, L>(m.lo_y + channel), hi_y = Load<T, L>(m.hi_y + channel);
  const int64_t width = m.out_w, stride = m.stride_w, channels = m.channels;
  above += channel * width;
  const int64_t steps = (end - begin) * width;
  ReadAhead<T> inputs(NextInput(m, in, end), block, steps, InputLines(m));
  ReadAhead<T> outputs(out + end * width * channels, block, steps, 1);
  T* y;
  auto keep = [&](int64_t j, V, V left, V right) __attribute__((always_inline)) {
    Store<T, L>(above + j * L, lo_x * left + hi_x * right);
  };
  auto blend = [&](int64_t j, V, V left, V right) __attribute__((always_inline)) {
    inputs.Step();
    outputs.Step();
    __builtin_prefetch(y + 3 * channels, 1, 3);  // from the second cache, for the stores to come
    const V sample = lo_x * left + hi_x * right;
    Store<T, L>(y, lo_y * Load<T, L>(above + j * L) + hi_y * sample);
    Store<T, L>(above + j * L, sample);
    y += channels;
  };
  for (int64_t i = begin; i < end; ++i) {
    const int64_t row = i * m.stride_h;
    if (m.stride_h != 1 || (start && i == begin)) {
      const Row upper(m, 0, channel, in, row);
      VisitRow<kStrideOne, false>(upper, width, stride, keep);
    }
    y = out + i * width * channels + channel;
    const Row lower(m, 0, channel, in, row + 1);
    VisitRow<kStrideOne, false>(lower, width, stride, blend);
  }
}

template <typename T>
struct SampleBand {
  template <int L>
  SSPQ_INLINE void Run(int64_t b, int64_t c) const {
    if (IsFar<T, L>(m, c)) {
      T* const room = above + m.channels * m.out_w;
      return SampleFar<T, MostLanes<T>()>(m, b, c, in, start, begin, end, room, out);
    }
    if (m.stride_w == 1) {
      SampleBlock<T, L, true>(m, b, c, in, start, begin, end, above, out);
    } else {
      SampleBlock<T, L, false>(m, b, c, in, start, begin, end, above, out);
    }
  }

  const PixelMap<T>& m;
  const T* const in;
  const bool start;
  const int64_t begin, end;
  T* const above;
  T* const out;
};

template <typename T>
void SampleRows(const PixelMap<T>& m, const T* in, bool start, int64_t begin, int64_t end, T* above,
                T* out) {
  if (InStrips(m)) return SampleWindows(m, in, begin, end, out);
  if (m.windows) return SampleStrided(m, in, begin, end, out);
  ForEachBlock<T>(m.channels, SampleBand<T>{m, in, start, begin, end, above, out});
}

// ---- both gradients at stride 1, where no shift is an integer; `m` is the adjoint map

template <typename T, int L>
__attribute__((noinline)) void BackwardBlock(const PixelMap<T>& m, int64_t channel, const T* gy,
                                             const T* x, bool start, int64_t begin, int64_t end,
                                             T* above, T* gx, double* sums_x, double* sums_y) {
  typedef Vec<T, L> V;
  typedef GatheredRow<T, L> Row;
  const V lo_x = Load<T, L>(m.lo_x + channel), hi_x = Load<T, L>(m.hi_x + channel);
  const V lo_y = Load<T, L>(m.lo_y + channel), hi_y = Load<T, L>(m.hi_y + channel);
  const int64_t width = m.out_w, channels = m.channels;
  T* const last = above + 2 * channel * width;  // samples and slopes, side by side
  auto keep = [&](int64_t j, V, V left, V right) __attribute__((always_inline)) {
    Store<T, L>(last + 2 * j * L, lo_x * left + hi_x * right);
    Store<T, L>(last + 2 * j * L + L, right - left);
  };
  RunSums<T, L> sums(sums_x + channel, sums_y + channel);
  int64_t at = 0;
  auto visit = [&](int64_t j, V before, V left, V right) __attribute__((always_inline)) {
    const V sample = lo_x * left + hi_x * right, value = Load<T, L>(x + at);
    const V sample_above = Load<T, L>(last + 2 * j * L);
    Store<T, L>(gx + at, lo_y * sample_above + hi_y * sample);
    sums.x -= value * (lo_y * Load<T, L>(last + 2 * j * L + L) + hi_y * (right - left));
    sums.y -= value * (sample - sample_above);
    if ((j + 1) % kSumRun == 0 || j + 1 == width) sums.EndRun();
    keep(j, before, left, right);
    at += channels;
  };
  for (int64_t i = begin; i < end; ++i) {
    if (start && i == begin) {
      const Row upper(m, 0, channel, gy, i);
      VisitRow<true, false>(upper, width, 1, keep);
    }
    at = i * width * channels + channel;
    const Row lower(m, 0, channel, gy, i + 1);
    VisitRow<true, false>(lower, width, 1, visit);
  }
  sums.Store();
}

template <typename T>
struct BackwardBand {
  template <int L>
  SSPQ_INLINE void Run(int64_t b, int64_t c) const {
    if (IsFar<T, L>(m, c)) {
      T* const far_room = room + 2 * m.channels * m.out_w;
      return BackwardFar<T, MostLanes<T>()>(m, b, c, gy, x, start, begin, end, far_room, gx, sums_x,
                                            sums_y);
    }
    BackwardBlock<T, L>(m, c, gy, x, start, begin, end, room, gx, sums_x, sums_y);
  }

  const PixelMap<T>& m;
  const T *const gy, *const x;
  const bool start;
  const int64_t begin, end;
  T* const room;
  T* const gx;
  double* const sums_x;
  double* const sums_y;
};

template <typename T>
void BackwardRows(const PixelMap<T>& m, const T* gy, const T* x, bool start, int64_t begin,
                  int64_t end, T* room, T* gx, double* sums_x, double* sums_y) {
  if (m.windows) return BackwardWindows(m, gy, x, begin, end, room, gx, sums_x, sums_y);
  ForEachBlock<T>(m.channels,
                  BackwardBand<T>{m, gy, x, start, begin, end, room, gx, sums_x, sums_y});
}

// ---- the gradient to the shift alone

template <typename T, int L, typename Row, bool kStrideOne, bool kInteger>
__attribute__((noinline)) void CorrelateBlock(const PixelMap<T>& m, int64_t block, int64_t channel,
                                              const T* x, const T* gy, bool start, int64_t begin,
                                              int64_t end, T* above, double* sums_x,
                                              double* sums_y) {
  typedef Vec<T, L> V;
  const V lo_x = Load<T, L>(m.lo_x + channel), hi_x = Load<T, L>(m.hi_x + channel);
  const V lo_y = Load<T, L>(m.lo_y + channel), hi_y = Load<T, L>(m.hi_y + channel);
  const Mask<T, L> integer_x = LoadMask<T, L>(static_cast<const T*>(m.integer_x) + channel);
  const Mask<T, L> integer_y = LoadMask<T, L>(static_cast<const T*>(m.integer_y) + channel);
  const V half = Broadcast<T, L>(T(0.5)), one = Broadcast<T, L>(T(1));
  const V scale_x = Either<T, L>(integer_x, half, one);
  const V scale_y = Either<T, L>(integer_y, half, one);
  const int64_t width = m.out_w, stride = m.stride_w, channels = m.channels;
  // Of the row above: samples and slopes side by side; of the row above that: samples.
  T* const last = above + 2 * channel * width;
  T* const sample_before = above + 2 * channels * width + channel * width;
  ReadAhead<T> inputs(NextInput(m, x, end), block, (end - begin) * width, InputLines(m));
  auto slope_of = [&](V before, V left, V right) __attribute__((always_inline)) {
    return kInteger ? scale_x * (right - Either<T, L>(integer_x, before, left)) : right - left;
  };
  auto push = [&](int64_t j, V sample, V slope) __attribute__((always_inline)) {
    T* const at = last + 2 * j * L;
    if (kInteger) Store<T, L>(sample_before + j * L, Load<T, L>(at));
    Store<T, L>(at, sample);
    Store<T, L>(at + L, slope);
  };
  auto keep = [&](int64_t j, V before, V left, V right) __attribute__((always_inline)) {
    push(j, lo_x * left + hi_x * right, slope_of(before, left, right));
  };
  RunSums<T, L> sums(sums_x + channel, sums_y + channel);
  const T* g;
  auto correlate = [&](int64_t j, V before, V left, V right) __attribute__((always_inline)) {
    inputs.Step();
    const V sample = lo_x * left + hi_x * right, slope = slope_of(before, left, right);
    V upper = Load<T, L>(last + 2 * j * L);
    if (kInteger) upper = Either<T, L>(integer_y, Load<T, L>(sample_before + j * L), upper);
    const V gradient = Load<T, L>(g);
    sums.x += gradient * (lo_y * Load<T, L>(last + 2 * j * L + L) + hi_y * slope);
    sums.y += gradient * (kInteger ? scale_y * (sample - upper) : sample - upper);
    if ((j + 1) % kSumRun == 0 || j + 1 == width) sums.EndRun();
    push(j, sample, slope);
    g += channels;
  };
  for (int64_t i = begin; i < end; ++i) {
    const int64_t row = i * m.stride_h;
    for (int64_t r = kInteger ? row - 1 : row; r <= row; ++r) {
      if (m.stride_h == 1 && !(start && i == begin)) break;
      const Row upper(m, 0, channel, x, r);
      VisitRow<kStrideOne, kInteger>(upper, width, stride, keep);
    }
    g = gy + i * width * channels + channel;
    const Row lower(m, 0, channel, x, row + 1);
    VisitRow<kStrideOne, kInteger>(lower, width, stride, correlate);
  }
  sums.Store();
}

// Windows come here only with integer shifts.
template <typename T>
struct CorrelateBand {
  template <int L>
  SSPQ_INLINE void Run(int64_t b, int64_t c) const {
    if (m.windows) return RunOn<L, WindowRow<T, L>, true>(b, c);
    if (m.integer) return RunOn<L, GatheredRow<T, L>, true>(b, c);
    if (IsFar<T, L>(m, c)) {
      T* const room = above + 3 * m.channels * m.out_w;
      return CorrelateFar<T, MostLanes<T>()>(m, b, c, x, gy, start, begin, end, room, sums_x,
                                             sums_y);
    }
    RunOn<L, GatheredRow<T, L>, false>(b, c);
  }

  template <int L, typename Row, bool kInteger>
  SSPQ_INLINE void RunOn(int64_t b, int64_t c) const {
    if (m.stride_w == 1) return Run<L, Row, true, kInteger>(b, c);
    Run<L, Row, false, kInteger>(b, c);
  }

  template <int L, typename Row, bool kStrideOne, bool kInteger>
  SSPQ_INLINE void Run(int64_t b, int64_t c) const {
    CorrelateBlock<T, L, Row, kStrideOne, kInteger>(m, b, c, x, gy, start, begin, end, above,
                                                    sums_x, sums_y);
  }

  const PixelMap<T>& m;
  const T* const x;
  const T* const gy;
  const bool start;
  const int64_t begin, end;
  T* const above;
  double* const sums_x;
  double* const sums_y;
};

template <typename T>
void ShiftGradientRows(const PixelMap<T>& m, const T* x, const T* gy, bool start, int64_t begin,
                       int64_t end, T* above, double* sums_x, double* sums_y) {
  if (m.windows && !m.integer) {
    return CorrelateStrided(m, x, gy, begin, end, above, sums_x, sums_y);
  }
  ForEachBlock<T>(m.channels, CorrelateBand<T>{m, x, gy, start, begin, end, above, sums_x, sums_y});
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_INTERLEAVED_H_

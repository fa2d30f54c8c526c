// Fills in one version's loops. Included by one file per instruction set, with SSPQ_CPU_VERSION
// set. Every value is worked out on its own, so the versions give the same bits. `ivdep`: an output
// may be its input (then each value is read before it is written), and overlaps nothing else.
#ifndef SSPQ_BATCH_NORM_LOOPS_VERSION_H_
#define SSPQ_BATCH_NORM_LOOPS_VERSION_H_

#include "custom_ops/batch_norm/cpu/loops.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {
namespace {

inline float Map(float x, float mean, float factor, float offset) {
  return (x - mean) * factor + offset;
}

// A NaN passes no comparison, and no gradient.
template <Then kThen>
inline float Passed(float gy, float v) {
  if (kThen == Then::kNothing) return gy;
  if (kThen == Then::kRelu) return v > 0.f ? gy : 0.f;
  return v >= 0.f && v <= 1.f ? gy : 0.f;
}

template <Then kThen>
inline float Activate(float v, float levels, float step) {
  if (kThen != Then::kNothing) v = v < 0.f ? 0.f : v;  // a NaN stays one
  if (kThen == Then::kClip || kThen == Then::kRound) v = v > 1.f ? 1.f : v;
  if (kThen == Then::kRound) v = __builtin_rintf(v * levels) * step;
  return v;
}

void Moments(const float* x, int64_t rows, int64_t channels, double* sum, double* squares) {
  for (int64_t r = 0; r < rows; ++r, x += channels) {
#pragma GCC ivdep
    for (int64_t c = 0; c < channels; ++c) {
      const double v = x[c];
      sum[c] += v;
      squares[c] += v * v;
    }
  }
}

template <Then kThen, bool kPlus>
void NormalizeAs(const float* x, int64_t rows, int64_t channels, const float* mean,
                 const float* factor, const float* offset, const float* plus, float levels,
                 float step, float* y) {
  for (int64_t r = 0; r < rows; ++r, x += channels, y += channels) {
#pragma GCC ivdep
    for (int64_t c = 0; c < channels; ++c) {
      float v = Map(x[c], mean[c], factor[c], offset[c]);
      if (kPlus) v += plus[c];
      y[c] = Activate<kThen>(v, levels, step);
    }
    if (kPlus) plus += channels;
  }
}

void Normalize(const float* x, int64_t rows, int64_t channels, const Affine& map, const float* plus,
               const Activation& activation, float* y) {
  static constexpr decltype(&NormalizeAs<Then::kNothing, false>) kLoops[][2] = {
      {NormalizeAs<Then::kNothing, false>, NormalizeAs<Then::kNothing, true>},
      {NormalizeAs<Then::kRelu, false>, NormalizeAs<Then::kRelu, true>},
      {NormalizeAs<Then::kClip, false>, NormalizeAs<Then::kClip, true>},
      {NormalizeAs<Then::kRound, false>, NormalizeAs<Then::kRound, true>}};
  kLoops[static_cast<int>(activation.then)][plus != nullptr](x, rows, channels, map.mean,
                                                             map.factor, map.offset, plus,
                                                             activation.levels, activation.step, y);
}

template <Then kThen>
void GradientSumsAs(const float* x, const float* gy, int64_t rows, int64_t channels,
                    const float* mean, const float* factor, const float* offset, double* sum,
                    double* products) {
  for (int64_t r = 0; r < rows; ++r, x += channels, gy += channels) {
#pragma GCC ivdep
    for (int64_t c = 0; c < channels; ++c) {
      const float g = Passed<kThen>(gy[c], Map(x[c], mean[c], factor[c], offset[c]));
      sum[c] += g;
      products[c] += static_cast<double>(g) * (x[c] - mean[c]);
    }
  }
}

void GradientSums(const float* x, const float* gy, int64_t rows, int64_t channels,
                  const Affine& map, const Activation& activation, double* sum, double* products) {
  const auto loop = activation.then == Then::kNothing ? GradientSumsAs<Then::kNothing>
                    : activation.then == Then::kRelu  ? GradientSumsAs<Then::kRelu>
                                                      : GradientSumsAs<Then::kClip>;
  loop(x, gy, rows, channels, map.mean, map.factor, map.offset, sum, products);
}

template <Then kThen>
void InputGradientAs(const float* x, const float* gy, int64_t rows, int64_t channels,
                     const float* mean, const float* factor, const float* offset,
                     const float* slope, const float* constant, float* gx) {
  for (int64_t r = 0; r < rows; ++r, x += channels, gy += channels, gx += channels) {
#pragma GCC ivdep
    for (int64_t c = 0; c < channels; ++c) {
      const float centred = x[c] - mean[c];
      const float g = Passed<kThen>(gy[c], centred * factor[c] + offset[c]);
      gx[c] = g * factor[c] + (centred * slope[c] + constant[c]);
    }
  }
}

void InputGradient(const float* x, const float* gy, int64_t rows, int64_t channels,
                   const Affine& map, const Activation& activation, const float* slope,
                   const float* constant, float* gx) {
  const auto loop = activation.then == Then::kNothing ? InputGradientAs<Then::kNothing>
                    : activation.then == Then::kRelu  ? InputGradientAs<Then::kRelu>
                                                      : InputGradientAs<Then::kClip>;
  loop(x, gy, rows, channels, map.mean, map.factor, map.offset, slope, constant, gx);
}

}  // namespace

extern const BatchNormLoops kBatchNormLoops;
const BatchNormLoops kBatchNormLoops = {Moments, Normalize, GradientSums, InputGradient};

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_BATCH_NORM_LOOPS_VERSION_H_

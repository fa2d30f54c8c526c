// The interface of the vectorised loops of DoReFa's weight quantizer, which are compiled once for
// every instruction set. Plain data alone crosses it: see shift2d/cpu/loops.h.
#ifndef SSPQ_DOREFA_LOOPS_H_
#define SSPQ_DOREFA_LOOPS_H_

#include <cstdint>

#include "custom_ops/cpu/versions.h"

namespace sspq {

// What the gradient through the maximum depends on.
struct MaximumSums {
  double products;  // sum of gy * t
  int64_t count;    // of values that |t| == maximum
};

// What a weight's gradient is made of, beside its own values.
struct GradientTerms {
  float maximum, divisor;
  float share;  // of the values that |t| == maximum
  float decay;  // incoming gradient of the L2 loss
};

// All on n values. Outputs may be inputs.
struct DorefaLoops {
  // The largest |t| of those that are no NaN; 0 if there are none.
  float (*maximum)(const float* t, int64_t n);
  // The sum of x * x.
  double (*squares)(const float* x, int64_t n);
  // q = round((t / divisor * 0.5 + 0.5) * levels) * step * 2 - 1.
  void (*quantize)(const float* t, int64_t n, float divisor, float levels, float step, float* q);
  MaximumSums (*sums)(const float* t, const float* gy, int64_t n, float maximum);
  // gt = gy / divisor, and where |t| == maximum that plus `share` with the sign of t;
  // gx = gt * (1 - t * t) + decay * x.
  void (*gradient)(const float* x, const float* t, const float* gy, int64_t n,
                   const GradientTerms& terms, float* gx);
};

const DorefaLoops& DorefaLoopsOf(Version version);

}  // namespace sspq

#endif  // SSPQ_DOREFA_LOOPS_H_

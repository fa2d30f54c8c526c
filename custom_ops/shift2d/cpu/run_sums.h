// The float64 sums to which runs of terms are added: see kSumRun.
#ifndef SSPQ_SHIFT2D_CPU_RUN_SUMS_H_
#define SSPQ_SHIFT2D_CPU_RUN_SUMS_H_

#include "custom_ops/cpu/vectors.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// Adds a vector of `count` runs, [count, 2, pitch], to the sums, in their order.
SSPQ_INLINE void AddRuns(const float* runs, int64_t count, int64_t pitch, double* sum_x,
                         double* sum_y) {
  constexpr int kHalf = kLanes / 2;
  D x[2] = {Load(sum_x), Load(sum_x + kHalf)}, y[2] = {Load(sum_y), Load(sum_y + kHalf)};
  for (int64_t k = 0; k < count; ++k, runs += 2 * pitch) {
    const V run_x = Load(runs), run_y = Load(runs + pitch);
    x[0] += PromoteLower(run_x);
    x[1] += PromoteUpper(run_x);
    y[0] += PromoteLower(run_y);
    y[1] += PromoteUpper(run_y);
  }
  for (int h = 0; h < 2; ++h) {
    Store(x[h], sum_x + h * kHalf);
    Store(y[h], sum_y + h * kHalf);
  }
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CPU_RUN_SUMS_H_

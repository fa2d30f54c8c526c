// Fills in one version's table. Included by one file per instruction set, with SSPQ_CPU_VERSION
// set.
#ifndef SSPQ_SHIFT2D_CPU_VERSION_H_
#define SSPQ_SHIFT2D_CPU_VERSION_H_

#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/interleaved.h"
#include "custom_ops/shift2d/cc/kernels/interleaved_expand.h"
#include "custom_ops/shift2d/cc/kernels/planar.h"
#include "custom_ops/shift2d/cc/kernels/planar_flat.h"
#include "custom_ops/shift2d/cc/kernels/planar_flat_gradients.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

template <typename T>
constexpr CpuKernels<T> Kernels() {
  return {MapPlanes<T>,    ShiftGradientPlanes<T>, WidestFlatMap<T>(),  NeedsFlatMasks<T>(),
          MapFlat<T>,      ShiftGradientFlat<T>,   BackwardFlat<T>,     SampleRows<T>,
          BackwardRows<T>, ExpandRows<T>,          ShiftGradientRows<T>};
}

#define SSPQ_STRING_(s) #s
#define SSPQ_STRING(s) SSPQ_STRING_(s)

extern const CpuVersion kVersion;
const CpuVersion kVersion = {SSPQ_STRING(SSPQ_CPU_VERSION), Kernels<float>(), Kernels<double>()};

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CPU_VERSION_H_

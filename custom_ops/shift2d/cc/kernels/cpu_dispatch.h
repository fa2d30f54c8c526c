// The choice among the versions of the CPU kernels, at run time.
#ifndef SSPQ_SHIFT2D_CPU_DISPATCH_H_
#define SSPQ_SHIFT2D_CPU_DISPATCH_H_

#include <vector>

#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"

namespace sspq {

// Element by element, by element.h: slow, and what the others are tested against. Its table is
// empty: Shift2DCpu runs it itself.
extern const CpuVersion kReferenceVersion;

// What this machine runs, the fastest first.
const std::vector<const CpuVersion*>& RunnableCpuVersions();

// The version of that name, or the fastest where `name` is null or empty; null if there is none.
const CpuVersion* FindCpuVersion(const char* name);

}  // namespace sspq

// The names of the runnable versions, the fastest first, with spaces between. Python calls it too.
extern "C" const char* sspq_cpu_versions();

#endif  // SSPQ_SHIFT2D_CPU_DISPATCH_H_

// Which version of the CPU kernels an op runs, for TensorFlow kernels: the environment decides.
#ifndef SSPQ_SHIFT2D_CPU_CHOICE_H_
#define SSPQ_SHIFT2D_CPU_CHOICE_H_

#include <cstdlib>

#include "custom_ops/shift2d/cc/kernels/cpu_dispatch.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace sspq {

// Sets `version` to what SSPQ_CPU asks for; an error in the name of `op` if this machine does not
// run it.
inline ::tensorflow::Status ChooseCpuVersion(const char* op, const CpuVersion** version) {
  const char* const name = std::getenv("SSPQ_CPU");
  *version = FindCpuVersion(name);
  if (*version != nullptr) return ::tensorflow::Status();
  return ::tensorflow::errors::InvalidArgument(
      op, ": SSPQ_CPU=", name, ", expected one of ", sspq_cpu_versions(),
      ", which this machine runs, or nothing for the first of them");
}

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CPU_CHOICE_H_

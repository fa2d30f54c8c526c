// Which versions of the CPU kernels this machine runs, and which one is used.
#include "custom_ops/shift2d/cc/kernels/cpu_dispatch.h"

#include <cstring>
#include <string>

namespace sspq {

namespace baseline {
extern const CpuVersion kVersion;
}
#if defined(__x86_64__)
namespace avx2 {
extern const CpuVersion kVersion;
}
namespace avx512 {
extern const CpuVersion kVersion;
}
#endif

const CpuVersion kReferenceVersion = {"reference", {}, {}};

const std::vector<const CpuVersion*>& RunnableCpuVersions() {
  static const std::vector<const CpuVersion*> versions = [] {
    std::vector<const CpuVersion*> found;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
      found.push_back(&avx512::kVersion);
    }
    if (__builtin_cpu_supports("avx2")) found.push_back(&avx2::kVersion);
#endif
    found.push_back(&baseline::kVersion);
    found.push_back(&kReferenceVersion);
    return found;
  }();
  return versions;
}

const CpuVersion* FindCpuVersion(const char* name) {
  if (name == nullptr || *name == 0) return RunnableCpuVersions().front();
  for (const CpuVersion* version : RunnableCpuVersions()) {
    if (std::strcmp(version->name, name) == 0) return version;
  }
  return nullptr;
}

}  // namespace sspq

extern "C" const char* sspq_cpu_versions() {
  static const std::string names = [] {
    std::string all;
    for (const sspq::CpuVersion* version : sspq::RunnableCpuVersions()) {
      all += (all.empty() ? "" : " ") + std::string(version->name);
    }
    return all;
  }();
  return names.c_str();
}

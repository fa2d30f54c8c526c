#include "custom_ops/cpu/versions.h"

#include <cstdlib>

namespace sspq {

const char* VersionName(Version version) {
  static const char* const names[] = {"avx512", "avx2", "baseline", "reference"};
  return names[static_cast<int>(version)];
}

const std::vector<Version>& RunnableVersions() {
  static const std::vector<Version> versions = [] {
    std::vector<Version> found;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
      found.push_back(Version::kAvx512);
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
      found.push_back(Version::kAvx2);
    }
#endif
    found.push_back(Version::kBaseline);
    found.push_back(Version::kReference);
    return found;
  }();
  return versions;
}

std::string ChooseVersion(Version* version) {
  const char* const variable = std::getenv("SSPQ_CPU");
  const std::string name = variable == nullptr ? "" : variable;
  for (Version runnable : RunnableVersions()) {
    if (!name.empty() && name != VersionName(runnable)) continue;
    *version = runnable;
    return "";
  }
  return "SSPQ_CPU=" + name + ", expected one of " + sspq_cpu_versions() +
         ", which this machine runs, or nothing for the first of them";
}

}  // namespace sspq

extern "C" const char* sspq_cpu_versions() {
  static const std::string names = [] {
    std::string all;
    for (sspq::Version version : sspq::RunnableVersions()) {
      all += (all.empty() ? "" : " ") + std::string(sspq::VersionName(version));
    }
    return all;
  }();
  return names.c_str();
}

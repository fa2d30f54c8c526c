// The versions of the CPU loops, which are compiled once per instruction set, and the choice among
// them at run time. All ops use it; nothing here knows TensorFlow.
#ifndef SSPQ_CPU_VERSIONS_H_
#define SSPQ_CPU_VERSIONS_H_

#include <string>
#include <vector>

namespace sspq {

// The fastest first. kBaseline is for any machine: SSE2 on x86-64, NEON on aarch64. kReference has
// no loops of its own: element by element, what the others are tested against.
enum class Version { kAvx512, kAvx2, kBaseline, kReference };

const char* VersionName(Version version);

// Those that this machine runs, the fastest first.
const std::vector<Version>& RunnableVersions();

// Sets `version` to the one that the environment variable SSPQ_CPU names, or to the fastest where
// it is not set or empty. Returns what is wrong, or nothing.
std::string ChooseVersion(Version* version);

}  // namespace sspq

// Defines `const Type& function(Version)`, which gives the loops `name` that each version's file
// defines in the namespace of its version. `reference` has none of its own: the baseline's.
#if defined(__x86_64__)
#define SSPQ_DEFINE_LOOPS_OF(Type, name, function)                  \
  namespace baseline {                                              \
  extern const Type name;                                           \
  }                                                                 \
  namespace avx2 {                                                  \
  extern const Type name;                                           \
  }                                                                 \
  namespace avx512 {                                                \
  extern const Type name;                                           \
  }                                                                 \
  const Type& function(Version version) {                           \
    if (version == Version::kAvx512) return avx512::name;           \
    return version == Version::kAvx2 ? avx2::name : baseline::name; \
  }
#else
#define SSPQ_DEFINE_LOOPS_OF(Type, name, function) \
  namespace baseline {                             \
  extern const Type name;                          \
  }                                                \
  const Type& function(Version) { return baseline::name; }
#endif

// The names of the runnable versions, the fastest first, with spaces between. Python calls it too.
extern "C" const char* sspq_cpu_versions();

#endif  // SSPQ_CPU_VERSIONS_H_

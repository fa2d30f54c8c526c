// The loops for AVX-512.
#if defined(__x86_64__)
#define SSPQ_CPU_VERSION avx512
#include "custom_ops/conv/cpu/loops_version.h"
#endif

// The loops for AVX2.
#if defined(__x86_64__)
#define SSPQ_CPU_VERSION avx2
#include "custom_ops/dorefa/cpu/loops_version.h"
#endif

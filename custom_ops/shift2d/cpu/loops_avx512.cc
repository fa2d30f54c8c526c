// The vectorised loops for AVX-512 (F, BW, DQ, VL).
#if defined(__x86_64__)
#define SSPQ_CPU_VERSION avx512
#include "custom_ops/shift2d/cpu/loops_version.h"
#endif

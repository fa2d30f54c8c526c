// The loops for AVX-512 (F, BW, DQ, VL).
#if defined(__x86_64__)
#define SSPQ_CPU_VERSION avx512
#include "custom_ops/dorefa/cpu/loops_version.h"
#endif

// The loops for any machine: SSE2 on x86-64, NEON on aarch64.
#define SSPQ_CPU_VERSION baseline
#include "custom_ops/dorefa/cpu/loops_version.h"

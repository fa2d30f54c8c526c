#include "custom_ops/dorefa/cpu/loops.h"

namespace sspq {

SSPQ_DEFINE_LOOPS_OF(DorefaLoops, kDorefaLoops, DorefaLoopsOf)

}  // namespace sspq

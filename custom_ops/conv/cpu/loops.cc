#include "custom_ops/conv/cpu/loops.h"

namespace sspq {

SSPQ_DEFINE_LOOPS_OF(ProductLoops, kProductLoops, ProductLoopsOf)

}  // namespace sspq

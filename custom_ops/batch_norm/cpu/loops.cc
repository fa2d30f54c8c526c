#include "custom_ops/batch_norm/cpu/loops.h"

namespace sspq {

SSPQ_DEFINE_LOOPS_OF(BatchNormLoops, kBatchNormLoops, BatchNormLoopsOf)

}  // namespace sspq

// Fills in one version's loops. Included by one file per instruction set, with SSPQ_CPU_VERSION
// set.
#ifndef SSPQ_SHIFT2D_CPU_LOOPS_VERSION_H_
#define SSPQ_SHIFT2D_CPU_LOOPS_VERSION_H_

#include "custom_ops/shift2d/cpu/loops.h"
#include "custom_ops/shift2d/cpu/shifter.h"
#include "custom_ops/shift2d/cpu/strided.h"
#include "custom_ops/shift2d/cpu/window.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

extern const Shift2DLoops kShift2DLoops;
const Shift2DLoops kShift2DLoops = {WindowForward, StridedForward, ShifterForward, WindowBackward,
                                    ShifterBackward};

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CPU_LOOPS_VERSION_H_

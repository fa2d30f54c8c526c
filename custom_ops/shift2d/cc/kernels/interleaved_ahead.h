// What the loops over NHWC images ask for in advance. A block of channels leaves gaps between
// pixels that the processor's own prefetching does not see through.
#ifndef SSPQ_SHIFT2D_INTERLEAVED_AHEAD_H_
#define SSPQ_SHIFT2D_INTERLEAVED_AHEAD_H_

#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/simd.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// Where the share of a block begins in what comes next, when each asks for as many cache lines.
template <typename T>
SSPQ_INLINE const T* Share(const T* next, int64_t block, int64_t lines) {
  return next + block * lines * (64 / sizeof(T));
}

// Asks for memory that the rows to come will read or write, so that every block asks for its share
// of what comes next, in the order of memory.
template <typename T>
class ReadAhead {
 public:
  // `from` is where the coming rows begin; each of `steps` steps is for `lines` cache lines.
  SSPQ_INLINE ReadAhead(const T* from, int64_t block, int64_t steps, int64_t lines)
      : next_(Share(from, block, steps * lines)), lines_(lines) {}
  SSPQ_INLINE void Step() {
    for (int64_t k = 0; k < lines_; ++k, next_ += 64 / sizeof(T)) Prefetch(next_, 0);
  }

 private:
  const T* next_;
  const int64_t lines_;
};

// How many lines of input a block asks for with every output pixel: about as many as it reads.
template <typename T>
SSPQ_INLINE int64_t InputLines(const PixelMap<T>& m) {
  if (m.stride_w == 1) return 1;
  return (m.stride_h < 3 ? m.stride_h : 2) * (m.stride_w < 3 ? m.stride_w : 3);
}

// The first input that output rows before `end` do not read.
template <typename T>
SSPQ_INLINE const T* NextInput(const PixelMap<T>& m, const T* in, int64_t end) {
  const int64_t below = m.distances->last_row > 0 ? m.distances->last_row : 0;
  return in + (end * m.stride_h + below) * m.in_w * m.channels;
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_INTERLEAVED_AHEAD_H_

// NCHW planes for loops that read them with whole vectors, beyond their ends.
#ifndef SSPQ_SHIFT2D_CPU_PADDED_PLANES_H_
#define SSPQ_SHIFT2D_CPU_PADDED_PLANES_H_

#include <algorithm>
#include <cstdint>
#include <memory>

#include "custom_ops/shift2d/cc/kernels/aligned.h"

namespace sspq {

// Planes of a tensor, with room around them for whole vectors: the first and the last few come from
// a copy, all others lie between planes that may be read as well.
template <typename T>
class PaddedPlanes {
 public:
  PaddedPlanes(const T* data, int64_t size, int64_t count, int64_t slack)
      : data_(data),
        size_(size),
        count_(count),
        slack_(slack),
        edge_((slack + size - 1) / std::max<int64_t>(1, size)) {}

  // How many planes from p on can be had at once, at most `wanted`.
  int64_t Run(int64_t p, int64_t wanted) const {
    if (p < edge_ || p >= count_ - edge_) return 1;
    return std::min(wanted, count_ - edge_ - p);
  }

  // What Get() gave before is lost.
  const T* Get(int64_t p) {
    const T* plane = data_ + p * size_;
    if (p >= edge_ && p < count_ - edge_) return plane;
    if (!copy_) copy_.reset(new AlignedRoom<T>(size_ + 2 * slack_));
    T* const copy = copy_->data() + slack_;
    if (p != copied_) std::copy(plane, plane + size_, copy);
    copied_ = p;
    return copy;
  }

 private:
  const T* const data_;
  const int64_t size_, count_, slack_, edge_;
  std::unique_ptr<AlignedRoom<T>> copy_;
  int64_t copied_ = -1;
};

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CPU_PADDED_PLANES_H_

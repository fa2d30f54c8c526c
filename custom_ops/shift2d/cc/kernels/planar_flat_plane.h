// What all loops over small NCHW planes at stride 1 know of a plane.
#ifndef SSPQ_SHIFT2D_PLANAR_FLAT_PLANE_H_
#define SSPQ_SHIFT2D_PLANAR_FLAT_PLANE_H_

#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/simd.h"
#include "custom_ops/shift2d/cc/kernels/simd_bits.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// The bits of pixels k, k + 1, ...: whether the one of their four that is blended is inside.
static SSPQ_INLINE uint32_t Inside(const uint16_t* inside, int64_t k, int which) {
  return inside[k / kFlatGroup * 4 + which] >> k % kFlatGroup;
}

// The same for neighbour (u, v), where the four are (0, 0) to (1, 1).
template <typename T>
SSPQ_INLINE uint32_t InsideAt(const FlatShape& s, const FlatTap<T>& t, int64_t k, int u, int v) {
  const int64_t row = t.row + u + s.height + kFlatReach,
                column = t.column + v + s.width + kFlatReach;
  const int64_t run = k / kFlatRun;
  return (s.rows[row * s.runs + run] & s.columns[column * s.runs + run]) >> k % kFlatRun;
}

// What both maps and sums know of one plane.
template <typename T, int L>
struct FlatPlane {
  SSPQ_INLINE FlatPlane(const FlatShape& s, const FlatTap<T>& t, const T* in)
      : lo_y(Broadcast<T, L>(t.lo_y)),
        hi_y(Broadcast<T, L>(t.hi_y)),
        lo_x(Broadcast<T, L>(t.lo_x)),
        hi_x(Broadcast<T, L>(t.hi_x)),
        from(in + t.row * s.width + t.column) {}

  const Vec<T, L> lo_y, hi_y, lo_x, hi_x;
  const T* const from;
};

// Stores a vector of a plane. `left` values are left to the end of the last plane: those between
// are written later, so that it does not matter what is written there; those beyond are not ours.
template <typename T, int L>
SSPQ_INLINE void StoreFlat(T* to, Vec<T, L> v, int64_t left) {
  if (left >= L) {
    Store<T, L>(to, v);
  } else {
    StoreFirst<T, L>(to, v, static_cast<int>(left));
  }
}

// Which of the lanes of two vectors in a row lie `distance` after those of the first.
template <typename T, int L>
SSPQ_INLINE Mask<T, L> LanesAfter(int64_t distance) {
  return Count<T, L>() + static_cast<typename Lanes<T, L>::I>(distance);
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_PLANAR_FLAT_PLANE_H_

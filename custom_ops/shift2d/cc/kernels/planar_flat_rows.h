// shift2d on small NCHW planes at stride 1 where picking lanes from two vectors is slow: what rows
// give is blended along W into a buffer, for all pixels of a plane in the order of memory, and
// found there again as that of the row below. Rows outside are a stretch of zeros; columns outside
// are cut away by masks that are kept in memory.
#ifndef SSPQ_SHIFT2D_PLANAR_FLAT_ROWS_H_
#define SSPQ_SHIFT2D_PLANAR_FLAT_ROWS_H_

#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/planar_flat_plane.h"
#include "custom_ops/shift2d/cc/kernels/simd.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// Samples along W and, if kSlopes is set, slopes of a few planes, with the row below their last.
// Vectors that are loaded across two others have to wait until these have left for the cache, so
// that several planes come in between.
template <typename T, bool kSlopes>
class FlatRows {
 public:
  static constexpr int L = MostLanes<T>(), kPlanes = 4;
  typedef Vec<T, L> V;

  SSPQ_INLINE explicit FlatRows(const FlatShape& s) : shape_(s), zero_() {
    asm("" : "+m"(zero_));  // of unknown value, or compilers call memset() for a row
  }

  // Of plane `p` of those in the buffer.
  SSPQ_INLINE const T* samples(int p) const { return buffer_ + p * kParts * kRoom; }
  SSPQ_INLINE const T* slopes(int p) const { return samples(p) + kRoom; }

  SSPQ_INLINE void Fill(int p, const FlatTap<T>& t, const T* in) {
    T* const samples = buffer_ + p * kParts * kRoom;
    const int64_t width = shape_.width, end = (shape_.height + 1) * width;
    const int64_t first = Within(-t.row) * width, last = Within(shape_.height - t.row) * width;
    Zero(samples, 0, first);
    const FlatPlane<T, L> plane(shape_, t, in);
    const T *const in_a = static_cast<const T*>(t.in_a), *const in_b =
                                                             static_cast<const T*>(t.in_b);
    for (int64_t k = first; k < last; k += L) {
      const V a = Keep<T, L>(Load<T, L>(plane.from + k), LoadMask<T, L>(in_a + k));
      const V b = Keep<T, L>(Load<T, L>(plane.from + k + 1), LoadMask<T, L>(in_b + k));
      Store<T, L>(samples + k, plane.lo_x * a + plane.hi_x * b);
      if (kSlopes) Store<T, L>(samples + kRoom + k, b - a);
    }
    Zero(samples, last, end);
  }

 private:
  static constexpr int kParts = kSlopes ? 2 : 1, kRoom = (kMostFlat + 1) * kMostFlat + L;

  SSPQ_INLINE int64_t Within(int64_t row) const {
    return row < 0 ? 0 : row <= shape_.height ? row : shape_.height + 1;
  }
  SSPQ_INLINE void Zero(T* samples, int64_t k, int64_t end) const {
    for (; k < end; k += L) {
      Store<T, L>(samples + k, zero_);
      if (kSlopes) Store<T, L>(samples + kRoom + k, zero_);
    }
  }

  const FlatShape& shape_;
  V zero_;
  T buffer_[kPlanes * kParts * kRoom];
};

// Calls visit(rows, n, p) for n of all `count` planes p.
template <bool kSlopes, typename T, typename Visit>
SSPQ_INLINE void ForEachFlat(const FlatShape& s, const FlatTap<T>* taps, const T* in, int64_t count,
                             const Visit& visit) {
  const int64_t size = s.height * s.width;
  FlatRows<T, kSlopes> rows(s);
  for (int64_t first = 0; first < count; first += rows.kPlanes) {
    const int planes =
        static_cast<int>(count - first < rows.kPlanes ? count - first : rows.kPlanes);
    for (int n = 0; n < planes; ++n) rows.Fill(n, taps[first + n], in + (first + n) * size);
    for (int n = 0; n < planes; ++n) visit(rows, n, first + n);
  }
}

template <typename T>
void MapFlatRows(const FlatShape& s, const FlatTap<T>* taps, const T* in, T* out, int64_t count) {
  constexpr int L = MostLanes<T>();
  const int64_t size = s.height * s.width;
  ForEachFlat<false>(
      s, taps, in,
      count, [&](const FlatRows<T, false>& rows, int n, int64_t p) __attribute__((always_inline)) {
        const Vec<T, L> lo = Broadcast<T, L>(taps[p].lo_y), hi = Broadcast<T, L>(taps[p].hi_y);
        const T *const upper = rows.samples(n), *const lower = upper + s.width;
        T* const to = out + p * size;
        for (int64_t k = 0; k < size; k += L) {
          Prefetch(to + k, kWriteAhead);
          const Vec<T, L> v = lo * Load<T, L>(upper + k) + hi * Load<T, L>(lower + k);
          StoreFlat<T, L>(to + k, v, (count - p) * size - k);
        }
      });
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_PLANAR_FLAT_ROWS_H_

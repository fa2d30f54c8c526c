// shift2d on small NCHW planes at stride 1, where a vector would hold little more than a row: all
// pixels of a plane in the order of memory, whatever row they belong to. What lies beyond a border
// is cut away by masks, which FlatShape holds as bits, so there is no branch but the loop's.
#ifndef SSPQ_SHIFT2D_PLANAR_FLAT_H_
#define SSPQ_SHIFT2D_PLANAR_FLAT_H_

#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/planar_flat_plane.h"
#include "custom_ops/shift2d/cc/kernels/planar_flat_rows.h"
#include "custom_ops/shift2d/cc/kernels/planar_flat_run.h"
#include "custom_ops/shift2d/cc/kernels/simd.h"
#include "custom_ops/shift2d/cc/kernels/simd_bits.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// One plane of the map. What the row below gives is taken from among what was blended for the rows
// themselves, where a row spans at most `kSpan` vectors, 1 or 2.
template <typename T, int L, int kSpan>
class FlatMap {
 public:
  typedef Vec<T, L> V;

  SSPQ_INLINE FlatMap(const FlatShape& s, const FlatTap<T>& t, const T* in, T* out)
      : plane_(s, t, in),
        from_(plane_.from),
        inside_(t.inside),
        row_below_(LanesAfter<T, L>(s.width - (kSpan == 2 ? L : 0))),
        out_(out) {
    for (int n = 0; n < kSpan; ++n) samples_[n] = Sample(n * L);
  }

  // The next N vectors, the last of them only as far as `count` values. All are read before any is
  // stored: a load waits for a store to an address that differs by a multiple of 4096, as those in
  // two large tensors do.
  template <int N>
  SSPQ_INLINE void Store(int64_t count) {
    V values[N];
    Unrolled<N>::Run([&](int n) __attribute__((always_inline)) {
      Prefetch(out_ + n * L, kWriteAhead);
      values[n] = Blend(n * L);
    });
    Unrolled<N - 1>::Run([&](int n) __attribute__((always_inline)) {
      SSPQ_CPU_VERSION::Store<T, L>(out_ + n * L, values[n]);
    });
    T* const last = out_ + (N - 1) * L;
    if (count == L) {
      SSPQ_CPU_VERSION::Store<T, L>(last, values[N - 1]);
    } else {
      StoreFirst<T, L>(last, values[N - 1], count);
    }
    from_ += N * L;
    inside_ += N * L / kFlatGroup * 4;
    out_ += N * L;
  }

 private:
  // Of the rows themselves, blended along W.
  SSPQ_INLINE V Sample(int k) const {
    const T* const row = from_ + k;
    return MultiplyBits<T, L>(plane_.lo_x, Load<T, L>(row), Inside(inside_, k, 0)) +
           MultiplyBits<T, L>(plane_.hi_x, Load<T, L>(row + 1), Inside(inside_, k, 1));
  }

  SSPQ_INLINE V Blend(int k) {
    const V above = samples_[0];
    if (kSpan == 2) samples_[0] = samples_[kSpan == 2];
    const V upper = samples_[0], lower = Sample(k + kSpan * L);
    samples_[kSpan == 2] = lower;
    return plane_.lo_y * above + plane_.hi_y * Shuffle<T, L>(upper, lower, row_below_);
  }

  const FlatPlane<T, L> plane_;
  const T* from_;  // these three at the pixel to come
  const uint16_t* inside_;
  const Mask<T, L> row_below_;
  T* out_;
  V samples_[kSpan];  // those from the pixel to come on
};

// The last vectors of a plane, at most N.
template <int N, typename Plane>
struct FlatTail {
  static SSPQ_INLINE void Store(int64_t vectors, int64_t count, Plane* plane) {
    if (vectors < N) return FlatTail<N - 1, Plane>::Store(vectors, count, plane);
    plane->template Store<N>(count);
  }
};
template <typename Plane>
struct FlatTail<0, Plane> {
  static SSPQ_INLINE void Store(int64_t, int64_t, Plane*) {}
};

template <typename T, int kSpan>
SSPQ_INLINE void MapFlatPlanes(const FlatShape& s, const FlatTap<T>* taps, const T* in, T* out,
                               int64_t count) {
  // Four vectors at a time, or as many as a group of bits holds.
  constexpr int L = MostLanes<T>(), kTogether = L < 4 ? kFlatGroup / L : 4;
  typedef FlatMap<T, L, kSpan> Plane;
  const int64_t size = s.height * s.width;
  const int64_t whole = size > 0 ? (size - 1) / (kTogether * L) : 0;
  const int64_t left = size - whole * kTogether * L, vectors = (left + L - 1) / L;
  for (int64_t p = 0; p < count; ++p, in += size, out += size) {
    Plane plane(s, taps[p], in, out);
    for (int64_t k = 0; k < whole; ++k) plane.template Store<kTogether>(L);
    FlatTail<kTogether, Plane>::Store(vectors, left - (vectors - 1) * L, &plane);
  }
}

template <typename T>
void MapFlat(const FlatShape& s, const FlatTap<T>* taps, const T* in, T* out, int64_t count) {
  constexpr int L = MostLanes<T>();
  constexpr bool kShuffles = ShufflesFast<T, L>();
  if (IsFlatRun<T>(s)) {
    switch ((s.height * s.width - 1) / L) {
      case 0:
        return MapFlatRuns<T, 1>(s, taps, in, out, count);
      case 1:
        return MapFlatRuns<T, 2>(s, taps, in, out, count);
      case 2:
        return MapFlatRuns<T, 3>(s, taps, in, out, count);
      case 3:
        return MapFlatRuns<T, 4>(s, taps, in, out, count);
    }
  }
  if (!kShuffles) {
    MapFlatRows(s, taps, in, out, count);
  } else if (s.width <= L) {
    MapFlatPlanes<T, 1>(s, taps, in, out, count);
  } else {
    MapFlatPlanes<T, 2>(s, taps, in, out, count);
  }
}

// The widest rows for which planes are mapped like this at all.
template <typename T>
constexpr int64_t WidestFlatMap() {
  return ShufflesFast<T, MostLanes<T>()>() && 2 * MostLanes<T>() > kMostFlat ? 2 * MostLanes<T>()
                                                                             : kMostFlat;
}

template <typename T>
constexpr bool NeedsFlatMasks() {
  return !ShufflesFast<T, MostLanes<T>()>();
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_PLANAR_FLAT_H_

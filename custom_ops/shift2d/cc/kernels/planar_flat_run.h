// shift2d on NCHW planes of at most kFlatRun pixels, in a number of vectors that the compiler
// knows: most of the work on so small planes is in finding out where things are.
#ifndef SSPQ_SHIFT2D_PLANAR_FLAT_RUN_H_
#define SSPQ_SHIFT2D_PLANAR_FLAT_RUN_H_

#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/planar_flat_plane.h"
#include "custom_ops/shift2d/cc/kernels/simd.h"
#include "custom_ops/shift2d/cc/kernels/simd_bits.h"
#include "custom_ops/shift2d/cc/kernels/simd_sums.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// Whether planes are such, and a row below is found among the vectors of a plane.
template <typename T>
SSPQ_INLINE bool IsFlatRun(const FlatShape& s) {
  constexpr int L = MostLanes<T>();
  const int64_t size = s.height * s.width;
  return ShufflesFast<T, L>() && L == kFlatGroup && s.width <= L && size > 0 && size <= kFlatRun;
}

// N vectors of a plane.
template <typename T, int N>
class FlatRun {
 public:
  static constexpr int L = MostLanes<T>();
  typedef Vec<T, L> V;

  // What vectors of pixels give: n = N is what is below the last row.
  struct Rows {
    V sample[N + 1], slope[N + 1];
  };

  SSPQ_INLINE explicit FlatRun(const FlatShape& s)
      : shape_(s),
        row_below_(LanesAfter<T, L>(s.width)),
        last_(static_cast<int>(s.height * s.width - (N - 1) * L)),
        reads_below_(last_ + s.width > L) {}

  SSPQ_INLINE void Map(const FlatTap<T>& t, const T* in, T* out) const {
    const FlatPlane<T, L> plane(shape_, t, in);
    Rows rows;
    Unrolled<N>::Run([&](int n) __attribute__((always_inline)) {
      Prefetch(out + n * L, kWriteAhead);
      Sample(plane, t, n, &rows);
    });
    if (reads_below_) Sample(plane, t, N, &rows);
    V values[N];
    Unrolled<N>::Run([&](int n) __attribute__((always_inline)) {
      values[n] = plane.lo_y * rows.sample[n] + plane.hi_y * Below(rows.sample, n);
    });
    Unrolled<N - 1>::Run([&](int n) __attribute__((always_inline)) {
      Store<T, L>(out + n * L, values[n]);
    });
    StoreFirst<T, L>(out + (N - 1) * L, values[N - 1], last_);
  }

  // Also the sums of the terms of every lane.
  SSPQ_INLINE void Backward(const FlatTap<T>& t, const T* gy, const T* x, T* gx, T* run_x,
                            T* run_y) const {
    const FlatPlane<T, L> plane(shape_, t, gy);
    Rows rows;
    Unrolled<N>::Run([&](int n) __attribute__((always_inline)) {
      Prefetch(gx + n * L, kWriteAhead);
      Slope(plane, t, n, &rows);
    });
    if (reads_below_) Slope(plane, t, N, &rows);
    V values[N], sum_x, sum_y;
    Unrolled<N>::Run([&](int n) __attribute__((always_inline)) {
      const V v = Load<T, L>(x + n * L), below = Below(rows.sample, n);
      values[n] = plane.lo_y * rows.sample[n] + plane.hi_y * below;
      V term_x = v * (plane.lo_y * rows.slope[n] + plane.hi_y * Below(rows.slope, n));
      V term_y = v * (below - rows.sample[n]);
      if (n == N - 1) {  // beyond the plane, what is read must not matter, whatever it is
        term_x = KeepBits<T, L>(term_x, (1u << last_) - 1);
        term_y = KeepBits<T, L>(term_y, (1u << last_) - 1);
      }
      sum_x = n == 0 ? -term_x : sum_x - term_x;
      sum_y = n == 0 ? -term_y : sum_y - term_y;
    });
    Unrolled<N - 1>::Run([&](int n) __attribute__((always_inline)) {
      Store<T, L>(gx + n * L, values[n]);
    });
    StoreFirst<T, L>(gx + (N - 1) * L, values[N - 1], last_);
    Store<T, L>(run_x, sum_x);
    Store<T, L>(run_y, sum_y);
  }

 private:
  static SSPQ_INLINE void Sample(const FlatPlane<T, L>& plane, const FlatTap<T>& t, int n,
                                 Rows* rows) {
    const T* const row = plane.from + n * L;
    rows->sample[n] =
        MultiplyBits<T, L>(plane.lo_x, Load<T, L>(row), Inside(t.inside, n * L, 0)) +
        MultiplyBits<T, L>(plane.hi_x, Load<T, L>(row + 1), Inside(t.inside, n * L, 1));
  }

  static SSPQ_INLINE void Slope(const FlatPlane<T, L>& plane, const FlatTap<T>& t, int n,
                                Rows* rows) {
    const T* const row = plane.from + n * L;
    const uint32_t in_a = Inside(t.inside, n * L, 0);
    const V a = Load<T, L>(row);
    const V b = KeepBits<T, L>(Load<T, L>(row + 1), Inside(t.inside, n * L, 1));
    rows->sample[n] = MultiplyBits<T, L>(plane.lo_x, a, in_a) + plane.hi_x * b;
    rows->slope[n] = SubtractBits<T, L>(b, a, in_a);
  }

  // Of the pixels below those of vector n.
  SSPQ_INLINE V Below(const V* rows, int n) const {
    const V next = n + 1 < N || reads_below_ ? rows[n + 1] : rows[n];
    return Shuffle<T, L>(rows[n], next, row_below_);
  }

  const FlatShape& shape_;
  const Mask<T, L> row_below_;
  const int last_;  // pixels in the last vector
  const bool reads_below_;
};

template <typename T, int N>
void MapFlatRuns(const FlatShape& s, const FlatTap<T>* taps, const T* in, T* out, int64_t count) {
  const int64_t size = s.height * s.width;
  const FlatRun<T, N> run(s);
  for (int64_t p = 0; p < count; ++p, in += size, out += size) run.Map(taps[p], in, out);
}

// Planes are taken kTogether at a time, so that their sums are folded at once; at the end, each by
// one(plane).
template <typename T, int N, typename One>
void BackwardFlatRuns(const FlatShape& s, const FlatTap<T>* taps, const T* gy, const T* x, T* gx,
                      int64_t count, double* sum_x, double* sum_y, const One& one) {
  constexpr int L = MostLanes<T>(), kTogether = kVectorBytes / 16;
  typedef Vec<double, kTogether> Half;
  const int64_t size = s.height * s.width;
  const FlatRun<T, N> run(s);
  int64_t p = 0;
  for (; p + kTogether <= count; p += kTogether) {
    T runs[2 * kTogether * L];
    for (int k = 0; k < kTogether; ++k) {
      const int64_t at = (p + k) * size;
      run.Backward(taps[p + k], gy + at, x + at, gx + at, &runs[k * L], &runs[(kTogether + k) * L]);
    }
    const Vec<double, 2 * kTogether> sums = FoldEach<L, 2 * kTogether>(runs);
    Half sum_of_x, sum_of_y;
    __builtin_memcpy(&sum_of_x, &sums, sizeof(Half));
    __builtin_memcpy(&sum_of_y, reinterpret_cast<const char*>(&sums) + sizeof(Half), sizeof(Half));
    Store<double, kTogether>(&sum_x[p], Load<double, kTogether>(&sum_x[p]) + sum_of_x);
    Store<double, kTogether>(&sum_y[p], Load<double, kTogether>(&sum_y[p]) + sum_of_y);
  }
  for (; p < count; ++p) one(p);
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_PLANAR_FLAT_RUN_H_

// shift2d on small NCHW planes at stride 1, where a vector would hold little more than a row: all
// pixels of a plane in the order of memory, whatever row they belong to. What lies beyond a border
// is cut away by masks, which FlatShape holds as bits, so there is no branch but the loop's.
#ifndef SSPQ_SHIFT2D_PLANAR_FLAT_H_
#define SSPQ_SHIFT2D_PLANAR_FLAT_H_

#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/simd.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// The bits of pixels k, k + 1, ...: whether the one of their four that is blended is inside.
template <typename T>
SSPQ_INLINE uint32_t Inside(const FlatTap<T>& t, int64_t k, int which) {
  return t.inside[k / kFlatGroup * 4 + which] >> k % kFlatGroup;
}

// The same for neighbour (u, v), where the four are (0, 0) to (1, 1).
template <typename T>
SSPQ_INLINE uint32_t InsideAt(const FlatShape& s, const FlatTap<T>& t, int64_t k, int u, int v) {
  const int64_t row = t.row + u + s.height + kFlatReach,
                column = t.column + v + s.width + kFlatReach;
  const int64_t run = k / kFlatRun;
  return (s.rows[row * s.runs + run] & s.columns[column * s.runs + run]) >> k % kFlatRun;
}

template <typename T>
void MapFlat(const FlatShape& s, const FlatTap<T>* taps, const T* in, T* out, int64_t count) {
  constexpr int L = MostLanes<T>();
  typedef Vec<T, L> V;
  const int64_t size = s.height * s.width, width = s.width;
  for (int64_t p = 0; p < count; ++p, in += size, out += size) {
    const FlatTap<T> t = taps[p];
    const V lo_y = Broadcast<T, L>(t.lo_y), hi_y = Broadcast<T, L>(t.hi_y);
    const V lo_x = Broadcast<T, L>(t.lo_x), hi_x = Broadcast<T, L>(t.hi_x);
    const T* const from = in + t.row * width + t.column;
    auto blend = [&](int64_t k) __attribute__((always_inline)) {
      const T *const upper = from + k, *const lower = upper + width;
      const V above = MultiplyBits<T, L>(lo_x, Load<T, L>(upper), Inside(t, k, 0)) +
                      MultiplyBits<T, L>(hi_x, Load<T, L>(upper + 1), Inside(t, k, 1));
      const V below = MultiplyBits<T, L>(lo_x, Load<T, L>(lower), Inside(t, k, 2)) +
                      MultiplyBits<T, L>(hi_x, Load<T, L>(lower + 1), Inside(t, k, 3));
      return lo_y * above + hi_y * below;
    };
    int64_t k = 0;
#pragma GCC unroll 2
    for (; k + L <= size; k += L) Store<T, L>(out + k, blend(k));
    if (k < size) StoreFirst<T, L>(out + k, blend(k), size - k);
  }
}

// Adds the sums of one plane.
template <typename T, bool kInteger>
SSPQ_INLINE void CorrelateFlat(const FlatShape& s, const FlatTap<T>& tap, const T* x, const T* gy,
                               double* total_x, double* total_y) {
  constexpr int L = MostLanes<T>(), kParts = kFlatGroup / L;
  typedef Vec<T, L> V;
  const FlatTap<T> t = tap;
  const int64_t size = s.height * s.width, width = s.width;
  const V lo_y = Broadcast<T, L>(t.lo_y), hi_y = Broadcast<T, L>(t.hi_y);
  const V lo_x = Broadcast<T, L>(t.lo_x), hi_x = Broadcast<T, L>(t.hi_x);
  const V half = Broadcast<T, L>(T(0.5));
  const T* const from = x + t.row * width + t.column;
  V run_x[kParts], run_y[kParts];
  auto add = [&](int64_t k, V g, int part) __attribute__((always_inline)) {
    V sample[2], slope[2];
    for (int u = 0; u < 2; ++u) {
      const T* const row = from + k + u * width;
      const V a = Load<T, L>(row);
      const V b = KeepBits<T, L>(Load<T, L>(row + 1), Inside(t, k, 2 * u + 1));
      const uint32_t in_a = Inside(t, k, 2 * u);
      sample[u] = MultiplyBits<T, L>(lo_x, a, in_a) + hi_x * b;
      slope[u] = SubtractBits<T, L>(b, a, in_a);
      if (kInteger && t.integer_x) {
        const V before = Load<T, L>(row - 1);
        slope[u] = half * SubtractBits<T, L>(b, before, InsideAt(s, t, k, u, -1));
      }
    }
    V slope_y = sample[1] - sample[0];
    if (kInteger && t.integer_y) {
      const T* const row = from + k - width;
      const V before = MultiplyBits<T, L>(lo_x, Load<T, L>(row), InsideAt(s, t, k, -1, 0)) +
                       MultiplyBits<T, L>(hi_x, Load<T, L>(row + 1), InsideAt(s, t, k, -1, 1));
      slope_y = half * (sample[1] - before);
    }
    run_x[part] += g * (lo_y * slope[0] + hi_y * slope[1]);
    run_y[part] += g * slope_y;
  };
  Sums<T, L> sum_x[kParts] = {}, sum_y[kParts] = {};
  for (int64_t begin = 0; begin < size; begin += kFlatRun) {
    for (int part = 0; part < kParts; ++part) run_x[part] = run_y[part] = V{};
    const int64_t end = begin + kFlatRun < size ? begin + kFlatRun : size;
    int64_t k = begin;
    for (; k + kFlatGroup <= end; k += kFlatGroup) {
      for (int part = 0; part < kParts; ++part) {
        add(k + part * L, Load<T, L>(gy + k + part * L), part);
      }
    }
    for (int part = 0; part < kParts && k < end; ++part, k += L) {
      const V g = Load<T, L>(gy + k);
      add(k, end - k < L ? KeepBits<T, L>(g, (1u << (end - k)) - 1) : g, part);
    }
    for (int part = 0; part < kParts; ++part) {
      sum_x[part].Add(run_x[part]);
      sum_y[part].Add(run_y[part]);
    }
  }
  *total_x += Fold(sum_x);
  *total_y += Fold(sum_y);
}

template <typename T>
void ShiftGradientFlat(const FlatShape& s, const FlatTap<T>* taps, const T* x, const T* gy,
                       int64_t count, double* sum_x, double* sum_y) {
  const int64_t size = s.height * s.width;
  for (int64_t p = 0; p < count; ++p, x += size, gy += size) {
    if (taps[p].integer_x || taps[p].integer_y) {
      CorrelateFlat<T, true>(s, taps[p], x, gy, &sum_x[p], &sum_y[p]);
    } else {
      CorrelateFlat<T, false>(s, taps[p], x, gy, &sum_x[p], &sum_y[p]);
    }
  }
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_PLANAR_FLAT_H_

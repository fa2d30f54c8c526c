// shift2d on small NCHW planes at stride 1, where a vector would hold little more than a row: all
// pixels of a plane in the order of memory, whatever row they belong to. What lies beyond a border
// is cut away by masks, which FlatShape holds as bits, so there is no branch but the loop's.
#ifndef SSPQ_SHIFT2D_PLANAR_FLAT_H_
#define SSPQ_SHIFT2D_PLANAR_FLAT_H_

#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/simd.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// Reads one plane, L pixels at a time.
template <typename T, int L>
class FlatPlane {
 public:
  typedef Vec<T, L> V;

  SSPQ_INLINE FlatPlane(const FlatShape& s, const FlatTap<T>& t, const T* plane)
      : width_(s.width),
        groups_(s.groups),
        rows_(s.rows + (t.row + s.height + kFlatReach) * s.groups),
        columns_(s.columns + (t.column + s.width + kFlatReach) * s.groups),
        from_(plane + t.row * s.width + t.column) {}

  // For output pixels k, k + 1, ...: the pixel that is u below and v to the right of the first one
  // read. Zero if its column is outside; OnRow is there for the row.
  SSPQ_INLINE V At(int64_t k, int u, int v) const {
    return KeepBits<T, L>(Load<T, L>(from_ + k + u * width_ + v), Bits(columns_ + v * groups_, k));
  }
  SSPQ_INLINE V OnRow(int64_t k, int u, V value) const {
    return KeepBits<T, L>(value, Bits(rows_ + u * groups_, k));
  }

 private:
  static SSPQ_INLINE uint32_t Bits(const uint16_t* words, int64_t k) {
    return words[k / kFlatGroup] >> k % kFlatGroup;
  }

  const int64_t width_, groups_;
  const uint16_t *const rows_, *const columns_;
  const T* const from_;
};

template <typename T>
void MapFlat(const FlatShape& s, const FlatTap<T>* taps, const T* in, T* out, int64_t count) {
  constexpr int L = MostLanes<T>();
  typedef Vec<T, L> V;
  const int64_t size = s.height * s.width;
  for (int64_t p = 0; p < count; ++p, in += size, out += size) {
    const FlatTap<T>& t = taps[p];
    const FlatPlane<T, L> plane(s, t, in);
    const V lo_y = Broadcast<T, L>(t.lo_y), hi_y = Broadcast<T, L>(t.hi_y);
    const V lo_x = Broadcast<T, L>(t.lo_x), hi_x = Broadcast<T, L>(t.hi_x);
    auto sample = [&](int64_t k, int u) __attribute__((always_inline)) {
      return plane.OnRow(k, u, lo_x * plane.At(k, u, 0) + hi_x * plane.At(k, u, 1));
    };
    int64_t k = 0;
    for (; k + L <= size; k += L) {
      Prefetch(in + k, 4096);
      Prefetch(out + k, 4096);
      Store<T, L>(out + k, lo_y * sample(k, 0) + hi_y * sample(k, 1));
    }
    if (k < size) {
      StoreFirst<T, L>(out + k, lo_y * sample(k, 0) + hi_y * sample(k, 1), size - k);
    }
  }
}

// The sums of one plane, by place within a group, over all groups.
template <typename T, bool kInteger>
SSPQ_INLINE void CorrelateFlat(const FlatShape& s, const FlatTap<T>& t, const T* x, const T* gy,
                               double* sums_x, double* sums_y) {
  constexpr int L = MostLanes<T>(), kParts = kFlatGroup / L;
  typedef Vec<T, L> V;
  const FlatPlane<T, L> plane(s, t, x);
  const V lo_y = Broadcast<T, L>(t.lo_y), hi_y = Broadcast<T, L>(t.hi_y);
  const V lo_x = Broadcast<T, L>(t.lo_x), hi_x = Broadcast<T, L>(t.hi_x);
  const V half = Broadcast<T, L>(T(0.5));
  Sums<T, L> sum_x[kParts] = {}, sum_y[kParts] = {};
  auto add = [&](int64_t k, V g, int part) __attribute__((always_inline)) {
    V sample[2], slope[2];
    for (int u = 0; u < 2; ++u) {
      const V a = plane.At(k, u, 0), b = plane.At(k, u, 1);
      sample[u] = plane.OnRow(k, u, lo_x * a + hi_x * b);
      if (kInteger && t.integer_x) {
        slope[u] = plane.OnRow(k, u, half * (b - plane.At(k, u, -1)));
      } else {
        slope[u] = plane.OnRow(k, u, b - a);
      }
    }
    sum_x[part].Add(g * (lo_y * slope[0] + hi_y * slope[1]));
    if (kInteger && t.integer_y) {
      const V above = lo_x * plane.At(k, -1, 0) + hi_x * plane.At(k, -1, 1);
      sum_y[part].Add(g * (half * (sample[1] - plane.OnRow(k, -1, above))));
    } else {
      sum_y[part].Add(g * (sample[1] - sample[0]));
    }
  };
  const int64_t size = s.height * s.width;
  int64_t k = 0;
  for (; k + kFlatGroup <= size; k += kFlatGroup) {
    for (int part = 0; part < kParts; ++part) {
      add(k + part * L, Load<T, L>(gy + k + part * L), part);
    }
  }
  for (int part = 0; part < kParts && k < size; ++part, k += L) {
    const uint32_t inside = size - k >= L ? (1u << L) - 1 : (1u << (size - k)) - 1;
    add(k, KeepBits<T, L>(Load<T, L>(gy + k), inside), part);
  }
  for (int part = 0; part < kParts; ++part) {
    sum_x[part].Store(sums_x + part * L);
    sum_y[part].Store(sums_y + part * L);
  }
}

template <typename T>
void ShiftGradientFlat(const FlatShape& s, const FlatTap<T>* taps, const T* x, const T* gy,
                       int64_t count, double* sum_x, double* sum_y) {
  const int64_t size = s.height * s.width;
  double sums_x[kFlatGroup], sums_y[kFlatGroup];
  for (int64_t p = 0; p < count; ++p, x += size, gy += size) {
    if (taps[p].integer_x || taps[p].integer_y) {
      CorrelateFlat<T, true>(s, taps[p], x, gy, sums_x, sums_y);
    } else {
      CorrelateFlat<T, false>(s, taps[p], x, gy, sums_x, sums_y);
    }
    sum_x[p] += FoldSums(sums_x);
    sum_y[p] += FoldSums(sums_y);
  }
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_PLANAR_FLAT_H_

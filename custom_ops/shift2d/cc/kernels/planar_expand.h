// The gradient to x of shift2d on NCHW planes at a stride of 2 or more, whole rows at a time: in
// the order of memory, and with what depends on the start of a channel worked out once for all
// channels that have it.
#ifndef SSPQ_SHIFT2D_PLANAR_EXPAND_H_
#define SSPQ_SHIFT2D_PLANAR_EXPAND_H_

#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/planar_rows.h"
#include "custom_ops/shift2d/cc/kernels/simd.h"
#include "custom_ops/shift2d/cc/kernels/simd_bits.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

constexpr int kMostSpread = 4;  // vectors in a row

template <typename T>
SSPQ_INLINE bool FitSpread(const PlaneShape& s) {
  constexpr int L = MostLanes<T>();
  return ShufflesFast<T, L>() && s.v.expand && s.h.expand && s.h.out <= kMostSpread * L;
}

// Where the pixels of one vector of a row come from: lane k from index[k] after `at`, if it is
// inside, with the lower weight or the upper one.
template <typename T, int L>
struct Spread {
  Mask<T, L> index;
  int64_t at;
  uint32_t inside, lower;

  SSPQ_INLINE void Set(const AxisShape& h, const AxisTap<T>& tap, int64_t column) {
    int64_t phase = tap.phase + column, from = tap.first + phase / h.stride;
    phase %= h.stride;
    at = from;
    inside = lower = 0;
    for (int k = 0; k < L; ++k) {
      index[k] = static_cast<typename Lanes<T, L>::I>(from - at);
      if (phase <= 1 && from >= 0 && from < h.in) inside |= 1u << k;
      if (phase == 0) lower |= 1u << k;
      if (++phase == h.stride) {
        phase = 0;
        ++from;
      }
    }
  }
};

// Those of all vectors of a row, for the starts that were met last: there are few in near shifts.
// The last vector ends with the row, if there are several.
template <typename T, int L, int N>
class SpreadTable {
 public:
  SSPQ_INLINE explicit SpreadTable(const AxisShape& h) : shape_(h) {
    for (int k = 0; k < kKnown; ++k) known_[k].valid = false;
  }

  SSPQ_INLINE const Spread<T, L>* Find(const AxisTap<T>& h) {
    Known* const known = &known_[h.start & (kKnown - 1)];
    if (!known->valid || known->start != h.start) Set(h, known);
    return known->spread;
  }

  static SSPQ_INLINE int64_t Column(int n, int64_t width) {
    return N > 1 && n == N - 1 ? width - L : n * L;
  }

 private:
  static constexpr int kKnown = 8;
  struct Known {
    bool valid;
    int64_t start;
    Spread<T, L> spread[N];
  };

  __attribute__((noinline)) void Set(const AxisTap<T>& h, Known* known) const {
    known->valid = true;
    known->start = h.start;
    for (int n = 0; n < N; ++n) known->spread[n].Set(shape_, h, Column(n, shape_.out));
  }

  const AxisShape& shape_;
  Known known_[kKnown];
};

// A row of N vectors.
template <typename T, int L, int N>
class SpreadRow {
 public:
  typedef Vec<T, L> V;

  SSPQ_INLINE SpreadRow(const Spread<T, L>* spread, const AxisTap<T>& h, int64_t width)
      : width_(width) {
    const V lo = Broadcast<T, L>(h.lo), hi = Broadcast<T, L>(h.hi);
    Unrolled<N>::Run([&](int n) __attribute__((always_inline)) {
      index_[n] = spread[n].index;
      at_[n] = spread[n].at;
      inside_[n] = spread[n].inside;
      weight_[n] = SelectBits<T, L>(hi, lo, spread[n].lower);
    });
  }

  SSPQ_INLINE void Clear() {
    Unrolled<N>::Run([&](int n) __attribute__((always_inline)) { value_[n] = V{}; });
  }

  SSPQ_INLINE void Read(const T* row) {
    Unrolled<N>::Run([&](int n) __attribute__((always_inline)) {
      const V v = Load<T, L>(row + at_[n]), own = Shuffle<T, L>(v, v, index_[n]);
      value_[n] = MultiplyBits<T, L>(weight_[n], own, inside_[n]) + T(0);
    });
  }

  SSPQ_INLINE void Write(V weight, T* to) const {
    Unrolled<N>::Run([&](int n)
                         __attribute__((always_inline)) { Put(to, n, weight * value_[n] + T(0)); });
  }
  SSPQ_INLINE void WriteZeros(T* to) const {
    Unrolled<N>::Run([&](int n) __attribute__((always_inline)) { Put(to, n, V{}); });
  }

 private:
  SSPQ_INLINE void Put(T* to, int n, V v) const {
    if (N == 1) {
      StoreFirst<T, L>(to, v, static_cast<int>(width_));
    } else {
      Store<T, L>(to + SpreadTable<T, L, N>::Column(n, width_), v);
    }
  }

  const int64_t width_;
  Mask<T, L> index_[N];
  int64_t at_[N];
  uint32_t inside_[N];
  V weight_[N], value_[N];
};

template <typename T, int L, int N>
SSPQ_INLINE void SpreadPlane(const AxisShape& v, const AxisTap<T>& tap, int64_t in_width,
                             int64_t width, const T* in, SpreadRow<T, L, N> row, T* out) {
  typedef Vec<T, L> V;
  const V lo = Broadcast<T, L>(tap.lo), hi = Broadcast<T, L>(tap.hi);
  const int64_t ahead = PrefetchDistance(v.out * width * sizeof(T));
  const int64_t ahead_in = PrefetchDistance(v.in * in_width * sizeof(T));
  auto next = [&]() __attribute__((always_inline)) {
    Unrolled<N>::Run([&](int n) __attribute__((always_inline)) { Prefetch(out + n * L, ahead); });
    out += width;
  };
  auto write = [&](V weight) __attribute__((always_inline)) {
    row.Write(weight, out);
    next();
  };
  ForEachExpanded<T>(
      v, tap, 0, v.out,
      [&](int64_t r) __attribute__((always_inline)) {
        Prefetch(in + r * in_width, ahead_in);
        row.Read(in + r * in_width);
      },
      [&]() __attribute__((always_inline)) { row.Clear(); },
      [&]() __attribute__((always_inline)) { write(lo); },
      [&]() __attribute__((always_inline)) { write(hi); },
      [&]() __attribute__((always_inline)) {
        row.WriteZeros(out);
        next();
      });
}

template <typename T, int N>
void SpreadEach(const PlaneShape& s, const AxisTap<T>* v, const AxisTap<T>* h, const T* in, T* out,
                int64_t count) {
  constexpr int L = MostLanes<T>();
  const int64_t in_size = s.v.in * s.h.in, out_size = s.v.out * s.h.out;
  SpreadTable<T, L, N> table(s.h);
  for (int64_t p = 0; p < count; ++p, in += in_size, out += out_size) {
    if (OutOfReach(v[p], 1) || OutOfReach(h[p], 1)) {
      Fill(out, out_size, v[p].lo * h[p].lo * T(0));
      continue;
    }
    const SpreadRow<T, L, N> row(table.Find(h[p]), h[p], s.h.out);
    SpreadPlane<T, L, N>(s.v, v[p], s.h.in, s.h.out, in, row, out);
  }
}

template <typename T>
void SpreadPlanes(const PlaneShape& s, const AxisTap<T>* v, const AxisTap<T>* h, const T* in,
                  T* out, int64_t count) {
  constexpr int L = MostLanes<T>();
  if (s.h.out <= L) return SpreadEach<T, 1>(s, v, h, in, out, count);
  if (s.h.out <= 2 * L) return SpreadEach<T, 2>(s, v, h, in, out, count);
  if (s.h.out <= 3 * L) return SpreadEach<T, 3>(s, v, h, in, out, count);
  SpreadEach<T, 4>(s, v, h, in, out, count);
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_PLANAR_EXPAND_H_

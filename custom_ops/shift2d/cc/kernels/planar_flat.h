// shift2d on small NCHW planes at stride 1, where a vector would hold little more than a row: all
// pixels of a plane in the order of memory, whatever row they belong to. What lies beyond a border
// is cut away by masks, which FlatShape holds as bits, so there is no branch but the loop's.
#ifndef SSPQ_SHIFT2D_PLANAR_FLAT_H_
#define SSPQ_SHIFT2D_PLANAR_FLAT_H_

#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/planar_flat_plane.h"
#include "custom_ops/shift2d/cc/kernels/planar_flat_run.h"
#include "custom_ops/shift2d/cc/kernels/simd.h"
#include "custom_ops/shift2d/cc/kernels/simd_bits.h"
#include "custom_ops/shift2d/cc/kernels/simd_sums.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// One plane of the map. What the row below gives is taken from among what was blended for the rows
// themselves, where a row spans at most `kSpan` vectors, 1 or 2; with a span of 0 it is blended
// once more.
template <typename T, int L, int kSpan>
class FlatMap {
 public:
  typedef Vec<T, L> V;

  SSPQ_INLINE FlatMap(const FlatShape& s, const FlatTap<T>& t, const T* in, T* out)
      : plane_(s, t, in),
        from_(plane_.from),
        inside_(t.inside),
        row_below_(LanesAfter<T, L>(s.width - (kSpan == 2 ? L : 0))),
        width_(s.width),
        out_(out) {
    for (int n = 0; n < kSpan; ++n) samples_[n] = Sample(n * L, 0);
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
  // Of the rows themselves (u = 0) or the ones below, blended along W.
  SSPQ_INLINE V Sample(int k, int u) const {
    const T* const row = from_ + u * width_ + k;
    return MultiplyBits<T, L>(plane_.lo_x, Load<T, L>(row), Inside(inside_, k, 2 * u)) +
           MultiplyBits<T, L>(plane_.hi_x, Load<T, L>(row + 1), Inside(inside_, k, 2 * u + 1));
  }

  SSPQ_INLINE V Blend(int k) {
    if (kSpan == 0) return plane_.lo_y * Sample(k, 0) + plane_.hi_y * Sample(k, 1);
    const V above = samples_[0];
    if (kSpan == 2) samples_[0] = samples_[kSpan == 2];
    const V upper = samples_[0], lower = Sample(k + kSpan * L, 0);
    samples_[kSpan == 2] = lower;
    return plane_.lo_y * above + plane_.hi_y * Shuffle<T, L>(upper, lower, row_below_);
  }

  const FlatPlane<T, L> plane_;
  const T* from_;  // these three at the pixel to come
  const uint16_t* inside_;
  const Mask<T, L> row_below_;
  const int64_t width_;
  T* out_;
  V samples_[kSpan > 0 ? kSpan : 1];  // those from the pixel to come on
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
  constexpr int L = MostLanes<T>(), kShuffles = ShufflesFast<T, L>();
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
  if (kShuffles && s.width <= L) {
    MapFlatPlanes<T, kShuffles>(s, taps, in, out, count);
  } else if (kShuffles && s.width <= 2 * L) {
    MapFlatPlanes<T, 2 * kShuffles>(s, taps, in, out, count);
  } else {
    MapFlatPlanes<T, 0>(s, taps, in, out, count);
  }
}

// The widest rows for which planes are mapped like this at all.
template <typename T>
constexpr int64_t WidestFlatMap() {
  return ShufflesFast<T, MostLanes<T>()>() && 2 * MostLanes<T>() > kMostFlat ? 2 * MostLanes<T>()
                                                                             : kMostFlat;
}

// ---- the gradient to the shift

// What the rows of a plane themselves contribute: samples along W and their slopes.
template <typename T, int L>
struct FlatRow {
  Vec<T, L> sample, slope;
};

// Adds the sums of one plane. terms->Add(k, limit, g, run_x, run_y) adds those of the pixels from k
// on whose bits are in `limit`.
template <typename T, typename Terms>
SSPQ_INLINE void AddFlat(const FlatShape& s, const T* gy, Terms* terms, double* total_x,
                         double* total_y) {
  constexpr int L = MostLanes<T>(), kParts = kFlatGroup / L;
  typedef Vec<T, L> V;
  const int64_t size = s.height * s.width;
  Sums<T, L> sum_x[kParts] = {}, sum_y[kParts] = {};
  for (int64_t begin = 0; begin < size; begin += kFlatRun) {
    V run_x[kParts] = {}, run_y[kParts] = {};
    const int64_t end = begin + kFlatRun < size ? begin + kFlatRun : size;
    int64_t k = begin;
    for (; k + kFlatGroup <= end; k += kFlatGroup) {
      for (int part = 0; part < kParts; ++part) {
        const int64_t at = k + part * L;
        terms->Add(at, ~0u, Load<T, L>(gy + at), &run_x[part], &run_y[part]);
      }
    }
    for (int part = 0; part < kParts && k < end; ++part, k += L) {
      // Beyond the plane, what is read must not matter, whatever it is.
      const uint32_t limit = end - k < L ? (1u << (end - k)) - 1 : ~0u;
      terms->Add(k, limit, KeepBits<T, L>(Load<T, L>(gy + k), limit), &run_x[part], &run_y[part]);
    }
    for (int part = 0; part < kParts; ++part) {
      sum_x[part].Add(run_x[part]);
      sum_y[part].Add(run_y[part]);
    }
  }
  *total_x += Fold(sum_x);
  *total_y += Fold(sum_y);
}

// The terms of one plane. `kShuffle`, for rows of at most L pixels, as a span of 1 above.
template <typename T, int L, bool kInteger, bool kShuffle>
class FlatTerms {
 public:
  typedef Vec<T, L> V;

  SSPQ_INLINE FlatTerms(const FlatShape& s, const FlatTap<T>& t, const T* x)
      : plane_(s, t, x), shape_(s), tap_(t), row_below_(LanesAfter<T, L>(s.width)) {
    static_assert(!(kInteger && kShuffle), "integer shifts read one more row");
    if (kShuffle) above_ = Row(0, 0, ~0u);
  }

  SSPQ_INLINE void Add(int64_t k, uint32_t limit, V g, V* run_x, V* run_y) {
    const FlatRow<T, L> upper = kShuffle ? above_ : Row(k, 0, limit);
    FlatRow<T, L> lower;
    if (kShuffle) {
      above_ = Row(k + L, 0, ~0u);
      lower.sample = Shuffle<T, L>(upper.sample, above_.sample, row_below_);
      lower.slope = Shuffle<T, L>(upper.slope, above_.slope, row_below_);
    } else {
      lower = Row(k, 1, limit);
    }
    V x = plane_.lo_y * upper.slope + plane_.hi_y * lower.slope, y = lower.sample - upper.sample;
    if (kInteger && tap_.integer_y) {
      const T* const row = plane_.from + k - shape_.width;
      const V before = MultiplyBits<T, L>(plane_.lo_x, Load<T, L>(row),
                                          limit & InsideAt(shape_, tap_, k, -1, 0)) +
                       MultiplyBits<T, L>(plane_.hi_x, Load<T, L>(row + 1),
                                          limit & InsideAt(shape_, tap_, k, -1, 1));
      y = Broadcast<T, L>(T(0.5)) * (lower.sample - before);
    }
    if (kShuffle && limit != ~0u) {
      x = KeepBits<T, L>(x, limit);
      y = KeepBits<T, L>(y, limit);
    }
    *run_x += g * x;
    *run_y += g * y;
  }

 private:
  // Of the row itself (u = 0) or the one below.
  SSPQ_INLINE FlatRow<T, L> Row(int64_t k, int u, uint32_t limit) const {
    const T* const row = plane_.from + k + u * shape_.width;
    const V a = Load<T, L>(row);
    const V b = KeepBits<T, L>(Load<T, L>(row + 1), limit & Inside(tap_.inside, k, 2 * u + 1));
    const uint32_t in_a = limit & Inside(tap_.inside, k, 2 * u);
    FlatRow<T, L> r = {MultiplyBits<T, L>(plane_.lo_x, a, in_a) + plane_.hi_x * b,
                       SubtractBits<T, L>(b, a, in_a)};
    if (kInteger && tap_.integer_x) {
      const uint32_t in_before = limit & InsideAt(shape_, tap_, k, u, -1);
      r.slope = Broadcast<T, L>(T(0.5)) * SubtractBits<T, L>(b, Load<T, L>(row - 1), in_before);
    }
    return r;
  }

  const FlatPlane<T, L> plane_;
  const FlatShape& shape_;
  const FlatTap<T> tap_;
  const Mask<T, L> row_below_;
  FlatRow<T, L> above_;
};

template <typename T, bool kInteger, bool kShuffle>
SSPQ_INLINE void AddFlatPlane(const FlatShape& s, const FlatTap<T>& t, const T* x, const T* gy,
                              double* sum_x, double* sum_y) {
  FlatTerms<T, MostLanes<T>(), kInteger, kShuffle> terms(s, t, x);
  AddFlat(s, gy, &terms, sum_x, sum_y);
}

template <typename T>
void ShiftGradientFlat(const FlatShape& s, const FlatTap<T>* taps, const T* x, const T* gy,
                       int64_t count, double* sum_x, double* sum_y) {
  constexpr int L = MostLanes<T>();
  constexpr bool kShuffles = ShufflesFast<T, L>();
  const int64_t size = s.height * s.width;
  auto add_one = [&](int64_t p) {
    const T *const from = x + p * size, *const g = gy + p * size;
    if (taps[p].integer_x || taps[p].integer_y) {
      AddFlatPlane<T, true, false>(s, taps[p], from, g, &sum_x[p], &sum_y[p]);
    } else if (kShuffles && s.width <= L) {
      AddFlatPlane<T, false, kShuffles>(s, taps[p], from, g, &sum_x[p], &sum_y[p]);
    } else {
      AddFlatPlane<T, false, false>(s, taps[p], from, g, &sum_x[p], &sum_y[p]);
    }
  };
  if (IsFlatRun<T>(s)) {
    switch ((size - 1) / L) {
      case 0:
        return AddFlatRuns<T, 1>(s, taps, x, gy, count, sum_x, sum_y, add_one);
      case 1:
        return AddFlatRuns<T, 2>(s, taps, x, gy, count, sum_x, sum_y, add_one);
      case 2:
        return AddFlatRuns<T, 3>(s, taps, x, gy, count, sum_x, sum_y, add_one);
      case 3:
        return AddFlatRuns<T, 4>(s, taps, x, gy, count, sum_x, sum_y, add_one);
    }
  }
  for (int64_t p = 0; p < count; ++p) add_one(p);
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_PLANAR_FLAT_H_

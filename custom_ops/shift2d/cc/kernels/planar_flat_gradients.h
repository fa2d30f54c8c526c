// The sums for the gradient to the shift over small NCHW planes at stride 1, as planar_flat.h maps
// these: alone, or in one pass with the gradient to x.
#ifndef SSPQ_SHIFT2D_PLANAR_FLAT_GRADIENTS_H_
#define SSPQ_SHIFT2D_PLANAR_FLAT_GRADIENTS_H_

#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/planar_flat_plane.h"
#include "custom_ops/shift2d/cc/kernels/planar_flat_rows.h"
#include "custom_ops/shift2d/cc/kernels/planar_flat_run.h"
#include "custom_ops/shift2d/cc/kernels/simd.h"
#include "custom_ops/shift2d/cc/kernels/simd_bits.h"
#include "custom_ops/shift2d/cc/kernels/simd_sums.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// What the rows of a plane themselves contribute: samples along W and their slopes.
template <typename T, int L>
struct FlatRow {
  Vec<T, L> sample, slope;
};

// Of pixels from `row` on; bits tell whether they and their right neighbours are inside.
template <typename T, int L>
SSPQ_INLINE FlatRow<T, L> ReadFlat(const FlatPlane<T, L>& plane, const T* row, uint32_t in_a,
                                   uint32_t in_b) {
  const Vec<T, L> a = Load<T, L>(row), b = KeepBits<T, L>(Load<T, L>(row + 1), in_b);
  return {MultiplyBits<T, L>(plane.lo_x, a, in_a) + plane.hi_x * b, SubtractBits<T, L>(b, a, in_a)};
}

// Adds the sums of one plane. terms->Add(k, limit, v, run_x, run_y) adds those of the pixels from k
// on whose bits are in `limit`; v are their values, of `values`.
template <typename T, typename Terms>
SSPQ_INLINE void AddFlat(const FlatShape& s, const T* values, Terms* terms, double* total_x,
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
      Unrolled<kParts>::Run([&](int part) __attribute__((always_inline)) {
        const int64_t at = k + part * L;
        terms->Add(at, ~0u, Load<T, L>(values + at), &run_x[part], &run_y[part]);
      });
    }
    Unrolled<kParts>::Run([&](int part) __attribute__((always_inline)) {
      const int64_t at = k + part * L;
      if (at >= end) return;
      // Beyond the plane, what is read must not matter, whatever it is.
      const uint32_t limit = end - at < L ? (1u << (end - at)) - 1 : ~0u;
      terms->Add(at, limit, KeepBits<T, L>(Load<T, L>(values + at), limit), &run_x[part],
                 &run_y[part]);
    });
    Unrolled<kParts>::Run([&](int part) __attribute__((always_inline)) {
      sum_x[part].Add(run_x[part]);
      sum_y[part].Add(run_y[part]);
    });
  }
  *total_x += Fold(sum_x);
  *total_y += Fold(sum_y);
}

// ---- the gradient to the shift alone

// The terms of one plane, from x, for values of gy.
template <typename T, int L>
class FlatTerms {
 public:
  typedef Vec<T, L> V;

  SSPQ_INLINE FlatTerms(const FlatShape& s, const FlatTap<T>& t, const T* x)
      : plane_(s, t, x), shape_(s), tap_(t) {}

  SSPQ_INLINE void Add(int64_t k, uint32_t limit, V g, V* run_x, V* run_y) {
    const FlatRow<T, L> upper = Row(k, 0, limit), lower = Row(k, 1, limit);
    V y = lower.sample - upper.sample;
    if (tap_.integer_y) {
      const T* const row = plane_.from + k - shape_.width;
      const V before = MultiplyBits<T, L>(plane_.lo_x, Load<T, L>(row),
                                          limit & InsideAt(shape_, tap_, k, -1, 0)) +
                       MultiplyBits<T, L>(plane_.hi_x, Load<T, L>(row + 1),
                                          limit & InsideAt(shape_, tap_, k, -1, 1));
      y = Broadcast<T, L>(T(0.5)) * (lower.sample - before);
    }
    *run_x += g * (plane_.lo_y * upper.slope + plane_.hi_y * lower.slope);
    *run_y += g * y;
  }

 private:
  // Of the row itself (u = 0) or the one below.
  SSPQ_INLINE FlatRow<T, L> Row(int64_t k, int u, uint32_t limit) const {
    const T* const row = plane_.from + k + u * shape_.width;
    FlatRow<T, L> r = ReadFlat<T, L>(plane_, row, limit & Inside(tap_.inside, k, 2 * u),
                                     limit & Inside(tap_.inside, k, 2 * u + 1));
    if (tap_.integer_x) {
      const V b = KeepBits<T, L>(Load<T, L>(row + 1), limit & Inside(tap_.inside, k, 2 * u + 1));
      const uint32_t in_before = limit & InsideAt(shape_, tap_, k, u, -1);
      r.slope = Broadcast<T, L>(T(0.5)) * SubtractBits<T, L>(b, Load<T, L>(row - 1), in_before);
    }
    return r;
  }

  const FlatPlane<T, L> plane_;
  const FlatShape& shape_;
  const FlatTap<T> tap_;
};

template <typename T>
void ShiftGradientFlat(const FlatShape& s, const FlatTap<T>* taps, const T* x, const T* gy,
                       int64_t count, double* sum_x, double* sum_y) {
  const int64_t size = s.height * s.width;
  for (int64_t p = 0; p < count; ++p) {
    FlatTerms<T, MostLanes<T>()> terms(s, taps[p], x + p * size);
    AddFlat(s, gy + p * size, &terms, &sum_x[p], &sum_y[p]);
  }
}

// ---- both gradients, where no shift is an integer; taps are those of the adjoint map

// What both gradients make of two rows; `limit` as for AddFlat.
template <typename T, int L>
class FlatGradients {
 public:
  typedef Vec<T, L> V;

  // `left` values from gx on may be written, as for StoreFlat.
  SSPQ_INLINE FlatGradients(const FlatTap<T>& t, T* gx, int64_t left)
      : lo_y_(Broadcast<T, L>(t.lo_y)), hi_y_(Broadcast<T, L>(t.hi_y)), gx_(gx), left_(left) {}

  SSPQ_INLINE void Add(int64_t k, uint32_t limit, V v, const FlatRow<T, L>& upper,
                       const FlatRow<T, L>& lower, V* run_x, V* run_y) const {
    Prefetch(gx_ + k, kWriteAhead);
    const V value = lo_y_ * upper.sample + hi_y_ * lower.sample;
    V term_x = v * (lo_y_ * upper.slope + hi_y_ * lower.slope);
    V term_y = v * (lower.sample - upper.sample);
    if (limit == ~0u) {
      Store<T, L>(gx_ + k, value);
    } else {
      StoreFlat<T, L>(gx_ + k, value, left_ - k);
      term_x = KeepBits<T, L>(term_x, limit);
      term_y = KeepBits<T, L>(term_y, limit);
    }
    *run_x -= term_x;
    *run_y -= term_y;
  }

 private:
  const V lo_y_, hi_y_;
  T* const gx_;
  const int64_t left_;
};

// Of one plane. `kShuffle`, for rows of at most L pixels, as a span of 1 above; else rows are read
// once more as those below.
template <typename T, int L, bool kShuffle>
class FlatBackward {
 public:
  typedef Vec<T, L> V;

  SSPQ_INLINE FlatBackward(const FlatShape& s, const FlatTap<T>& t, const T* gy, T* gx)
      : plane_(s, t, gy),
        gradients_(t, gx, s.height * s.width),
        inside_(t.inside),
        width_(s.width),
        row_below_(LanesAfter<T, L>(s.width)) {
    if (kShuffle) above_ = Row(0, 0);
  }

  SSPQ_INLINE void Add(int64_t k, uint32_t limit, V v, V* run_x, V* run_y) {
    const FlatRow<T, L> upper = kShuffle ? above_ : Row(k, 0);
    FlatRow<T, L> lower = Row(k + (kShuffle ? L : 0), kShuffle ? 0 : 1);
    if (kShuffle) {
      above_ = lower;
      lower.sample = Shuffle<T, L>(upper.sample, above_.sample, row_below_);
      lower.slope = Shuffle<T, L>(upper.slope, above_.slope, row_below_);
    }
    gradients_.Add(k, limit, v, upper, lower, run_x, run_y);
  }

 private:
  SSPQ_INLINE FlatRow<T, L> Row(int64_t k, int u) const {
    return ReadFlat<T, L>(plane_, plane_.from + k + u * width_, Inside(inside_, k, 2 * u),
                          Inside(inside_, k, 2 * u + 1));
  }

  const FlatPlane<T, L> plane_;
  const FlatGradients<T, L> gradients_;
  const uint16_t* const inside_;
  const int64_t width_;
  const Mask<T, L> row_below_;
  FlatRow<T, L> above_;
};

// Of one plane, from what FlatRows holds.
template <typename T, int L>
class FlatRowsBackward {
 public:
  typedef Vec<T, L> V;

  SSPQ_INLINE FlatRowsBackward(const FlatGradients<T, L>& gradients, const T* samples,
                               const T* slopes, int64_t width)
      : gradients_(gradients), samples_(samples), slopes_(slopes), width_(width) {}

  SSPQ_INLINE void Add(int64_t k, uint32_t limit, V v, V* run_x, V* run_y) const {
    gradients_.Add(k, limit, v, Row(k), Row(k + width_), run_x, run_y);
  }

 private:
  SSPQ_INLINE FlatRow<T, L> Row(int64_t k) const {
    return {Load<T, L>(samples_ + k), Load<T, L>(slopes_ + k)};
  }

  const FlatGradients<T, L> gradients_;
  const T *const samples_, *const slopes_;
  const int64_t width_;
};

template <typename T, bool kShuffle>
SSPQ_INLINE void BackwardFlatPlane(const FlatShape& s, const FlatTap<T>& t, const T* gy, const T* x,
                                   T* gx, double* sum_x, double* sum_y) {
  FlatBackward<T, MostLanes<T>(), kShuffle> terms(s, t, gy, gx);
  AddFlat(s, x, &terms, sum_x, sum_y);
}

template <typename T>
void BackwardFlat(const FlatShape& s, const FlatTap<T>* taps, const T* gy, const T* x, T* gx,
                  int64_t count, double* sum_x, double* sum_y) {
  constexpr int L = MostLanes<T>();
  constexpr bool kShuffles = ShufflesFast<T, L>();
  const int64_t size = s.height * s.width;
  if (!kShuffles) {
    return ForEachFlat<true>(
        s, taps, gy,
        count, [&](const FlatRows<T, true>& rows, int n, int64_t p) __attribute__((always_inline)) {
          const FlatGradients<T, L> gradients(taps[p], gx + p * size, (count - p) * size);
          FlatRowsBackward<T, L> terms(gradients, rows.samples(n), rows.slopes(n), s.width);
          AddFlat(s, x + p * size, &terms, &sum_x[p], &sum_y[p]);
        });
  }
  auto one = [&](int64_t p) {
    const int64_t at = p * size;
    if (s.width <= L) {
      BackwardFlatPlane<T, kShuffles>(s, taps[p], gy + at, x + at, gx + at, &sum_x[p], &sum_y[p]);
    } else {
      BackwardFlatPlane<T, false>(s, taps[p], gy + at, x + at, gx + at, &sum_x[p], &sum_y[p]);
    }
  };
  if (IsFlatRun<T>(s)) {
    switch ((size - 1) / L) {
      case 0:
        return BackwardFlatRuns<T, 1>(s, taps, gy, x, gx, count, sum_x, sum_y, one);
      case 1:
        return BackwardFlatRuns<T, 2>(s, taps, gy, x, gx, count, sum_x, sum_y, one);
      case 2:
        return BackwardFlatRuns<T, 3>(s, taps, gy, x, gx, count, sum_x, sum_y, one);
      case 3:
        return BackwardFlatRuns<T, 4>(s, taps, gy, x, gx, count, sum_x, sum_y, one);
    }
  }
  for (int64_t p = 0; p < count; ++p) one(p);
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_PLANAR_FLAT_GRADIENTS_H_

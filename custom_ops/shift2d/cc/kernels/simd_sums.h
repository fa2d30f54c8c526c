// Vectors of float64 sums, and the sum of their lanes.
#ifndef SSPQ_SHIFT2D_SIMD_SUMS_H_
#define SSPQ_SHIFT2D_SIMD_SUMS_H_

#include "custom_ops/shift2d/cc/kernels/simd.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// L float64 sums, to which values of type T are added lane by lane.
template <typename T, int L>
struct Sums {
  static constexpr int kWide = kVectorBytes / 8;
  static constexpr int kLanes = L < kWide ? L : kWide;
  static constexpr int kParts = L / kLanes;
  typedef Vec<double, kLanes> Part;

  Part part[kParts];

  SSPQ_INLINE void Load(const double* from) {
    for (int k = 0; k < kParts; ++k) {
      part[k] = SSPQ_CPU_VERSION::Load<double, kLanes>(from + k * kLanes);
    }
  }
  SSPQ_INLINE void Store(double* to) const {
    for (int k = 0; k < kParts; ++k) {
      SSPQ_CPU_VERSION::Store<double, kLanes>(to + k * kLanes, part[k]);
    }
  }
  SSPQ_INLINE void Add(Vec<T, L> v) { Add(v, T()); }

 private:
  template <typename V>
  SSPQ_INLINE void Add(V v, double) {
    part[0] += v;
  }

  template <typename V>
  SSPQ_INLINE void Add(V v, float) {
#if defined(__AVX512F__)
    if (L == 16) {
      const __m512 all = Resize<__m512>(v);
      AddPart(0, _mm512_cvtps_pd(_mm512_castps512_ps256(all)));
      AddPart(kParts - 1, _mm512_cvtps_pd(_mm512_extractf32x8_ps(all, 1)));
      return;
    }
    if (L == 8) return AddPart(0, _mm512_cvtps_pd(Resize<__m256>(v)));
    if (L == 4) return AddPart(0, _mm256_cvtps_pd(Resize<__m128>(v)));
#elif defined(__AVX2__)
    if (L == 8) {
      const __m256 all = Resize<__m256>(v);
      AddPart(0, _mm256_cvtps_pd(_mm256_castps256_ps128(all)));
      AddPart(kParts - 1, _mm256_cvtps_pd(_mm256_extractf128_ps(all, 1)));
      return;
    }
    if (L == 4) return AddPart(0, _mm256_cvtps_pd(Resize<__m128>(v)));
#elif defined(__SSE2__)
    if (L == 4) {
      const __m128 all = Resize<__m128>(v);
      AddPart(0, _mm_cvtps_pd(all));
      AddPart(kParts - 1, _mm_cvtps_pd(_mm_movehl_ps(all, all)));
      return;
    }
#endif
    for (int k = 0; k < L; ++k) part[k / kLanes][k % kLanes] += static_cast<double>(v[k]);
  }

  template <typename From>
  SSPQ_INLINE void AddPart(int k, From v) {
    part[k] += Resize<Part>(v);
  }
};

// The sums of a block's two terms, to which runs of up to kSumRun of them are added: see kSumRun.
template <typename T, int L>
class RunSums {
 public:
  SSPQ_INLINE RunSums(double* sums_x, double* sums_y) : to_x_(sums_x), to_y_(sums_y) {
    sum_x_.Load(sums_x);
    sum_y_.Load(sums_y);
  }
  SSPQ_INLINE void EndRun() {
    sum_x_.Add(x);
    sum_y_.Add(y);
    x = y = Vec<T, L>{};
  }
  SSPQ_INLINE void Store() const {
    sum_x_.Store(to_x_);
    sum_y_.Store(to_y_);
  }

  Vec<T, L> x = {}, y = {};  // of the run so far

 private:
  Sums<T, L> sum_x_, sum_y_;
  double *const to_x_, *const to_y_;
};

// The sum of all lanes: its upper half is added to its lower half until one is left.
template <int L>
SSPQ_INLINE double Fold(Vec<double, L> v) {
  const Vec<double, L> upper = Shuffle<double, L>(v, v, Count<double, L>() + L / 2);
  return Fold<L / 2>(Resize<Vec<double, L / 2>>(v + upper));
}
template <>
SSPQ_INLINE double Fold<1>(Vec<double, 1> v) {
  return v[0];
}

// The same for the lanes of N sums in a row.
template <typename T, int L, int N>
SSPQ_INLINE double Fold(const Sums<T, L> (&sums)[N]) {
  constexpr int kLanes = Sums<T, L>::kLanes, kEach = Sums<T, L>::kParts;
  Vec<double, kLanes> part[N * kEach];
  for (int k = 0; k < N * kEach; ++k) part[k] = sums[k / kEach].part[k % kEach];
  for (int half = N * kEach / 2; half > 0; half /= 2) {
    for (int k = 0; k < half; ++k) part[k] += part[k + half];
  }
  return Fold<kLanes>(part[0]);
}

// L values from memory: there, the conversion needs no shuffle.
template <int L>
SSPQ_INLINE Vec<double, L> Widen(const double* p) {
  return Load<double, L>(p);
}
template <int L>
SSPQ_INLINE Vec<double, L> Widen(const float* p) {
#if defined(__AVX512F__)
  if (L == 8) return Resize<Vec<double, L>>(_mm512_cvtps_pd(_mm256_loadu_ps(p)));
#endif
  Vec<double, L> v;
  for (int k = 0; k < L; ++k) v[k] = p[k];
  return v;
}

// Fold() of L times N values, at once: halves of two vectors share the additions.
template <int N, int L, typename T>
SSPQ_INLINE Vec<double, L> FoldEach(const T* values) {
  static_assert(N == L || N == 2 * L, "one or two vectors each");
  Vec<double, L> part[L];
  for (int k = 0; k < L; ++k, values += N) {
    part[k] = Widen<L>(values);
    if (N > L) part[k] += Widen<L>(values + N - L);
  }
  const Mask<double, L> lane = Count<double, L>();
  for (int half = L / 2; half > 0; half /= 2) {
    const Mask<double, L> lower = (lane & (half - 1)) + 2 * (lane & -half);
    for (int k = 0; k < half; ++k) {
      part[k] = Shuffle<double, L>(part[2 * k], part[2 * k + 1], lower) +
                Shuffle<double, L>(part[2 * k], part[2 * k + 1], lower + half);
    }
  }
  return part[0];
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_SIMD_SUMS_H_

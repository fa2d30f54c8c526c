// Vectors of float32 of the compiler's own kind (GCC's vector extension), for the files that are
// compiled once per instruction set. Everything is in the namespace SSPQ_CPU_VERSION of the
// including file, so that no two versions share a function. Names are those of Highway.
#ifndef SSPQ_CPU_VECTORS_H_
#define SSPQ_CPU_VECTORS_H_

#ifndef SSPQ_CPU_VERSION
#error "define SSPQ_CPU_VERSION before including this file"
#endif

#if defined(__x86_64__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12's own headers
#include <immintrin.h>
#pragma GCC diagnostic pop
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include <cstdint>

#ifndef SSPQ_INLINE  // tests compile with less: it takes a third of a sanitizer's time
#define SSPQ_INLINE inline __attribute__((always_inline))
#endif

namespace sspq {
namespace SSPQ_CPU_VERSION {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

// V: kLanes values. M: a mask, all bits of a lane or none. D: half as many float64. In memory they
// begin at any address.
typedef float V __attribute__((vector_size(4 * kLanes)));
typedef int32_t M __attribute__((vector_size(4 * kLanes)));
typedef double D __attribute__((vector_size(4 * kLanes)));
typedef float UnalignedV __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
typedef int32_t UnalignedM __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
typedef double UnalignedD __attribute__((vector_size(4 * kLanes), aligned(8), may_alias));

SSPQ_INLINE V Load(const float* p) { return *reinterpret_cast<const UnalignedV*>(p); }
SSPQ_INLINE M Load(const int32_t* p) { return *reinterpret_cast<const UnalignedM*>(p); }
SSPQ_INLINE D Load(const double* p) { return *reinterpret_cast<const UnalignedD*>(p); }
SSPQ_INLINE void Store(V v, float* p) { *reinterpret_cast<UnalignedV*>(p) = v; }
SSPQ_INLINE void Store(D v, double* p) { *reinterpret_cast<UnalignedD*>(p) = v; }

SSPQ_INLINE V Set(float value) {
#if defined(__AVX512F__)
  return (V)_mm512_set1_ps(value);
#elif defined(__AVX2__)
  return (V)_mm256_set1_ps(value);
#else
  return V{value, value, value, value};
#endif
}

// a * b + c, rounded once where the instruction set can: not by SSE2.
SSPQ_INLINE V MulAdd(V a, V b, V c) {
#if defined(__AVX512F__)
  return (V)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
  return (V)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
  return (V)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}

// The lanes of `yes` where the mask is set, those of `no` elsewhere.
SSPQ_INLINE V IfThenElse(M mask, V yes, V no) {
#if defined(__AVX512F__)
  return (V)_mm512_mask_mov_ps((__m512)no, _mm512_movepi32_mask((__m512i)mask), (__m512)yes);
#elif defined(__AVX2__)
  return (V)_mm256_blendv_ps((__m256)no, (__m256)yes, (__m256)mask);
#else
  return (V)(((M)yes & mask) | ((M)no & ~mask));
#endif
}

// The lower and the upper half, as float64.
SSPQ_INLINE D PromoteLower(V v) {
#if defined(__AVX512F__)
  return (D)_mm512_cvtps_pd(_mm512_castps512_ps256((__m512)v));
#elif defined(__AVX2__)
  return (D)_mm256_cvtps_pd(_mm256_castps256_ps128((__m256)v));
#elif defined(__SSE2__)
  return (D)_mm_cvtps_pd((__m128)v);
#else
  D d;
  for (int k = 0; k < kLanes / 2; ++k) d[k] = v[k];
  return d;
#endif
}
SSPQ_INLINE D PromoteUpper(V v) {
#if defined(__AVX512F__)
  return (D)_mm512_cvtps_pd(_mm512_extractf32x8_ps((__m512)v, 1));
#elif defined(__AVX2__)
  return (D)_mm256_cvtps_pd(_mm256_extractf128_ps((__m256)v, 1));
#elif defined(__SSE2__)
  return (D)_mm_cvtps_pd(_mm_movehl_ps((__m128)v, (__m128)v));
#else
  D d;
  for (int k = 0; k < kLanes / 2; ++k) d[k] = v[kLanes / 2 + k];
  return d;
#endif
}

// Asks for the cache line at p to be brought into the second cache.
SSPQ_INLINE void Prefetch(const float* p) { __builtin_prefetch(p, 0, 2); }

// Calls body(0) to body(N - 1), each with a number that the compiler knows, so that vectors in
// small arrays stay in registers. Compilers differ in the pragmas for that.
template <int N>
struct Unrolled {
  template <typename Body>
  static SSPQ_INLINE void Run(const Body& body) {
    Unrolled<N - 1>::Run(body);
    body(N - 1);
  }
};
template <>
struct Unrolled<0> {
  template <typename Body>
  static SSPQ_INLINE void Run(const Body&) {}
};

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_CPU_VECTORS_H_

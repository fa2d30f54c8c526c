// Vectors of which bits choose the lanes, the lowest bit lane 0: AVX-512 has instructions for it.
#ifndef SSPQ_SHIFT2D_SIMD_BITS_H_
#define SSPQ_SHIFT2D_SIMD_BITS_H_

#include "custom_ops/shift2d/cc/kernels/simd.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// Bits as a mask.
template <typename T, int L>
SSPQ_INLINE Mask<T, L> BitMask(uint32_t bits) {
  typedef typename Lanes<T, L>::I I;
  const Mask<T, L> own = (Mask<T, L>{} + 1) << Count<T, L>();
  return (own & static_cast<I>(bits)) != 0;
}

// The lanes whose bit is set, zero elsewhere.
template <typename T, int L>
SSPQ_INLINE Vec<T, L> KeepBits(Vec<T, L> v, uint32_t bits) {
#if defined(__AVX512F__)
  typedef Vec<T, L> V;
  if (L * sizeof(T) == 64 && sizeof(T) == 4) {
    return Resize<V>(_mm512_maskz_mov_ps(static_cast<__mmask16>(bits), Resize<__m512>(v)));
  }
  if (L * sizeof(T) == 64 && sizeof(T) == 8) {
    return Resize<V>(_mm512_maskz_mov_pd(static_cast<__mmask8>(bits), Resize<__m512d>(v)));
  }
#endif
  return Keep<T, L>(v, BitMask<T, L>(bits));
}

// a * b in the lanes whose bit is set, zero elsewhere.
template <typename T, int L>
SSPQ_INLINE Vec<T, L> MultiplyBits(Vec<T, L> a, Vec<T, L> b, uint32_t bits) {
#if defined(__AVX512F__)
  typedef Vec<T, L> V;
  if (L * sizeof(T) == 64 && sizeof(T) == 4) {
    return Resize<V>(
        _mm512_maskz_mul_ps(static_cast<__mmask16>(bits), Resize<__m512>(a), Resize<__m512>(b)));
  }
  if (L * sizeof(T) == 64 && sizeof(T) == 8) {
    return Resize<V>(
        _mm512_maskz_mul_pd(static_cast<__mmask8>(bits), Resize<__m512d>(a), Resize<__m512d>(b)));
  }
#endif
  return KeepBits<T, L>(a * b, bits);
}

// `yes` in the lanes whose bit is set, `no` elsewhere.
template <typename T, int L>
SSPQ_INLINE Vec<T, L> SelectBits(Vec<T, L> no, Vec<T, L> yes, uint32_t bits) {
#if defined(__AVX512F__)
  typedef Vec<T, L> V;
  if (L * sizeof(T) == 64 && sizeof(T) == 4) {
    return Resize<V>(
        _mm512_mask_mov_ps(Resize<__m512>(no), static_cast<__mmask16>(bits), Resize<__m512>(yes)));
  }
  if (L * sizeof(T) == 64 && sizeof(T) == 8) {
    return Resize<V>(
        _mm512_mask_mov_pd(Resize<__m512d>(no), static_cast<__mmask8>(bits), Resize<__m512d>(yes)));
  }
#endif
  return Either<T, L>(BitMask<T, L>(bits), yes, no);
}

// a - b in the lanes whose bit is set, a elsewhere.
template <typename T, int L>
SSPQ_INLINE Vec<T, L> SubtractBits(Vec<T, L> a, Vec<T, L> b, uint32_t bits) {
#if defined(__AVX512F__)
  typedef Vec<T, L> V;
  if (L * sizeof(T) == 64 && sizeof(T) == 4) {
    return Resize<V>(_mm512_mask_sub_ps(Resize<__m512>(a), static_cast<__mmask16>(bits),
                                        Resize<__m512>(a), Resize<__m512>(b)));
  }
  if (L * sizeof(T) == 64 && sizeof(T) == 8) {
    return Resize<V>(_mm512_mask_sub_pd(Resize<__m512d>(a), static_cast<__mmask8>(bits),
                                        Resize<__m512d>(a), Resize<__m512d>(b)));
  }
#endif
  return a - KeepBits<T, L>(b, bits);
}

// The first `count` lanes.
template <typename T, int L>
SSPQ_INLINE void StoreFirst(T* p, Vec<T, L> v, int count) {
#if defined(__AVX512F__)
  const uint32_t bits = (1u << count) - 1;
  if (L * sizeof(T) == 64 && sizeof(T) == 4) {
    return _mm512_mask_storeu_ps(p, static_cast<__mmask16>(bits), Resize<__m512>(v));
  }
  if (L * sizeof(T) == 64 && sizeof(T) == 8) {
    return _mm512_mask_storeu_pd(p, static_cast<__mmask8>(bits), Resize<__m512d>(v));
  }
  if (L * sizeof(T) == 32 && sizeof(T) == 4) {
    return _mm256_mask_storeu_ps(p, static_cast<__mmask8>(bits), Resize<__m256>(v));
  }
#endif
  for (int k = 0; k < count; ++k) p[k] = v[k];
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_SIMD_BITS_H_

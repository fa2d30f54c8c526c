// Vectors of the compiler's own kind (GCC's vector extension), for the files that are compiled once
// per instruction set. Everything is in the namespace SSPQ_CPU_VERSION of the including file, so
// that no two versions share a function.
#ifndef SSPQ_SHIFT2D_SIMD_H_
#define SSPQ_SHIFT2D_SIMD_H_

#ifndef SSPQ_CPU_VERSION
#error "define SSPQ_CPU_VERSION before including this file"
#endif

#if defined(__x86_64__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12's own headers
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

#include <cstdint>

#ifndef SSPQ_INLINE  // tests compile with less: it takes a third of a sanitizer's time
#define SSPQ_INLINE inline __attribute__((always_inline))
#endif

namespace sspq {
namespace SSPQ_CPU_VERSION {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

// V: L values. M: as many integers of the same size, for masks (all bits or none) and indices.
// U: V at any address.
template <typename T, int L>
struct Lanes;

#define SSPQ_LANES(Type, Int, L)                                                                   \
  template <>                                                                                      \
  struct Lanes<Type, L> {                                                                          \
    typedef Int I;                                                                                 \
    typedef Type V __attribute__((vector_size(sizeof(Type) * L)));                                 \
    typedef Int M __attribute__((vector_size(sizeof(Int) * L)));                                   \
    typedef Type U                                                                                 \
        __attribute__((vector_size(sizeof(Type) * L), aligned(sizeof(Type)), may_alias));          \
    typedef Int UM __attribute__((vector_size(sizeof(Int) * L), aligned(sizeof(Int)), may_alias)); \
  }
SSPQ_LANES(float, int32_t, 1);
SSPQ_LANES(float, int32_t, 4);
SSPQ_LANES(float, int32_t, 8);
SSPQ_LANES(float, int32_t, 16);
SSPQ_LANES(double, int64_t, 1);
SSPQ_LANES(double, int64_t, 2);
SSPQ_LANES(double, int64_t, 4);
SSPQ_LANES(double, int64_t, 8);
#undef SSPQ_LANES

template <typename T, int L>
using Vec = typename Lanes<T, L>::V;
template <typename T, int L>
using Mask = typename Lanes<T, L>::M;

template <typename T>
constexpr int MostLanes() {
  return kVectorBytes / static_cast<int>(sizeof(T));
}

// The next narrower width that is used. Half of the narrowest vector does not pay for float32.
template <typename T>
constexpr int Narrower(int lanes) {
  return lanes > 4 ? lanes / 2 : lanes == 4 && sizeof(T) == 8 ? 2 : 1;
}

// The same for blocks of channels, whose number is mostly a multiple of the widest.
template <typename T>
constexpr int NarrowerBlock(int lanes) {
  return lanes > 4 ? (sizeof(T) == 8 ? 2 : 4) : 1;
}

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

// Calls body.Run<L>(block, channel) for all blocks from channel c on.
template <typename T, typename Body>
SSPQ_INLINE void ForEachBlock(int64_t channels, const Body& body, int64_t c = 0) {
  constexpr int kWide = MostLanes<T>(), kNarrow = NarrowerBlock<T>(kWide);
  int64_t b = 0;
  for (; c + kWide <= channels; c += kWide, ++b) body.template Run<kWide>(b, c);
  for (; kNarrow > 1 && c + kNarrow <= channels; c += kNarrow, ++b) {
    body.template Run<kNarrow>(b, c);
  }
  for (; c < channels; ++c, ++b) body.template Run<1>(b, c);
}

template <typename T, int L>
SSPQ_INLINE Vec<T, L> Load(const T* p) {
  return *reinterpret_cast<const typename Lanes<T, L>::U*>(p);
}

template <typename T, int L>
SSPQ_INLINE Mask<T, L> LoadMask(const void* p) {
  return *reinterpret_cast<const typename Lanes<T, L>::UM*>(p);
}

template <typename T, int L>
SSPQ_INLINE void Store(T* p, Vec<T, L> v) {
  *reinterpret_cast<typename Lanes<T, L>::U*>(p) = v;
}

template <typename T, int L>
SSPQ_INLINE Vec<T, L> Broadcast(T value) {
  return value - Vec<T, L>{};  // not `+`, which would make -0 a 0 and cost an addition
}

template <typename T, int L>
SSPQ_INLINE Mask<T, L> Count() {  // 0, 1, 2, ...
  Mask<T, L> m = {};
  for (int k = 0; k < L; ++k) m[k] = k;
  return m;
}

// Asks for what lies `bytes` beyond p to be brought into the second cache.
template <typename T>
SSPQ_INLINE void Prefetch(const T* p, int64_t bytes) {
  __builtin_prefetch(reinterpret_cast<const char*>(p) + bytes, 0, 2);
}

// Maps of small planes ask for what they will write, this many bytes ahead: the processor's own
// prefetching follows what they read.
constexpr int kWriteAhead = 2048;

// The values where the mask is set, zero elsewhere, whatever is there: a NaN too.
template <typename T, int L>
SSPQ_INLINE Vec<T, L> Keep(Vec<T, L> v, Mask<T, L> m) {
  return (Vec<T, L>)((Mask<T, L>)v & m);
}

template <typename T, int L>
SSPQ_INLINE Vec<T, L> Either(Mask<T, L> m, Vec<T, L> yes, Vec<T, L> no) {
  return (Vec<T, L>)(((Mask<T, L>)yes & m) | ((Mask<T, L>)no & ~m));
}

// Bits as another type of vector, of which only as much as both have matters.
template <typename To, typename From>
SSPQ_INLINE To Resize(From v) {
  To to = {};
  __builtin_memcpy(&to, &v, sizeof(to) < sizeof(v) ? sizeof(to) : sizeof(v));
  return to;
}

// v, with the lanes where the mask is set taken from `with`.
template <typename T, int L>
SSPQ_INLINE Vec<T, L> Replace(Vec<T, L> v, Mask<T, L> m, Vec<T, L> with) {
#if defined(__AVX512F__)
  typedef Vec<T, L> V;
  if (L * sizeof(T) == 64 && sizeof(T) == 4) {
    return Resize<V>(_mm512_mask_mov_ps(Resize<__m512>(v), _mm512_movepi32_mask(Resize<__m512i>(m)),
                                        Resize<__m512>(with)));
  }
  if (L * sizeof(T) == 64 && sizeof(T) == 8) {
    return Resize<V>(_mm512_mask_mov_pd(
        Resize<__m512d>(v), _mm512_movepi64_mask(Resize<__m512i>(m)), Resize<__m512d>(with)));
  }
#elif defined(__AVX2__)
  typedef Vec<T, L> V;
  if (L * sizeof(T) == 32 && sizeof(T) == 4) {
    return Resize<V>(_mm256_blendv_ps(Resize<__m256>(v), Resize<__m256>(with), Resize<__m256>(m)));
  }
  if (L * sizeof(T) == 32 && sizeof(T) == 8) {
    return Resize<V>(
        _mm256_blendv_pd(Resize<__m256d>(v), Resize<__m256d>(with), Resize<__m256d>(m)));
  }
#endif
  return Either<T, L>(m, with, v);
}

// Lane k of the result is lane index[k] of a and b in a row.
template <typename T, int L>
SSPQ_INLINE Vec<T, L> Shuffle(Vec<T, L> a, Vec<T, L> b, Mask<T, L> index) {
#if defined(__clang__)
  Vec<T, L> v;
  for (int k = 0; k < L; ++k) v[k] = index[k] < L ? a[index[k]] : b[index[k] - L];
  return v;
#else
  return __builtin_shuffle(a, b, index);
#endif
}

// Whether Shuffle() is an instruction for any index.
template <typename T, int L>
constexpr bool ShufflesFast() {
#if defined(__AVX512F__)
  return L * sizeof(T) == 64;
#else
  return false;
#endif
}

// p[index] where the mask is set, zero elsewhere, where nothing is read.
template <typename T, int L>
SSPQ_INLINE Vec<T, L> Gather(const T* p, Mask<T, L> index, Mask<T, L> m) {
  typedef Vec<T, L> V;
#if defined(__AVX512F__)
  if (L * sizeof(T) == 64 && sizeof(T) == 4) {
    const __mmask16 lanes = _mm512_movepi32_mask(Resize<__m512i>(m));
    return Resize<V>(
        _mm512_mask_i32gather_ps(_mm512_setzero_ps(), lanes, Resize<__m512i>(index), p, 4));
  }
  if (L * sizeof(T) == 64 && sizeof(T) == 8) {
    const __mmask8 lanes = _mm512_movepi64_mask(Resize<__m512i>(m));
    return Resize<V>(
        _mm512_mask_i64gather_pd(_mm512_setzero_pd(), lanes, Resize<__m512i>(index), p, 8));
  }
#endif
#if defined(__AVX2__)
  if (L * sizeof(T) == 32 && sizeof(T) == 4) {
    return Resize<V>(_mm256_mask_i32gather_ps(_mm256_setzero_ps(),
                                              reinterpret_cast<const float*>(p),
                                              Resize<__m256i>(index), Resize<__m256>(m), 4));
  }
  if (L * sizeof(T) == 32 && sizeof(T) == 8) {
    return Resize<V>(_mm256_mask_i64gather_pd(_mm256_setzero_pd(),
                                              reinterpret_cast<const double*>(p),
                                              Resize<__m256i>(index), Resize<__m256d>(m), 8));
  }
#endif
  V v = {};
  for (int k = 0; k < L; ++k) v[k] = m[k] ? p[index[k]] : T(0);
  return v;
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_SIMD_H_

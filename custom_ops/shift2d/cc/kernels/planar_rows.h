// What one row of an NCHW plane gives to a strip of as many columns as a vector holds: sampled
// along W, or spread along W for the adjoint of a stride.
#ifndef SSPQ_SHIFT2D_PLANAR_ROWS_H_
#define SSPQ_SHIFT2D_PLANAR_ROWS_H_

#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/simd.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// Whether no output lies on the image, counting taps from `first` on.
template <typename T>
SSPQ_INLINE bool OutOfReach(const AxisTap<T>& tap, int first) {
  for (int t = first; t < 3; ++t) {
    if (tap.begin[t] < tap.end[t]) return false;
  }
  return true;
}

// All there is to know of one axis of one channel.
template <typename T>
struct AxisMap : AxisShape, AxisTap<T> {
  SSPQ_INLINE AxisMap(const AxisShape& shape, const AxisTap<T>& tap)
      : AxisShape(shape), AxisTap<T>(tap) {}
};

// Asks for what the planes to come will read or write, as far ahead as memory is slow: strips leave
// gaps between the rows that the processor's own prefetching does not see through.
SSPQ_INLINE int64_t PrefetchDistance(int64_t plane_bytes) {
  return plane_bytes < 4096 ? 4096 : plane_bytes;
}

template <typename T>
SSPQ_INLINE void Fill(T* out, int64_t size, T value) {
  for (int64_t k = 0; k < size; ++k) out[k] = value;
}

// Output rows [begin, end) of the adjoint at a stride of 2 or more, in groups that have one input
// row to take: take(r), or skip() where there is none, and then lower(), upper() or none() for
// every output row, as it has the lower tap of that row, the upper one, or neither.
template <typename T, typename Take, typename Skip, typename Lower, typename Upper, typename None>
SSPQ_INLINE void ForEachExpanded(const AxisShape& v, const AxisTap<T>& tap, int64_t begin,
                                 int64_t end, const Take& take, const Skip& skip,
                                 const Lower& lower, const Upper& upper, const None& none) {
  int64_t from = tap.first, phase = tap.phase + begin;
  if (phase >= v.stride) {  // a division takes as long as several rows
    from += phase / v.stride;
    phase %= v.stride;
  }
  for (int64_t i = begin; i < end; ++from, phase = 0) {
    if (from >= 0 && from < v.in && phase <= 1) {
      take(from);
    } else {
      skip();
    }
    if (phase == 0) {
      lower();
      ++phase;
      if (++i == end) break;
    }
    if (phase == 1) {
      upper();
      ++phase;
      ++i;
    }
    for (; phase < v.stride && i < end; ++phase, ++i) none();
  }
}

// Lanes of the strip from column `first` on that lie in [begin, end).
template <typename T, int L>
SSPQ_INLINE Mask<T, L> Columns(int64_t first, int64_t begin, int64_t end) {
  typedef typename Lanes<T, L>::I I;
  const Mask<T, L> column = Count<T, L>() + static_cast<I>(first);
  return (column >= static_cast<I>(begin)) & (column < static_cast<I>(end));
}

// Every S-th of the values from p on, beginning with the one at `at` < S, from S loads.
template <int S, typename T, int L>
SSPQ_INLINE Vec<T, L> EachOf(const Vec<T, L>* loads, int at) {
  typedef Mask<T, L> M;
  const M place = Count<T, L>() * S + at;
  Vec<T, L> v = loads[0];
  // Lanes up to n have what they want; the next load gives more.
  for (int n = 1; n < S; ++n) {
    const M own = n == 1 ? place : Count<T, L>();
    v = Shuffle<T, L>(v, loads[n], place < n * L ? own : place - (n - 1) * L);
  }
  return v;
}

// The values of L columns, S apart (`stride` apart for S = 0), from p on; zero where `inside` is
// not set.
template <int S, typename T, int L>
SSPQ_INLINE Vec<T, L> ReadSpaced(const T* p, int64_t stride, Mask<T, L> inside) {
  if (S == 1) return Keep<T, L>(Load<T, L>(p), inside);
  if (S == 0) {
    return Gather<T, L>(p, Count<T, L>() * static_cast<typename Lanes<T, L>::I>(stride), inside);
  }
  Vec<T, L> loads[S + 1];
  for (int n = 0; n < S; ++n) loads[n] = Load<T, L>(p + n * L);
  return Keep<T, L>(EachOf<S, T, L>(loads, 0), inside);
}

// Those and their right neighbours. At S = 2 and 3 both come from the same loads.
template <int S, typename T, int L>
SSPQ_INLINE void ReadSpacedPair(const T* p, int64_t stride, Mask<T, L> in_a, Mask<T, L> in_b,
                                Vec<T, L>* a, Vec<T, L>* b) {
  if (S < 2) {
    *a = ReadSpaced<S, T, L>(p, stride, in_a);
    *b = ReadSpaced<S, T, L>(p + 1, stride, in_b);
    return;
  }
  Vec<T, L> loads[S + 1];
  for (int n = 0; n < S; ++n) loads[n] = Load<T, L>(p + n * L);
  *a = Keep<T, L>(EachOf<S, T, L>(loads, 0), in_a);
  *b = Keep<T, L>(EachOf<S, T, L>(loads, 1), in_b);
}

// A row sampled along W.
template <int S, typename T, int L>
struct SampledRow {
  typedef Vec<T, L> V;

  SSPQ_INLINE SampledRow(const AxisMap<T>& h, int64_t strip)
      : lo(Broadcast<T, L>(h.lo)),
        hi(Broadcast<T, L>(h.hi)),
        in_a(Columns<T, L>(strip, h.begin[1], h.end[1])),
        in_b(Columns<T, L>(strip, h.begin[2], h.end[2])),
        at(h.start + strip * h.stride),
        stride(h.stride) {}

  SSPQ_INLINE void Taps(const T* row, V* a, V* b) const {
    ReadSpacedPair<S, T, L>(row + at, stride, in_a, in_b, a, b);
  }
  SSPQ_INLINE V operator()(const T* row) const {
    V a, b;
    Taps(row, &a, &b);
    return lo * a + hi * b;
  }

  const V lo, hi;
  const Mask<T, L> in_a, in_b;
  const int64_t at, stride;
};

// A row of gradients spread along W at a stride of 2 or more: lane k takes the value whose lower or
// upper tap it is, or zero.
template <typename T, int L>
struct ExpandedRow {
  typedef Vec<T, L> V;
  typedef Mask<T, L> M;
  typedef typename Lanes<T, L>::I I;

  SSPQ_INLINE ExpandedRow(const AxisMap<T>& h, int64_t strip) {
    // Divisions by what the compiler knows: others take as long as several rows.
    const int64_t place = h.phase + strip, step = h.stride == 2   ? place / 2
                                                  : h.stride == 3 ? place / 3
                                                                  : place / h.stride;
    const int64_t phase = place - step * h.stride;
    at = h.first + step;
    const M n = Count<T, L>() + static_cast<I>(phase);
    const I stride = static_cast<I>(h.stride);
    // n / stride: at most 1 above L, and by the reciprocal, exact for so small numbers, below.
    const I reciprocal = h.stride == 2   ? 1023 / 2 + 1
                         : h.stride == 3 ? 1023 / 3 + 1
                                         : static_cast<I>(1023 / h.stride + 1);
    index = h.stride > L ? (M)(n >= stride) & 1 : n * reciprocal >> 10;
    const M distance = n - index * stride;
    const M lower = distance == 0, upper = distance == 1;
    weight = Either<T, L>(lower, Broadcast<T, L>(h.lo), Broadcast<T, L>(h.hi));
    const M from = index + static_cast<I>(at);
    inside = (lower | upper) & (from >= 0) & (from < static_cast<I>(h.in));
  }

  SSPQ_INLINE V operator()(const T* row) const {
    const V v = Load<T, L>(row + at);
    return Keep<T, L>(Shuffle<T, L>(v, v, index), inside) * weight + T(0);
  }

  int64_t at;
  M index, inside;
  V weight;
};

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_PLANAR_ROWS_H_

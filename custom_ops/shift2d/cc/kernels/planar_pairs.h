// shift2d on NCHW planes whose output rows fill at most half a vector: two rows at a time, picked
// from the vectors that hold what they read. Rows outside the image are read from its border and
// masked, so that no branch depends on the shift.
#ifndef SSPQ_SHIFT2D_PLANAR_PAIRS_H_
#define SSPQ_SHIFT2D_PLANAR_PAIRS_H_

#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/planar_rows.h"
#include "custom_ops/shift2d/cc/kernels/simd.h"
#include "custom_ops/shift2d/cc/kernels/simd_bits.h"
#include "custom_ops/shift2d/cc/kernels/simd_sums.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

constexpr int kMostPairs = 8;

// Whether all that an output row reads, and two output rows, fit a vector that is picked from fast.
template <typename T>
SSPQ_INLINE bool FitPairs(const PlaneShape& s) {
  constexpr int L = MostLanes<T>();
  return ShufflesFast<T, L>() && !s.h.expand && !s.v.expand && s.v.out <= 2 * kMostPairs &&
         2 * s.h.out <= L && s.h.stride < L && (s.h.out - 1) * s.h.stride + 2 <= L;
}

// Where two output rows read their upper and their lower taps, and the bits of those inside.
struct PairReads {
  int32_t first[2], second[2];
  uint32_t inside[2];
};

// Those of all pairs of a plane, for the starts that were met last: there are few in near shifts.
class PairTable {
 public:
  SSPQ_INLINE explicit PairTable(const PlaneShape& s) : shape_(s) {
    for (int k = 0; k < kKnown; ++k) known_[k].valid = false;
  }

  SSPQ_INLINE const PairReads* Find(int64_t start) {
    Known* const known = &known_[start & (kKnown - 1)];
    if (!known->valid || known->start != start) Fill(start, known);
    return known->pairs;
  }

 private:
  static constexpr int kKnown = 8;
  struct Known {
    bool valid;
    int64_t start;
    PairReads pairs[kMostPairs];
  };

  __attribute__((noinline)) void Fill(int64_t start, Known* known) const {
    const AxisShape& v = shape_.v;
    known->valid = true;
    known->start = start;
    for (int64_t i = 0; i < v.out; i += 2) {
      PairReads* const pair = &known->pairs[i / 2];
      for (int u = 0; u < 2; ++u) {
        const int64_t first = start + i * v.stride + u, second = first + v.stride;
        pair->first[u] = Offset(first);
        pair->second[u] = Offset(second);
        const uint32_t row = (1u << shape_.h.out) - 1;
        pair->inside[u] = (IsInside(first) ? row : 0) | (IsInside(second) ? row : 0)
                                                            << shape_.h.out;
      }
    }
  }
  SSPQ_INLINE bool IsInside(int64_t r) const { return r >= 0 && r < shape_.v.in; }
  SSPQ_INLINE int32_t Offset(int64_t r) const {
    return static_cast<int32_t>((r < 0 ? 0 : r < shape_.v.in ? r : shape_.v.in - 1) * shape_.h.in);
  }

  const PlaneShape& shape_;
  Known known_[kKnown];
};

// What pairs of one channel read along W.
template <typename T, int L>
class PairPicker {
 public:
  typedef Vec<T, L> V;
  typedef Mask<T, L> M;

  SSPQ_INLINE explicit PairPicker(const AxisShape& h)
      : index_a_(Index(h, 0)), index_b_(Index(h, 1)), both_((1u << h.out) + 1) {}

  SSPQ_INLINE void Start(const AxisTap<T>& h, const T* in) {
    from_ = in + h.start;
    columns_a_ = ((1u << h.end[1]) - (1u << h.begin[1])) * both_;
    columns_b_ = ((1u << h.end[2]) - (1u << h.begin[2])) * both_;
    lo_ = Broadcast<T, L>(h.lo);
    hi_ = Broadcast<T, L>(h.hi);
  }

  // The samples of the upper (u = 0) or lower rows of a pair, and their slopes.
  SSPQ_INLINE V Sample(const PairReads& pair, int u, V* slope) const {
    const V first = Load<T, L>(from_ + pair.first[u]), second = Load<T, L>(from_ + pair.second[u]);
    const V a = Shuffle<T, L>(first, second, index_a_);
    const uint32_t in_a = columns_a_ & pair.inside[u], in_b = columns_b_ & pair.inside[u];
    const V b = KeepBits<T, L>(Shuffle<T, L>(first, second, index_b_), in_b);
    *slope = SubtractBits<T, L>(b, a, in_a);
    return MultiplyBits<T, L>(lo_, a, in_a) + hi_ * b;
  }

 private:
  static SSPQ_INLINE M Index(const AxisShape& h, int tap) {
    typedef typename Lanes<T, L>::I I;
    const I width = static_cast<I>(h.out), stride = static_cast<I>(h.stride);
    const M lane = Count<T, L>(), second = lane >= width;
    return lane * stride + static_cast<I>(tap) + (second & (L - width * stride));
  }

  const M index_a_, index_b_;
  const uint32_t both_;
  uint32_t columns_a_ = 0, columns_b_ = 0;
  const T* from_ = nullptr;
  V lo_ = {}, hi_ = {};
};

// Asks for what lies beyond part `part` of a plane, of `size` values each.
template <typename T>
SSPQ_INLINE void AskBeyond(const T* plane, int64_t part, int64_t size) {
  constexpr int64_t kLine = 64 / sizeof(T);
  for (int64_t k = part * size; k < (part + 1) * size; k += kLine) {
    Prefetch(plane + k, PrefetchDistance(1));
  }
}

template <typename T>
void MapPairs(const PlaneShape& s, const AxisTap<T>* v, const AxisTap<T>* h, const T* in, T* out,
              int64_t count) {
  constexpr int L = MostLanes<T>();
  typedef Vec<T, L> V;
  const int64_t in_size = s.v.in * s.h.in, size = s.v.out * s.h.out, pairs = s.v.out / 2;
  const int width = static_cast<int>(s.h.out);
  PairTable table(s);
  PairPicker<T, L> picker(s.h);
  V slope;
  for (int64_t p = 0; p < count; ++p, in += in_size, out += size) {
    if (OutOfReach(v[p], 1) || OutOfReach(h[p], 1)) {
      Fill(out, size, v[p].lo * h[p].lo * T(0));
      continue;
    }
    const PairReads* const pair = table.Find(v[p].start);
    picker.Start(h[p], in);
    const V lo = Broadcast<T, L>(v[p].lo), hi = Broadcast<T, L>(v[p].hi);
    for (int64_t k = 0; k < pairs; ++k) {
      Prefetch(out + 2 * k * width, kWriteAhead);
      const V value =
          lo * picker.Sample(pair[k], 0, &slope) + hi * picker.Sample(pair[k], 1, &slope);
      StoreFirst<T, L>(out + 2 * k * width, value, 2 * width);
    }
    if (s.v.out % 2 != 0) {
      const V value =
          lo * picker.Sample(pair[pairs], 0, &slope) + hi * picker.Sample(pair[pairs], 1, &slope);
      StoreFirst<T, L>(out + 2 * pairs * width, value, width);
    }
  }
}

// Sums of the terms of planes, as CorrelateStrip adds them up; no shift is an integer.
template <typename T>
class PairSums {
 public:
  SSPQ_INLINE explicit PairSums(const PlaneShape& s) : shape_(s), table_(s), picker_(s.h) {}

  SSPQ_INLINE void Add(const AxisTap<T>& v, const AxisTap<T>& h, const T* x, const T* gy,
                       double* sum_x, double* sum_y) {
    const int width = static_cast<int>(shape_.h.out);
    const PairReads* pair = table_.Find(v.start);
    picker_.Start(h, x);
    const V lo = Broadcast<T, L>(v.lo), hi = Broadcast<T, L>(v.hi);
    // The terms of x and y side by side, of the first row and of the second.
    const M lane = Count<T, L>(), first = lane + ((lane >= L / 2) & (L / 2));
    const M second = first + static_cast<typename Lanes<T, L>::I>(width);
    Sums<T, L> sums = {};
    V run = {};
    // Larger strides leave out most of what lies between.
    const int64_t pair_size = shape_.v.stride <= 4 ? 2 * shape_.v.stride * shape_.h.in : 0;
    for (int64_t i = 0; i < shape_.v.out; i += 2, gy += 2 * width, ++pair) {
      AskBeyond(x, i / 2, pair_size);
      V d0, d1;
      const V h0 = picker_.Sample(*pair, 0, &d0), h1 = picker_.Sample(*pair, 1, &d1);
      const V g = SSPQ_CPU_VERSION::Load<T, L>(gy);
      const V term_x = g * (lo * d0 + hi * d1), term_y = g * (h1 - h0);
      run += Shuffle<T, L>(term_x, term_y, first);
      if (i + 1 < shape_.v.out) run += Shuffle<T, L>(term_x, term_y, second);
      if ((i + 2) % kSumRun == 0 || i + 2 >= shape_.v.out) {
        sums.Add(run);
        run = V{};
      }
    }
    double columns[L];
    sums.Store(columns);
    double total_x = 0, total_y = 0;
    for (int j = 0; j < width; ++j) {
      total_x += columns[j];
      total_y += columns[L / 2 + j];
    }
    *sum_x += total_x;
    *sum_y += total_y;
  }

 private:
  static constexpr int L = MostLanes<T>();
  typedef Vec<T, L> V;
  typedef Mask<T, L> M;

  const PlaneShape& shape_;
  PairTable table_;
  PairPicker<T, L> picker_;
};

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_PLANAR_PAIRS_H_

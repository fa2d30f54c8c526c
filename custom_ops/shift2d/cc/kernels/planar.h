// shift2d on one NCHW plane, in strips of as many columns as a vector holds. A strip walks down the
// rows with everything that depends on the channel or the column in registers: weights, the masks
// that stand for the left and right borders, and, at stride 1, the sampled row above.
//
// The last strip overlaps the one before it. In planes narrower than a vector the lanes that are
// left over spill into the row below, which is written next; the last row is cut.
#ifndef SSPQ_SHIFT2D_PLANAR_H_
#define SSPQ_SHIFT2D_PLANAR_H_

#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/planar_expand.h"
#include "custom_ops/shift2d/cc/kernels/planar_pairs.h"
#include "custom_ops/shift2d/cc/kernels/planar_rows.h"
#include "custom_ops/shift2d/cc/kernels/simd.h"
#include "custom_ops/shift2d/cc/kernels/simd_bits.h"
#include "custom_ops/shift2d/cc/kernels/simd_sums.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// ---- what rows give to the output

template <typename T, int L>
class RowWriter {
 public:
  // `strip` is a column; rows are written from top to bottom.
  SSPQ_INLINE RowWriter(T* out, int64_t rows, int64_t width, int64_t strip)
      : out_(out + strip),
        width_(width),
        last_(width < L ? out + (rows - 1) * width : nullptr),
        ahead_(PrefetchDistance(rows * width * sizeof(T))) {}

  SSPQ_INLINE void Seek(int64_t row) { out_ += row * width_; }
  SSPQ_INLINE void Write(Vec<T, L> v) {
    Prefetch(out_, ahead_);
    if (out_ == last_) {
      StoreFirst<T, L>(out_, v, static_cast<int>(width_));
    } else {
      Store<T, L>(out_, v);
    }
    out_ += width_;
  }

 private:
  T* out_;
  const int64_t width_;
  const T* const last_;  // has no row below to spill into
  const int64_t ahead_;
};

// Output rows [begin, end) of a strip, each a blend of two rows.
template <typename T, int L, typename Row>
SSPQ_INLINE void BlendStrip(const AxisMap<T>& v, const AxisMap<T>& h, const Row& row, const T* in,
                            int64_t begin, int64_t end, RowWriter<T, L> out) {
  typedef Vec<T, L> V;
  const V lo = Broadcast<T, L>(v.lo), hi = Broadcast<T, L>(v.hi), zero = {};
  const int64_t step = v.stride * h.in;
  out.Seek(begin);
  const int64_t ahead = PrefetchDistance(v.in * h.in * sizeof(T));
  int64_t i = begin;
  const T* p = in + (v.start + i * v.stride) * h.in;  // the upper of the two rows
  const int64_t both = v.begin[1] < v.end[2] ? v.begin[1] : v.end[2];
  // Rows whose upper one lies above the image, or both.
  for (; i < end && i < both; ++i, p += step) {
    const V below = i >= v.begin[2] ? row(p + h.in) : zero;
    out.Write(lo * zero + hi * below);
  }
  const int64_t stop = end < v.end[2] ? end : v.end[2];
  if (v.stride == 1) {
    V above = i < stop ? row(p) : zero;
    for (; i < stop; ++i, p += step) {
      Prefetch(p + row.at, ahead);
      const V below = row(p + h.in);
      out.Write(lo * above + hi * below);
      above = below;
    }
  } else {
    for (; i < stop; ++i, p += step) {
      Prefetch(p + row.at, ahead);
      Prefetch(p + h.in + row.at, ahead);
      out.Write(lo * row(p) + hi * row(p + h.in));
    }
  }
  // Those whose lower one lies below the image, or both.
  for (; i < end; ++i, p += step) {
    const V above = i >= v.begin[1] && i < v.end[1] ? row(p) : zero;
    out.Write(lo * above + hi * zero);
  }
}

// The same for the adjoint at a stride of 2 or more: every output row has at most one row to take.
template <typename T, int L, typename Row>
SSPQ_INLINE void ExpandStrip(const AxisMap<T>& v, const AxisMap<T>& h, const Row& row, const T* in,
                             int64_t begin, int64_t end, RowWriter<T, L> out) {
  typedef Vec<T, L> V;
  const V lo = Broadcast<T, L>(v.lo), hi = Broadcast<T, L>(v.hi), zero = {};
  out.Seek(begin);
  V value = zero;
  ForEachExpanded<T>(
      v, v, begin,
      end, [&](int64_t r) __attribute__((always_inline)) { value = row(in + r * h.in); },
      [&]() __attribute__((always_inline)) { value = zero; },
      [&]() __attribute__((always_inline)) { out.Write(lo * value + T(0)); },
      [&]() __attribute__((always_inline)) { out.Write(hi * value + T(0)); },
      [&]() __attribute__((always_inline)) { out.Write(zero); });
}

// On its own, so that it has the registers to itself.
template <typename T, int L, typename Row>
__attribute__((noinline)) void MapStrip(const AxisMap<T>& v, const AxisMap<T>& h, int64_t strip,
                                        const T* in, int64_t begin, int64_t end, T* out) {
  const Row row(h, strip);
  const RowWriter<T, L> writer(out, v.out, h.out, strip);
  if (v.expand) {
    ExpandStrip<T, L>(v, h, row, in, begin, end, writer);
  } else {
    BlendStrip<T, L>(v, h, row, in, begin, end, writer);
  }
}

// The strip after `strip`, or -1 after the last one.
template <int L>
SSPQ_INLINE int64_t NextStrip(int64_t strip, int64_t width) {
  return strip + L >= width ? -1 : strip + 2 * L <= width ? strip + L : width - L;
}

// Rows at a time, so that what one strip reads and writes is still in the cache for the next one.
template <typename T>
SSPQ_INLINE int64_t BandRows(const PlaneShape& s) {
  const int64_t bytes = (s.h.in * (s.v.expand ? 1 : s.v.stride) + s.h.out) * sizeof(T);
  const int64_t rows = 32 * 1024 / (bytes + 1);
  return rows < 8 ? 8 : rows;
}

template <typename T, int L, typename Row>
void MapEach(const PlaneShape& s, const AxisTap<T>* taps_v, const AxisTap<T>* taps_h, const T* in,
             T* out, int64_t count) {
  const int64_t in_size = s.v.in * s.h.in, out_size = s.v.out * s.h.out;
  const int64_t band = BandRows<T>(s);
  for (int64_t p = 0; p < count; ++p, in += in_size, out += out_size) {
    const AxisMap<T> v(s.v, taps_v[p]), h(s.h, taps_h[p]);
    if (OutOfReach(v, 1) || OutOfReach(h, 1)) {
      Fill(out, out_size, v.lo * h.lo * T(0));
      continue;
    }
    for (int64_t begin = 0; begin < v.out; begin += band) {
      const int64_t end = begin + band < v.out ? begin + band : v.out;
      for (int64_t strip = 0; strip >= 0; strip = NextStrip<L>(strip, h.out)) {
        MapStrip<T, L, Row>(v, h, strip, in, begin, end, out);
      }
    }
  }
}

// L is the narrowest width that a row fills or fits in, at most the widest there is.
template <typename T, int L>
void MapWithLanes(const PlaneShape& s, const AxisTap<T>* v, const AxisTap<T>* h, const T* in,
                  T* out, int64_t count) {
  constexpr int kNarrower = Narrower<T>(L);
  if (L > 1 && s.h.out <= kNarrower) return MapWithLanes<T, kNarrower>(s, v, h, in, out, count);
  if (s.h.expand) return MapEach<T, L, ExpandedRow<T, L>>(s, v, h, in, out, count);
  if (s.h.stride == 1) return MapEach<T, L, SampledRow<1, T, L>>(s, v, h, in, out, count);
  if (s.h.stride == 2) return MapEach<T, L, SampledRow<2, T, L>>(s, v, h, in, out, count);
  if (s.h.stride == 3) return MapEach<T, L, SampledRow<3, T, L>>(s, v, h, in, out, count);
  MapEach<T, L, SampledRow<0, T, L>>(s, v, h, in, out, count);
}

template <typename T>
void MapPlanes(const PlaneShape& s, const AxisTap<T>* v, const AxisTap<T>* h, const T* in, T* out,
               int64_t count) {
  if (FitSpread<T>(s)) return SpreadPlanes<T>(s, v, h, in, out, count);
  if (FitPairs<T>(s)) return MapPairs<T>(s, v, h, in, out, count);
  MapWithLanes<T, MostLanes<T>()>(s, v, h, in, out, count);
}

// ---- the gradient to the shift

// Adds to `columns`, by column, the sums of output rows [begin, end) of a strip.
template <int S, typename T, int L, bool kInteger>
__attribute__((noinline)) void CorrelateStrip(const AxisMap<T>& v, const AxisMap<T>& h, const T* x,
                                              const T* gy, int64_t strip, double* columns_x,
                                              double* columns_y) {
  typedef Vec<T, L> V;
  const SampledRow<S, T, L> row(h, strip);
  const Mask<T, L> in_before = Columns<T, L>(strip, h.begin[0], h.end[0]);
  const V lo = Broadcast<T, L>(v.lo), hi = Broadcast<T, L>(v.hi), zero = {};
  const V half_x = Broadcast<T, L>(h.integer ? T(0.5) : T(1));
  const V half_y = Broadcast<T, L>(v.integer ? T(0.5) : T(1));
  // The sample and the slope of input row r.
  auto read = [&](int64_t r, V * sample, V * slope) __attribute__((always_inline)) {
    if (r < 0 || r >= v.in) {
      *sample = *slope = zero;
      return;
    }
    const T* p = x + r * h.in;
    V a, b;
    row.Taps(p, &a, &b);
    *sample = row.lo * a + row.hi * b;
    if (kInteger && h.integer) {
      *slope = half_x * (b - ReadSpaced<S, T, L>(p + row.at - 1, h.stride, in_before));
    } else {
      *slope = b - a;
    }
  };
  Sums<T, L> sum_x = {}, sum_y = {};
  V h0 = zero, d0 = zero, h1, d1, h_before = zero, unused;
  const bool back = kInteger && v.integer;
  if (v.stride == 1) {
    if (back) read(v.start - 1, &h_before, &unused);
    read(v.start, &h0, &d0);
  }
  const int64_t ahead = PrefetchDistance(v.in * h.in * sizeof(T));
  const T* g_row = gy + strip;
  V run_x = zero, run_y = zero;
  for (int64_t i = 0; i < v.out; ++i, g_row += h.out) {
    const int64_t r = v.start + i * v.stride;
    if (v.stride != 1) {
      if (back) read(r - 1, &h_before, &unused);
      read(r, &h0, &d0);
    }
    read(r + 1, &h1, &d1);
    Prefetch(x + r * h.in + row.at, ahead);
    const V g = Load<T, L>(g_row);
    run_x += g * (lo * d0 + hi * d1);
    run_y += g * (back ? half_y * (h1 - h_before) : h1 - h0);
    if ((i + 1) % kSumRun == 0 || i + 1 == v.out) {
      sum_x.Add(run_x);
      sum_y.Add(run_y);
      run_x = run_y = zero;
    }
    h_before = h0;
    h0 = h1;
    d0 = d1;
  }
  sum_x.Store(columns_x + strip);
  sum_y.Store(columns_y + strip);
}

// What a channel contributes that reads nothing: NaN where some gradient is not finite, as in all
// other code.
template <typename T>
T TimesZero(const T* gy, int64_t count) {
  T sum = 0;
  for (int64_t k = 0; k < count; ++k) sum += gy[k] * T(0);
  return sum;
}

template <int S, typename T, int L>
void CorrelateEach(const PlaneShape& s, const AxisTap<T>* taps_v, const AxisTap<T>* taps_h,
                   const T* x, const T* gy, int64_t count, double* columns, double* sum_x,
                   double* sum_y) {
  const int64_t in_size = s.v.in * s.h.in, out_size = s.v.out * s.h.out;
  double* const columns_x = columns;
  double* const columns_y = columns + ColumnSums(s.h.out) / 2;
  const bool in_pairs = FitPairs<T>(s);
  PairSums<T> pairs(s);
  for (int64_t p = 0; p < count; ++p, x += in_size, gy += out_size) {
    if (OutOfReach(taps_v[p], 0) || OutOfReach(taps_h[p], 0)) {
      const T nothing = TimesZero(gy, out_size);
      sum_x[p] += nothing;
      sum_y[p] += nothing;
      continue;
    }
    if (in_pairs && !taps_v[p].integer && !taps_h[p].integer) {
      pairs.Add(taps_v[p], taps_h[p], x, gy, &sum_x[p], &sum_y[p]);
      continue;
    }
    const AxisMap<T> v(s.v, taps_v[p]), h(s.h, taps_h[p]);
    for (int64_t strip = 0; strip >= 0; strip = NextStrip<L>(strip, h.out)) {
      if (v.integer || h.integer) {
        CorrelateStrip<S, T, L, true>(v, h, x, gy, strip, columns_x, columns_y);
      } else {
        CorrelateStrip<S, T, L, false>(v, h, x, gy, strip, columns_x, columns_y);
      }
    }
    double total_x = 0, total_y = 0;
    for (int64_t j = 0; j < h.out; ++j) {
      total_x += columns_x[j];
      total_y += columns_y[j];
    }
    sum_x[p] += total_x;
    sum_y[p] += total_y;
  }
}

template <typename T, int L>
void CorrelateWithLanes(const PlaneShape& s, const AxisTap<T>* v, const AxisTap<T>* h, const T* x,
                        const T* gy, int64_t count, double* columns, double* sum_x, double* sum_y) {
  constexpr int kNarrower = Narrower<T>(L);
  if (L > 1 && s.h.out <= kNarrower) {
    return CorrelateWithLanes<T, kNarrower>(s, v, h, x, gy, count, columns, sum_x, sum_y);
  }
  if (s.h.stride == 1) {
    CorrelateEach<1, T, L>(s, v, h, x, gy, count, columns, sum_x, sum_y);
  } else if (s.h.stride == 2) {
    CorrelateEach<2, T, L>(s, v, h, x, gy, count, columns, sum_x, sum_y);
  } else if (s.h.stride == 3) {
    CorrelateEach<3, T, L>(s, v, h, x, gy, count, columns, sum_x, sum_y);
  } else {
    CorrelateEach<0, T, L>(s, v, h, x, gy, count, columns, sum_x, sum_y);
  }
}

template <typename T>
void ShiftGradientPlanes(const PlaneShape& s, const AxisTap<T>* v, const AxisTap<T>* h, const T* x,
                         const T* gy, int64_t count, double* columns, double* sum_x,
                         double* sum_y) {
  CorrelateWithLanes<T, MostLanes<T>()>(s, v, h, x, gy, count, columns, sum_x, sum_y);
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_PLANAR_H_

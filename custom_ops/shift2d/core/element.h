// The arithmetic of shift2d for one element: what the CPU's reference version and the CUDA kernels
// both compute, and what the vectorised CPU versions match bit by bit.
//
// `T` is the type that is computed in. `read(row, column)` returns the value there as a T, and zero
// outside the image. Rows are sampled along W first and blended along H second.
#ifndef SSPQ_SHIFT2D_CORE_ELEMENT_H_
#define SSPQ_SHIFT2D_CORE_ELEMENT_H_

#include <math.h>

#include "custom_ops/shift2d/core/geometry.h"

namespace sspq {

// What one pixel reads along one axis of the other image: `count` neighbours, the first of them at
// `first`. Where there are fewer than two, zero stands in for the others.
template <typename T, typename Int = int64_t>
struct Reads {
  Int first = 0;
  int count = 0;
  T weight[2] = {T(0), T(0)};
};

// Where output pixel i of an axis reads its lower tap.
template <typename T, typename Int>
SSPQ_HD inline Int FirstRead(const AxisOf<Int>& a, const Tap<T, Int>& t,
                             typename AxisOf<Int>::Index i) {
  return i * a.stride - a.pad + t.offset;
}

// The input pixels that output pixel i reads.
template <typename T, typename Int>
SSPQ_HD inline Reads<T, Int> ReadsOf(const AxisOf<Int>& a, const Tap<T, Int>& t,
                                     typename AxisOf<Int>::Index i) {
  Reads<T, Int> reads;
  reads.first = FirstRead(a, t, i);
  reads.count = 2;
  reads.weight[0] = t.lo;
  reads.weight[1] = t.hi;
  return reads;
}

// The output pixels that read input pixel `a`: two neighbours at stride 1, at most one at a larger
// stride.
template <typename T, typename Int>
SSPQ_HD inline Reads<T, Int> ReadersOf(const AxisOf<Int>& axis, const Tap<T, Int>& tap,
                                       typename AxisOf<Int>::Index a) {
  Reads<T, Int> readers;
  const Int t = a + axis.pad - tap.offset;
  if (axis.stride == 1) {
    readers.first = t - 1;
    readers.count = 2;
    readers.weight[0] = tap.hi;
    readers.weight[1] = tap.lo;
    return readers;
  }
  readers.first = FloorDiv(t, axis.stride);
  const Int phase = t - readers.first * axis.stride;
  readers.count = phase <= 1 ? 1 : 0;
  readers.weight[0] = phase == 0 ? tap.lo : tap.hi;
  return readers;
}

template <typename T>
SSPQ_HD inline T WeightedSum(const T (&weight)[2], T first, T second) {
  return weight[0] * first + weight[1] * second;
}

// An element of y or of the gradient to x, from the four values that it reads, row by row.
template <typename T, typename Int>
SSPQ_HD inline T Blend(const Reads<T, Int>& rows, const Reads<T, Int>& columns, T upper_left,
                       T upper_right, T lower_left, T lower_right) {
  return WeightedSum(rows.weight, WeightedSum(columns.weight, upper_left, upper_right),
                     WeightedSum(columns.weight, lower_left, lower_right));
}

template <typename T, typename Int, typename Read>
SSPQ_HD inline T BlendElement(const Reads<T, Int>& rows, const Reads<T, Int>& columns,
                              const Read& read) {
  const auto at = [&](int u, int v) {
    return u < rows.count && v < columns.count ? read(rows.first + u, columns.first + v) : T(0);
  };
  return Blend(rows, columns, at(0, 0), at(0, 1), at(1, 0), at(1, 1));
}

// y at output pixel (i, j).
template <typename T, typename Int, typename Read>
SSPQ_HD inline T OutputElement(const AxisOf<Int>& h, const AxisOf<Int>& w, const Tap<T, Int>& ty,
                               const Tap<T, Int>& tx, typename AxisOf<Int>::Index i,
                               typename AxisOf<Int>::Index j, const Read& read) {
  return BlendElement(ReadsOf(h, ty, i), ReadsOf(w, tx, j), read);
}

// The gradient to x at input pixel (a, b), by gather.
template <typename T, typename Int, typename Read>
SSPQ_HD inline T InputGradientElement(const AxisOf<Int>& h, const AxisOf<Int>& w,
                                      const Tap<T, Int>& ty, const Tap<T, Int>& tx,
                                      typename AxisOf<Int>::Index a, typename AxisOf<Int>::Index b,
                                      const Read& read) {
  return BlendElement(ReadersOf(h, ty, a), ReadersOf(w, tx, b), read);
}

template <typename T>
struct Derivative {
  T x, y;
};

// dy/dsx and dy/dsy between integer shifts, from the four values that the output pixel reads.
template <typename T, typename Int>
SSPQ_HD inline Derivative<T> Slope(const Tap<T, Int>& ty, const Tap<T, Int>& tx, T upper_left,
                                   T upper_right, T lower_left, T lower_right) {
  Derivative<T> d;
  d.x = ty.lo * (upper_right - upper_left) + ty.hi * (lower_right - lower_left);
  d.y = (tx.lo * lower_left + tx.hi * lower_right) - (tx.lo * upper_left + tx.hi * upper_right);
  return d;
}

// Between integer shifts, the gradient to the shift is also a sum over the input: what pixel (a, b)
// takes from it for every unit of its value. `read` reads the gradient to y, which at a stride has
// zeros between its pixels.
template <typename T, typename Int, typename Read>
SSPQ_HD inline Derivative<T> InputDerivative(const AxisOf<Int>& h, const AxisOf<Int>& w,
                                             const Tap<T, Int>& ty, const Tap<T, Int>& tx,
                                             typename AxisOf<Int>::Index a,
                                             typename AxisOf<Int>::Index b, const Read& read) {
  const auto at = [&](Int r, Int q) {
    const Int i = FloorDiv(r, h.stride), j = FloorDiv(q, w.stride);
    return i * h.stride == r && j * w.stride == q ? read(i, j) : T(0);
  };
  // As at stride 1, whatever the stride: see ReadersOf().
  const Int r = a + h.pad - ty.offset - 1, q = b + w.pad - tx.offset - 1;
  Tap<T, Int> y = ty, x = tx;
  y.lo = ty.hi;
  y.hi = ty.lo;
  x.lo = tx.hi;
  x.hi = tx.lo;
  return Slope(y, x, at(r, q), at(r, q + 1), at(r + 1, q), at(r + 1, q + 1));
}

// The same at any shift. At an integer one it is the central difference, the mean of the two
// one-sided derivatives.
template <typename T, typename Int, typename Read>
SSPQ_HD inline Derivative<T> DerivativeElement(const AxisOf<Int>& h, const AxisOf<Int>& w,
                                               const Tap<T, Int>& ty, const Tap<T, Int>& tx,
                                               typename AxisOf<Int>::Index i,
                                               typename AxisOf<Int>::Index j, const Read& read) {
  const Int r = FirstRead(h, ty, i), q = FirstRead(w, tx, j);
  const T upper_left = read(r, q), upper_right = read(r, q + 1);
  const T lower_left = read(r + 1, q), lower_right = read(r + 1, q + 1);
  Derivative<T> d = Slope(ty, tx, upper_left, upper_right, lower_left, lower_right);
  if (tx.integer) {
    d.x = ty.lo * (T(0.5) * (upper_right - read(r, q - 1))) +
          ty.hi * (T(0.5) * (lower_right - read(r + 1, q - 1)));
  }
  if (ty.integer) {
    d.y = T(0.5) * ((tx.lo * lower_left + tx.hi * lower_right) -
                    (tx.lo * read(r - 1, q) + tx.hi * read(r - 1, q + 1)));
  }
  return d;
}

// Divides a channel's gradient to the shift by its L2 norm; zero stays zero.
SSPQ_HD inline void NormalizeGradient(double* x, double* y) {
  const double norm = ::hypot(*x, *y);
  if (norm > 0) {
    *x /= norm;
    *y /= norm;
  }
}

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CORE_ELEMENT_H_

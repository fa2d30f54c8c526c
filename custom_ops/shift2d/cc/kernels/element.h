// The arithmetic of shift2d for one element: what the CPU's reference version and the CUDA kernels
// both compute, and what the vectorised CPU versions match bit by bit.
//
// `T` is the type that is computed in. `read(row, column)` returns the value there as a T, and zero
// outside the image. Rows are sampled along W first and blended along H second.
#ifndef SSPQ_SHIFT2D_ELEMENT_H_
#define SSPQ_SHIFT2D_ELEMENT_H_

#include "custom_ops/shift2d/cc/kernels/geometry.h"

namespace sspq {

// Where output pixel i of an axis reads its lower tap.
template <typename T>
SSPQ_HD inline int64_t FirstRead(const Axis& a, const Tap<T>& t, int64_t i) {
  return i * a.stride - a.pad + t.offset;
}

template <typename T, typename Read>
SSPQ_HD inline T SampleAlongW(const Tap<T>& tx, int64_t row, int64_t q, const Read& read) {
  return tx.lo * read(row, q) + tx.hi * read(row, q + 1);
}

// y at output pixel (i, j).
template <typename T, typename Read>
SSPQ_HD inline T OutputElement(const Axis& h, const Axis& w, const Tap<T>& ty, const Tap<T>& tx,
                               int64_t i, int64_t j, const Read& read) {
  const int64_t r = FirstRead(h, ty, i), q = FirstRead(w, tx, j);
  return ty.lo * SampleAlongW(tx, r, q, read) + ty.hi * SampleAlongW(tx, r + 1, q, read);
}

// The output pixels along one axis that read input pixel `a`: two neighbours at stride 1, at most
// one at a larger stride.
template <typename T>
struct Readers {
  int64_t first = 0;
  int count = 0;
  T weight[2] = {T(0), T(0)};
};

template <typename T>
SSPQ_HD inline Readers<T> ReadersOf(const Axis& axis, const Tap<T>& tap, int64_t a) {
  Readers<T> readers;
  const int64_t t = a + axis.pad - tap.offset;
  if (axis.stride == 1) {
    readers.first = t - 1;
    readers.count = 2;
    readers.weight[0] = tap.hi;
    readers.weight[1] = tap.lo;
    return readers;
  }
  readers.first = FloorDiv(t, axis.stride);
  const int64_t phase = t - readers.first * axis.stride;
  readers.count = phase <= 1 ? 1 : 0;
  readers.weight[0] = phase == 0 ? tap.lo : tap.hi;
  return readers;
}

// The gradient to x at input pixel (a, b), by gather. A single term adds zero, which turns -0 into
// the 0 that a sum of two terms would give.
template <typename T, typename ReadGradient>
SSPQ_HD inline T InputGradientElement(const Axis& h, const Axis& w, const Tap<T>& ty,
                                      const Tap<T>& tx, int64_t a, int64_t b,
                                      const ReadGradient& read) {
  const Readers<T> rows = ReadersOf(h, ty, a), columns = ReadersOf(w, tx, b);
  if (columns.count == 0) return T(0);
  T blended[2] = {T(0), T(0)};
  for (int u = 0; u < rows.count; ++u) {
    T sampled[2] = {T(0), T(0)};
    for (int v = 0; v < columns.count; ++v) {
      sampled[v] = columns.weight[v] * read(rows.first + u, columns.first + v);
    }
    blended[u] = rows.weight[u] * (sampled[0] + sampled[1]);
  }
  return blended[0] + blended[1];
}

// dy/dsx and dy/dsy at output pixel (i, j). At an integer shift each is the central difference,
// the mean of the two one-sided derivatives.
template <typename T>
struct Derivative {
  T x, y;
};

template <typename T, typename Read>
SSPQ_HD inline Derivative<T> DerivativeElement(const Axis& h, const Axis& w, const Tap<T>& ty,
                                               const Tap<T>& tx, int64_t i, int64_t j,
                                               const Read& read) {
  const int64_t r = FirstRead(h, ty, i), q = FirstRead(w, tx, j);
  const int64_t left = tx.integer ? q - 1 : q, above = ty.integer ? r - 1 : r;
  const T scale_x = tx.integer ? T(0.5) : T(1), scale_y = ty.integer ? T(0.5) : T(1);
  const T upper = scale_x * (read(r, q + 1) - read(r, left));
  const T lower = scale_x * (read(r + 1, q + 1) - read(r + 1, left));
  Derivative<T> d;
  d.x = ty.lo * upper + ty.hi * lower;
  d.y = scale_y * (SampleAlongW(tx, r + 1, q, read) - SampleAlongW(tx, above, q, read));
  return d;
}

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_ELEMENT_H_

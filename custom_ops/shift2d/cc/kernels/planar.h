// shift2d on one NCHW plane. Rows are sampled along W into small buffers first and then blended
// along H, so that with stride 1 every input row is interpolated once and used for two outputs.
#ifndef SSPQ_SHIFT2D_PLANAR_H_
#define SSPQ_SHIFT2D_PLANAR_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "custom_ops/shift2d/cc/kernels/geometry.h"

namespace sspq {

// out[j] = lo * in[start + j * stride] + hi * in[start + j * stride + 1], zero outside.
// For j in [begin, end) both taps lie inside, so the inner loops test nothing.
template <typename T>
struct Sampling {
  Sampling(int64_t in, int64_t out, int64_t stride, int64_t start, T lo, T hi)
      : in(in), out(out), stride(stride), start(start), lo(lo), hi(hi) {
    begin = FirstAtLeast(0);
    end = std::max(begin, FirstAtLeast(in - 1));
  }

  static Sampling Forward(const Axis& a, const Tap<T>& t) {
    return Sampling(a.in, a.out, a.stride, t.offset - a.pad, t.lo, t.hi);
  }

  // The adjoint at stride 1: the same sampling with the shift and the two weights reversed.
  static Sampling Adjoint(const Axis& a, const Tap<T>& t) {
    return Sampling(a.out, a.in, 1, a.pad - t.offset - 1, t.hi, t.lo);
  }

  // The first output whose lower tap is at input pixel `q` or beyond, within [0, out].
  int64_t FirstAtLeast(int64_t q) const {
    return std::min(out, std::max<int64_t>(0, FloorDiv(q - start + stride - 1, stride)));
  }

  int64_t in, out, stride, start;
  T lo, hi;
  int64_t begin, end;
};

template <typename T>
inline T At(const T* row, int64_t size, int64_t q) {
  return q < 0 || q >= size ? T(0) : row[q];
}

template <typename T>
void SampleRow(const T* __restrict in, const Sampling<T>& s, T* __restrict out) {
  const T lo = s.lo, hi = s.hi;
  auto edge = [&](int64_t first, int64_t last) {
    for (int64_t j = first; j < last; ++j) {
      const int64_t q = s.start + j * s.stride;
      out[j] = lo * At(in, s.in, q) + hi * At(in, s.in, q + 1);
    }
  };
  edge(0, s.begin);
  const T* p = in + s.start;
  if (s.stride == 1) {
    for (int64_t j = s.begin; j < s.end; ++j) out[j] = lo * p[j] + hi * p[j + 1];
  } else if (s.stride == 2) {
    for (int64_t j = s.begin; j < s.end; ++j) out[j] = lo * p[2 * j] + hi * p[2 * j + 1];
  } else {
    for (int64_t j = s.begin; j < s.end; ++j) {
      out[j] = lo * p[s.stride * j] + hi * p[s.stride * j + 1];
    }
  }
  edge(s.end, s.out);
}

// The derivative of SampleRow to the shift. At an integer shift it is the central difference.
template <typename T>
void DifferenceRow(const T* __restrict in, const Sampling<T>& s, bool integer, T* __restrict out) {
  const T scale = integer ? T(0.5) : T(1);
  const int64_t back = integer ? 1 : 0;
  auto edge = [&](int64_t first, int64_t last) {
    for (int64_t j = first; j < last; ++j) {
      const int64_t q = s.start + j * s.stride;
      out[j] = scale * (At(in, s.in, q + 1) - At(in, s.in, q - back));
    }
  };
  const int64_t begin = std::min(s.end, s.FirstAtLeast(back));
  edge(0, begin);
  const T* up = in + s.start + 1;
  const T* down = in + s.start - back;
  if (s.stride == 1) {
    for (int64_t j = begin; j < s.end; ++j) out[j] = scale * (up[j] - down[j]);
  } else if (s.stride == 2) {
    for (int64_t j = begin; j < s.end; ++j) out[j] = scale * (up[2 * j] - down[2 * j]);
  } else {
    for (int64_t j = begin; j < s.end; ++j) {
      out[j] = scale * (up[s.stride * j] - down[s.stride * j]);
    }
  }
  edge(s.end, s.out);
}

// The adjoint of SampleRow at a stride of 2 or more: no input pixel is read twice. Adding zero
// turns -0 into 0, as the sums of two taps do elsewhere.
template <typename T>
void ExpandRow(const T* __restrict gy, const Sampling<T>& s, T* __restrict gx) {
  std::fill(gx, gx + s.in, T(0));
  auto edge = [&](int64_t first, int64_t last) {
    for (int64_t j = first; j < last; ++j) {
      const int64_t q = s.start + j * s.stride;
      if (q >= 0 && q < s.in) gx[q] = s.lo * gy[j] + T(0);
      if (q + 1 >= 0 && q + 1 < s.in) gx[q + 1] = s.hi * gy[j] + T(0);
    }
  };
  edge(0, s.begin);
  T* p = gx + s.start;
  if (s.stride == 2) {
    for (int64_t j = s.begin; j < s.end; ++j) {
      p[2 * j] = s.lo * gy[j] + T(0);
      p[2 * j + 1] = s.hi * gy[j] + T(0);
    }
  } else {
    for (int64_t j = s.begin; j < s.end; ++j) {
      p[s.stride * j] = s.lo * gy[j] + T(0);
      p[s.stride * j + 1] = s.hi * gy[j] + T(0);
    }
  }
  edge(s.end, s.out);
}

// Buffers for one thread: two rows of samples, two of differences, one to spare, one of zeros.
template <typename T>
class RowBuffers {
 public:
  explicit RowBuffers(int64_t width) : width_(width), data_(6 * width, T(0)) {}
  T* row(int i) { return data_.data() + i * width_; }
  T* scratch() { return row(4); }
  const T* zeros() { return row(5); }

 private:
  const int64_t width_;
  std::vector<T> data_;
};

// Keeps the last even and the last odd row, so that a row needed twice is computed once.
template <typename T, typename Compute>
class RowPair {
 public:
  RowPair(int64_t rows, T* even, T* odd, const T* zeros, Compute compute)
      : rows_(rows), buffer_{even, odd}, zeros_(zeros), compute_(compute) {}

  const T* Get(int64_t r) {
    if (r < 0 || r >= rows_) return zeros_;
    const int slot = r & 1;
    if (held_[slot] != r) {
      compute_(r, buffer_[slot]);
      held_[slot] = r;
    }
    return buffer_[slot];
  }

 private:
  const int64_t rows_;
  T* const buffer_[2];
  const T* const zeros_;
  Compute compute_;
  int64_t held_[2] = {-1, -1};
};

template <typename T, typename Compute>
RowPair<T, Compute> MakeRowPair(int64_t rows, T* even, T* odd, const T* zeros, Compute compute) {
  return RowPair<T, Compute>(rows, even, odd, zeros, compute);
}

template <typename T>
void BlendRows(T lo, const T* __restrict a, T hi, const T* __restrict b, int64_t n,
               T* __restrict out) {
  for (int64_t j = 0; j < n; ++j) out[j] = lo * a[j] + hi * b[j];
}

// Blends rows v.start + i * v.stride and the next of `rows` into row i of `out`.
template <typename T, typename Rows>
void BlendPlane(Rows& rows, const Sampling<T>& v, int64_t width, T* out) {
  for (int64_t i = 0; i < v.out; ++i, out += width) {
    const int64_t r = v.start + i * v.stride;
    const T* a = rows.Get(r);
    BlendRows(v.lo, a, v.hi, rows.Get(r + 1), width, out);
  }
}

template <typename T>
void ForwardPlane(const T* x, const Geometry& g, const Tap<T>& ty, const Tap<T>& tx,
                  RowBuffers<T>* buffers, T* y) {
  const auto h = Sampling<T>::Forward(g.w, tx);
  auto rows = MakeRowPair<T>(g.h.in, buffers->row(0), buffers->row(1), buffers->zeros(),
                             [&](int64_t r, T* out) { SampleRow(x + r * g.w.in, h, out); });
  BlendPlane(rows, Sampling<T>::Forward(g.h, ty), g.w.out, y);
}

// Gradient to x by gather: every input row collects the output rows that read it.
template <typename T>
void BackwardPlane(const T* gy, const Geometry& g, const Tap<T>& ty, const Tap<T>& tx,
                   RowBuffers<T>* buffers, T* gx) {
  const auto forward = Sampling<T>::Forward(g.w, tx);
  const auto adjoint = Sampling<T>::Adjoint(g.w, tx);
  auto rows = MakeRowPair<T>(g.h.out, buffers->row(0), buffers->row(1), buffers->zeros(),
                             [&](int64_t r, T* out) {
                               const T* row = gy + r * g.w.out;
                               if (g.w.stride == 1) {
                                 SampleRow(row, adjoint, out);
                               } else {
                                 ExpandRow(row, forward, out);
                               }
                             });
  const int64_t width = g.w.in;
  if (g.h.stride == 1) {
    BlendPlane(rows, Sampling<T>::Adjoint(g.h, ty), width, gx);
    return;
  }
  for (int64_t a = 0; a < g.h.in; ++a, gx += width) {
    const int64_t t = a + g.h.pad - ty.offset;
    const int64_t i = FloorDiv(t, g.h.stride);
    const int64_t phase = t - i * g.h.stride;
    if (phase > 1 || i < 0 || i >= g.h.out) {
      std::fill(gx, gx + width, T(0));
      continue;
    }
    const T weight = phase == 0 ? ty.lo : ty.hi;
    const T* row = rows.Get(i);
    for (int64_t j = 0; j < width; ++j) gx[j] = weight * row[j] + T(0);
  }
}

// Two float64 sums over the same range, in eight lanes that are always filled and added up in the
// same order, whatever instructions the compiler uses.
class LaneSums {
 public:
  // Adds terms.X(k) and terms.Y(k) for k in [0, n).
  template <typename Terms>
  void Add(int64_t n, const Terms terms) {
    double x[kLanes], y[kLanes];  // local, so that they stay in registers
    std::copy(x_, x_ + kLanes, x);
    std::copy(y_, y_ + kLanes, y);
    int64_t k = 0;
    for (; k + kLanes <= n; k += kLanes) {
      for (int lane = 0; lane < kLanes; ++lane) {
        x[lane] += static_cast<double>(terms.X(k + lane));
        y[lane] += static_cast<double>(terms.Y(k + lane));
      }
    }
    for (int lane = 0; k < n; ++k, ++lane) {
      x[lane] += static_cast<double>(terms.X(k));
      y[lane] += static_cast<double>(terms.Y(k));
    }
    std::copy(x, x + kLanes, x_);
    std::copy(y, y + kLanes, y_);
  }

  void AddTo(double* x, double* y) const {
    for (int lane = 0; lane < kLanes; ++lane) {
      *x += x_[lane];
      *y += y_[lane];
    }
  }

 private:
  static constexpr int kLanes = 8;

  double x_[kLanes] = {0};
  double y_[kLanes] = {0};
};

// The terms of both sums for a run of pixels: gradient times the derivative to either shift.
template <typename T>
struct ShiftGradientTerms {
  T X(int64_t k) const { return XAt(k, k); }
  T Y(int64_t k) const { return YAt(k, k); }

  // Output pixel k, sampled at pixel `at` of the rows.
  T XAt(int64_t k, int64_t at) const { return gy[k] * (lo * d0[at] + hi * d1[at]); }
  T YAt(int64_t k, int64_t at) const { return gy[k] * (scale * (h1[at] - h0[at])); }

  const T* __restrict gy;
  const T* __restrict d0;  // slopes along W of the two rows
  const T* __restrict d1;
  const T* __restrict h0;  // samples of the rows that the derivative along H compares
  const T* __restrict h1;
  T lo, hi, scale;
};

// Adds sum(gy * dy/dsx) and sum(gy * dy/dsy) of one plane.
template <typename T>
void ShiftGradientPlane(const T* x, const T* gy, const Geometry& g, const Tap<T>& ty,
                        const Tap<T>& tx, RowBuffers<T>* buffers, double* gsx, double* gsy) {
  LaneSums sums;
  const auto h = Sampling<T>::Forward(g.w, tx);
  const auto v = Sampling<T>::Forward(g.h, ty);
  const int64_t width = g.w.out;
  auto samples = MakeRowPair<T>(g.h.in, buffers->row(0), buffers->row(1), buffers->zeros(),
                                [&](int64_t r, T* out) { SampleRow(x + r * g.w.in, h, out); });
  auto slopes =
      MakeRowPair<T>(g.h.in, buffers->row(2), buffers->row(3), buffers->zeros(),
                     [&](int64_t r, T* out) { DifferenceRow(x + r * g.w.in, h, tx.integer, out); });
  const T scale_y = ty.integer ? T(0.5) : T(1);
  for (int64_t i = 0; i < g.h.out; ++i, gy += width) {
    const int64_t r = v.start + i * v.stride;
    const T* d0 = slopes.Get(r);
    const T* d1 = slopes.Get(r + 1);
    const T* h0 = samples.Get(ty.integer ? r - 1 : r);
    if (ty.integer) {  // rows r - 1 and r + 1 would share a slot
      h0 = std::copy(h0, h0 + width, buffers->scratch()) - width;
    }
    const T* h1 = samples.Get(r + 1);
    sums.Add(width, ShiftGradientTerms<T>{gy, d0, d1, h0, h1, v.lo, v.hi, scale_y});
  }
  sums.AddTo(gsx, gsy);
}

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_PLANAR_H_

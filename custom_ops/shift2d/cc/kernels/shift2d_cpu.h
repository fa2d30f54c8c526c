// shift2d on the CPU for both layouts: splits the work into items that a thread pool may run in
// any order. No two items write one value, and every sum has a fixed order, so the result does not
// depend on the number of threads. Knows nothing of TensorFlow.
#ifndef SSPQ_SHIFT2D_CPU_H_
#define SSPQ_SHIFT2D_CPU_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "custom_ops/shift2d/cc/kernels/flat.h"
#include "custom_ops/shift2d/cc/kernels/geometry.h"
#include "custom_ops/shift2d/cc/kernels/interleaved.h"
#include "custom_ops/shift2d/cc/kernels/planar.h"

namespace sspq {

template <typename T>
class Shift2DCpu {
 public:
  // `shift` is [2, channels]: along W, then along H.
  Shift2DCpu(const Geometry& g, const T* shift) : g_(g) {
    for (int64_t c = 0; c < g.channels; ++c) {
      taps_x_.push_back(MakeTap(shift[c], g.w));
      taps_y_.push_back(MakeTap(shift[g.channels + c], g.h));
      const Tap<T>&tx = taps_x_.back(), &ty = taps_y_.back();
      if (!tx.finite || !ty.finite) lost_.push_back(c);
      window_ = window_ && InWindow(tx) && InWindow(ty);
      integer_ = integer_ || tx.integer || ty.integer;
    }
    flat_ = g.nchw && FlatPlane<T>::Fits(g);
    if (flat_) masks_ = FlatMasks<T>(g.w.in, g.h.in, taps_x_);
    SplitBackward();
  }

  // ---- forward

  int64_t forward_items() const {
    return g_.nchw ? g_.batch * g_.channels : g_.batch * g_.h.out;  // planes or rows
  }

  void Forward(const T* x, T* y, int64_t begin, int64_t end) const {
    if (g_.nchw) {
      ForwardPlanes(x, y, begin, end);
    } else {
      const Rows rows = ForwardRows();
      WindowRows<T> buffer(rows.buffer_size);
      SampleRows(x, rows, begin, end, &buffer, y);
      ForgetPixels(y, begin * g_.w.out, end * g_.w.out);
    }
  }

  // ---- backward: both gradients, one visit to the data

  // Item = one slice of one group of images: a block of channels (NCHW) or a band of rows (NHWC).
  int64_t backward_items() const { return groups_ * slices_; }

  // float64 sums that Backward leaves for Finish: sets of [2, channels].
  int64_t partial_size() const { return sets() * 2 * g_.channels; }

  // `partial` starts as zeros.
  void Backward(const T* x, const T* gy, T* gx, double* partial, int64_t begin, int64_t end) const {
    if (g_.nchw) {
      BackwardPlanes(x, gy, gx, partial, begin, end);
    } else {
      BackwardBands(x, gy, gx, partial, begin, end);
    }
  }

  // Adds the partial sums up, in order, into `gshift` [2, channels].
  void Finish(const double* partial, bool normalize, T* gshift) const {
    for (int64_t c = 0; c < g_.channels; ++c) {
      double sum_x = 0, sum_y = 0;
      for (int64_t s = 0; s < sets(); ++s) {
        sum_x += partial[2 * s * g_.channels + c];
        sum_y += partial[(2 * s + 1) * g_.channels + c];
      }
      if (normalize) {
        const double norm = std::hypot(sum_x, sum_y);
        if (norm > 0) {
          sum_x /= norm;
          sum_y /= norm;
        }
      }
      gshift[c] = static_cast<T>(sum_x);
      gshift[g_.channels + c] = static_cast<T>(sum_y);
    }
    for (int64_t c : lost_) gshift[c] = gshift[g_.channels + c] = Nan();
  }

 private:
  // Enough for the threads of a large machine to share.
  static int64_t MostItems() { return 32; }

  int64_t sets() const { return g_.nchw ? groups_ : groups_ * slices_; }

  // Few images are cut into slices, many into groups; either depends on sizes alone, never on the
  // number of threads. A set of partial sums takes 16 bytes a channel: small tensors are cut less.
  void SplitBackward() {
    const int64_t bytes = g_.batch * g_.h.in * g_.w.in * static_cast<int64_t>(sizeof(T));
    const int64_t most = std::max<int64_t>(1, std::min(MostItems(), bytes / 16));
    groups_ = std::min(g_.batch, most);
    slices_ = std::min(g_.nchw ? g_.channels : g_.h.out, most / std::max<int64_t>(1, g_.batch));
    slices_ = std::max<int64_t>(1, slices_);
  }

  static T Nan() { return std::numeric_limits<T>::quiet_NaN(); }
  static bool InWindow(const Tap<T>& t) { return t.offset == -1 || t.offset == 0; }

  bool Lost(int64_t c) const { return !taps_x_[c].finite || !taps_y_[c].finite; }

  // Sets the channels without a finite shift to NaN in pixels [begin, end) of an NHWC tensor.
  void ForgetPixels(T* data, int64_t begin, int64_t end) const {
    if (lost_.empty()) return;
    for (int64_t p = begin; p < end; ++p) {
      for (int64_t c : lost_) data[p * g_.channels + c] = Nan();
    }
  }

  void ForwardPlanes(const T* x, T* y, int64_t begin, int64_t end) const {
    const int64_t in = g_.h.in * g_.w.in, out = g_.h.out * g_.w.out;
    RowBuffers<T> buffers(g_.w.out);
    FlatPlane<T> flat(g_, masks_, flat_);
    for (int64_t p = begin; p < end; ++p) {
      const int64_t c = p % g_.channels;
      const T* from = x + p * in;
      T* to = y + p * out;
      if (Lost(c)) {
        std::fill(to, to + out, Nan());
      } else if (flat_) {
        flat.Forward(from, taps_y_[c], taps_x_[c], to);
      } else {
        ForwardPlane(from, g_, taps_y_[c], taps_x_[c], &buffers, to);
      }
    }
  }

  void BackwardPlanes(const T* x, const T* gy, T* gx, double* partial, int64_t begin,
                      int64_t end) const {
    const int64_t in = g_.h.in * g_.w.in, out = g_.h.out * g_.w.out;
    RowBuffers<T> wide(g_.w.in), narrow(g_.w.out);
    FlatPlane<T> flat(g_, masks_, flat_);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t group = item / slices_, slice = item % slices_;
      double* sum_x = partial + 2 * group * g_.channels;
      double* sum_y = sum_x + g_.channels;
      const int64_t first = g_.channels * slice / slices_;
      const int64_t last = g_.channels * (slice + 1) / slices_;
      for (int64_t n = First(group); n < First(group + 1); ++n) {
        for (int64_t c = first; c < last; ++c) {
          const int64_t p = n * g_.channels + c;
          const Tap<T>&ty = taps_y_[c], &tx = taps_x_[c];
          const T *xp = x + p * in, *gyp = gy + p * out;
          T* gxp = gx + p * in;
          if (Lost(c)) {
            std::fill(gxp, gxp + in, Nan());
          } else if (flat_) {
            flat.Backward(xp, gyp, ty, tx, gxp, &sum_x[c], &sum_y[c]);
          } else {
            BackwardPlane(gyp, g_, ty, tx, &wide, gxp);
            ShiftGradientPlane(xp, gyp, g_, ty, tx, &narrow, &sum_x[c], &sum_y[c]);
          }
        }
      }
    }
  }

  int64_t First(int64_t group) const { return g_.batch * group / groups_; }

  // One sampling of NHWC rows: either by window or by tables.
  struct Rows {
    std::vector<WindowAxis<T>> window;  // empty or {y, x}
    std::vector<AxisTable<T>> table;    // empty or {y, x}
    int64_t in_size, out_rows, out_width;
    int64_t buffer_size = 0;  // of a sampled row, for the window
  };

  Rows ForwardRows() const {
    Rows rows;
    rows.in_size = g_.h.in * g_.w.in * g_.channels;
    rows.out_rows = g_.h.out;
    rows.out_width = g_.w.out;
    if (window_) {
      rows.window = {WindowAxis<T>::Forward(g_.h, taps_y_), WindowAxis<T>::Forward(g_.w, taps_x_)};
      rows.buffer_size = rows.out_width * g_.channels;
    } else {
      rows.table = {AxisTable<T>::Forward(g_.h, taps_y_), AxisTable<T>::Forward(g_.w, taps_x_)};
    }
    return rows;
  }

  Rows AdjointRows() const {
    Rows rows;
    rows.in_size = g_.h.out * g_.w.out * g_.channels;
    rows.out_rows = g_.h.in;
    rows.out_width = g_.w.in;
    if (window_ && g_.h.stride == 1 && g_.w.stride == 1) {
      rows.window = {WindowAxis<T>::Adjoint(g_.h, taps_y_), WindowAxis<T>::Adjoint(g_.w, taps_x_)};
      rows.buffer_size = rows.out_width * g_.channels;
    } else {
      rows.table = {AxisTable<T>::Adjoint(g_.h, taps_y_), AxisTable<T>::Adjoint(g_.w, taps_x_)};
    }
    return rows;
  }

  // Rows [begin, end), counted over all images.
  void SampleRows(const T* in, const Rows& rows, int64_t begin, int64_t end, WindowRows<T>* buffer,
                  T* out) const {
    for (int64_t row = begin; row < end;) {
      const int64_t n = row / rows.out_rows, first = row % rows.out_rows;
      const int64_t last = std::min(rows.out_rows, first + end - row);
      const T* image = in + n * rows.in_size;
      T* to = out + n * rows.out_rows * rows.out_width * g_.channels;
      if (rows.window.empty()) {
        SampleByTable(image, rows.table[0], rows.table[1], first, last, to);
      } else {
        buffer->NewImage();
        SampleByWindow(image, rows.window[0], rows.window[1], g_.channels, first, last, buffer, to);
      }
      row += last - first;
    }
  }

  // Item = one band of rows of one group of images.
  void BackwardBands(const T* x, const T* gy, T* gx, double* partial, int64_t begin,
                     int64_t end) const {
    const int64_t in = g_.h.in * g_.w.in * g_.channels;
    const int64_t out = g_.h.out * g_.w.out * g_.channels;
    const Rows adjoint = AdjointRows();
    const bool by_window = window_ && !integer_;
    WindowRows<T> buffer(adjoint.buffer_size);
    WindowRows<T> samples(by_window ? g_.w.out * g_.channels : 0);
    WindowRows<T> slopes(by_window ? g_.w.out * g_.channels : 0);
    const auto wy = WindowAxis<T>::Forward(g_.h, taps_y_);
    const auto wx = WindowAxis<T>::Forward(g_.w, taps_x_);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t group = item / slices_, band = item % slices_;
      double* sum_x = partial + 2 * item * g_.channels;
      double* sum_y = sum_x + g_.channels;
      for (int64_t n = First(group); n < First(group + 1); ++n) {
        const int64_t top = n * g_.h.in + g_.h.in * band / slices_;
        const int64_t bottom = n * g_.h.in + g_.h.in * (band + 1) / slices_;
        SampleRows(gy, adjoint, top, bottom, &buffer, gx);
        ForgetPixels(gx, top * g_.w.in, bottom * g_.w.in);
        const int64_t first = g_.h.out * band / slices_, last = g_.h.out * (band + 1) / slices_;
        if (by_window) {
          samples.NewImage();
          slopes.NewImage();
          ShiftGradientByWindow(x + n * in, gy + n * out, wy, wx, g_.channels, first, last,
                                &samples, &slopes, sum_x, sum_y);
        } else {
          ShiftGradientByTap(x + n * in, gy + n * out, g_, taps_y_, taps_x_, first, last, sum_x,
                             sum_y);
        }
      }
    }
  }

  const Geometry g_;
  std::vector<Tap<T>> taps_x_, taps_y_;
  std::vector<int64_t> lost_;  // channels whose shift is not finite
  bool window_ = true;         // all offsets are -1 or 0
  bool integer_ = false;       // some shift is an exact integer
  bool flat_ = false;          // NCHW planes small enough for flat.h
  FlatMasks<T> masks_;
  int64_t slices_ = 1, groups_ = 1;
};

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CPU_H_

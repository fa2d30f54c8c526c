// kElement: shift2d element by element, in the order of the vectorised loops.
#ifndef SSPQ_SHIFT2D_CPU_REFERENCE_H_
#define SSPQ_SHIFT2D_CPU_REFERENCE_H_

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "custom_ops/shift2d/core/element.h"
#include "custom_ops/shift2d/core/geometry.h"
#include "custom_ops/shift2d/cpu/loops.h"
#include "custom_ops/shift2d/cpu/taps.h"

namespace sspq {

// One channel of one image.
template <typename T>
struct ChannelView {
  ChannelView(T* images, const Geometry& g, int64_t height, int64_t width, int64_t n, int64_t c)
      : height(height),
        width(width),
        step(g.nchw ? 1 : g.channels),
        from(images + (g.nchw ? (n * g.channels + c) * height * width
                              : n * height * width * g.channels + c)) {}

  T& At(int64_t r, int64_t q) const { return from[(r * width + q) * step]; }
  // What the functions of element.h read: zero outside.
  typename std::remove_const<T>::type operator()(int64_t r, int64_t q) const {
    const bool inside = static_cast<uint64_t>(r) < static_cast<uint64_t>(height) &&
                        static_cast<uint64_t>(q) < static_cast<uint64_t>(width);
    return inside ? At(r, q) : T(0);
  }

  int64_t height, width, step;
  T* from;
};

// Rows [begin, end) of `to`, from element(row, column); NaN if the channel's shift is not finite.
template <typename T, typename Element>
void FillRows(bool lost, const ChannelView<T>& to, int64_t begin, int64_t end,
              const Element& element) {
  const T nan = std::numeric_limits<T>::quiet_NaN();
  for (int64_t i = begin; i < end; ++i) {
    for (int64_t j = 0; j < to.width; ++j) to.At(i, j) = lost ? nan : element(i, j);
  }
}

// Rows [begin, end) of the output.
template <typename T>
void ReferenceForward(const Geometry& g, const ChannelTaps<T>& taps, const T* x, int64_t n,
                      int64_t c, int64_t begin, int64_t end, T* y) {
  const ChannelView<const T> from(x, g, g.h.in, g.w.in, n, c);
  const ChannelView<T> to(y, g, g.h.out, g.w.out, n, c);
  const Tap<T> ty = taps.y[c], tx = taps.x[c];
  FillRows(taps.IsLost(c), to, begin, end,
           [&](int64_t i, int64_t j) { return OutputElement(g.h, g.w, ty, tx, i, j, from); });
}

// Rows [begin, end) of the gradient to x.
template <typename T>
void ReferenceInputGradient(const Geometry& g, const ChannelTaps<T>& taps, const T* gy, int64_t n,
                            int64_t c, int64_t begin, int64_t end, T* gx) {
  const ChannelView<const T> from(gy, g, g.h.out, g.w.out, n, c);
  const ChannelView<T> to(gx, g, g.h.in, g.w.in, n, c);
  const Tap<T> ty = taps.y[c], tx = taps.x[c];
  FillRows(taps.IsLost(c), to, begin, end, [&](int64_t a, int64_t b) {
    return InputGradientElement(g.h, g.w, ty, tx, a, b, from);
  });
}

// Adds the sums over the channel's share of image n: over rows [begin, end) of the output where the
// shift is an integer, else of the input; pixel by pixel, short runs of a row as T first.
template <typename T>
void ReferenceShiftGradient(const Geometry& g, const ChannelTaps<T>& taps, const T* x, const T* gy,
                            int64_t n, int64_t c, int64_t begin, int64_t end, double* sum_x,
                            double* sum_y) {
  if (taps.IsLost(c)) return;
  const ChannelView<const T> from(x, g, g.h.in, g.w.in, n, c);
  const ChannelView<const T> gradient(gy, g, g.h.out, g.w.out, n, c);
  const Tap<T> ty = taps.y[c], tx = taps.x[c];
  const bool over_output = taps.IsInteger(c);
  const int64_t width = over_output ? g.w.out : g.w.in;
  for (int64_t i = begin; i < end; ++i) {
    for (int64_t first = 0; first < width; first += kSumRun) {
      const int64_t last = std::min(width, first + kSumRun);
      T run_x = 0, run_y = 0;
      for (int64_t j = first; j < last; ++j) {
        if (over_output) {
          const Derivative<T> d = DerivativeElement(g.h, g.w, ty, tx, i, j, from);
          run_x += gradient(i, j) * d.x;
          run_y += gradient(i, j) * d.y;
        } else {
          const Derivative<T> d = InputDerivative(g.h, g.w, ty, tx, i, j, gradient);
          run_x -= from(i, j) * d.x;
          run_y -= from(i, j) * d.y;
        }
      }
      *sum_x += static_cast<double>(run_x);
      *sum_y += static_cast<double>(run_y);
    }
  }
}

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CPU_REFERENCE_H_

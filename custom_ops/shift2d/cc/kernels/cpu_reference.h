// shift2d on the CPU, element by element, in the same order as the vectorised versions.
#ifndef SSPQ_SHIFT2D_CPU_REFERENCE_H_
#define SSPQ_SHIFT2D_CPU_REFERENCE_H_

#include <cstdint>
#include <limits>
#include <vector>

#include "custom_ops/shift2d/cc/kernels/cpu_flat_plan.h"
#include "custom_ops/shift2d/cc/kernels/cpu_plan.h"
#include "custom_ops/shift2d/cc/kernels/element.h"
#include "custom_ops/shift2d/cc/kernels/geometry.h"

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
    return r < 0 || r >= height || q < 0 || q >= width ? T(0) : At(r, q);
  }

  int64_t height, width, step;
  T* from;
};

// Rows [begin, end) of `to`, from element(row, column); NaN if the channel's shift is not finite.
template <typename T, typename Element>
void FillRows(const ChannelTaps<T>& taps, int64_t c, const ChannelView<T>& to, int64_t begin,
              int64_t end, const Element& element) {
  const T nan = std::numeric_limits<T>::quiet_NaN();
  for (int64_t i = begin; i < end; ++i) {
    for (int64_t j = 0; j < to.width; ++j) to.At(i, j) = taps.IsLost(c) ? nan : element(i, j);
  }
}

// Rows [begin, end) of the output.
template <typename T>
void ReferenceForward(const Geometry& g, const ChannelTaps<T>& taps, const T* x, int64_t n,
                      int64_t c, int64_t begin, int64_t end, T* y) {
  const ChannelView<const T> from(x, g, g.h.in, g.w.in, n, c);
  const ChannelView<T> to(y, g, g.h.out, g.w.out, n, c);
  FillRows(taps, c, to, begin, end, [&](int64_t i, int64_t j) {
    return OutputElement(g.h, g.w, taps.y[c], taps.x[c], i, j, from);
  });
}

// Rows [begin, end) of the gradient to x.
template <typename T>
void ReferenceInputGradient(const Geometry& g, const ChannelTaps<T>& taps, const T* gy, int64_t n,
                            int64_t c, int64_t begin, int64_t end, T* gx) {
  const ChannelView<const T> from(gy, g, g.h.out, g.w.out, n, c);
  const ChannelView<T> to(gx, g, g.h.in, g.w.in, n, c);
  FillRows(taps, c, to, begin, end, [&](int64_t a, int64_t b) {
    return InputGradientElement(g.h, g.w, taps.y[c], taps.x[c], a, b, from);
  });
}

// The sum of kFlatGroup sums, in the order that halves of a vector are added up.
inline double FoldSums(double* sums) {
  for (int half = kFlatGroup / 2; half > 0; half /= 2) {
    for (int k = 0; k < half; ++k) sums[k] += sums[k + half];
  }
  return sums[0];
}

// Adds the sums over rows [begin, end), of the output or, if SumsOverInput(), of the input: column
// by column for NCHW, all rows by place within a group for small planes of it, pixel by pixel for
// NHWC. Short runs are added up first, as T.
template <typename T>
void ReferenceShiftGradient(const Geometry& g, const ChannelTaps<T>& taps, const T* x, const T* gy,
                            int64_t n, int64_t c, int64_t begin, int64_t end, double* sum_x,
                            double* sum_y) {
  const ChannelView<const T> from(x, g, g.h.in, g.w.in, n, c);
  const ChannelView<const T> gradient(gy, g, g.h.out, g.w.out, n, c);
  const bool over_input = SumsOverInput(g, taps);
  const int64_t width = over_input ? g.w.in : g.w.out;
  // Terms k, k + step, ... before `end`, as T; pixels are counted in the order of memory.
  auto add_run = [&](int64_t k, int64_t end, int64_t step, double* to_x, double* to_y) {
    T run_x = 0, run_y = 0;
    for (; k < end; k += step) {
      const int64_t i = k / width, j = k % width;
      if (over_input) {
        const auto d = InputDerivative(g.h, g.w, taps.y[c], taps.x[c], i, j, gradient);
        run_x -= from(i, j) * d.x;
        run_y -= from(i, j) * d.y;
      } else {
        const auto d = DerivativeElement(g.h, g.w, taps.y[c], taps.x[c], i, j, from);
        run_x += gradient(i, j) * d.x;
        run_y += gradient(i, j) * d.y;
      }
    }
    *to_x += static_cast<double>(run_x);
    *to_y += static_cast<double>(run_y);
  };
  if (taps.IsLost(c)) return;
  if (!g.nchw) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t j = 0; j < width; j += kSumRun) {
        add_run(i * width + j, i * width + std::min(width, j + kSumRun), 1, sum_x, sum_y);
      }
    }
    return;
  }
  if (IsFlat(g)) {
    double places_x[kFlatGroup] = {}, places_y[kFlatGroup] = {};
    for (int64_t k = 0; k < g.h.out * width; k += kFlatRun) {
      const int64_t stop = std::min(k + kFlatRun, g.h.out * width);
      for (int64_t place = 0; place < kFlatGroup; ++place) {
        add_run(k + place, stop, kFlatGroup, &places_x[place], &places_y[place]);
      }
    }
    *sum_x += FoldSums(places_x);
    *sum_y += FoldSums(places_y);
    return;
  }
  double total_x = 0, total_y = 0;
  for (int64_t j = 0; j < width; ++j) {
    double column_x = 0, column_y = 0;
    for (int64_t i = begin; i < end; i += kSumRun) {
      const int64_t stop = std::min(end, i + kSumRun);
      add_run(i * width + j, stop * width, width, &column_x, &column_y);
    }
    total_x += column_x;
    total_y += column_y;
  }
  *sum_x += total_x;
  *sum_y += total_y;
}

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CPU_REFERENCE_H_

// Plans for the vectorised CPU kernels: everything that depends on sizes and shifts but not on the
// data, worked out once per call of the op. Here the taps of all channels, and the plan for NCHW
// planes.
#ifndef SSPQ_SHIFT2D_CPU_PLAN_H_
#define SSPQ_SHIFT2D_CPU_PLAN_H_

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/geometry.h"

namespace sspq {

// The taps of all channels.
template <typename T>
struct ChannelTaps {
  std::vector<Tap<T>> y, x;
  std::vector<int64_t> lost;  // channels whose shift is not finite

  // `shift` is [2, channels]: along W, then along H.
  ChannelTaps(const Geometry& g, const T* shift) : y(g.channels), x(g.channels) {
    for (int64_t c = 0; c < g.channels; ++c) {
      x[c] = MakeTap(shift[c], g.w);
      y[c] = MakeTap(shift[g.channels + c], g.h);
      if (IsLost(c)) lost.push_back(c);
    }
  }

  bool IsLost(int64_t c) const { return !x[c].finite || !y[c].finite; }
  bool IsInteger(int64_t c) const { return x[c].integer || y[c].integer; }
};

// One map between planes, for all channels.
template <typename T>
struct PlanePlan {
  PlaneShape shape;
  std::vector<AxisTap<T>> v, h;

  static PlanePlan Forward(const Geometry& g, const ChannelTaps<T>& taps) {
    return PlanePlan(Shape(g.h), Shape(g.w), taps, g, false);
  }

  static PlanePlan Adjoint(const Geometry& g, const ChannelTaps<T>& taps) {
    return PlanePlan(AdjointShape(g.h), AdjointShape(g.w), taps, g, true);
  }

 private:
  static AxisShape Shape(const Axis& a) { return {a.in, a.out, a.stride, false}; }
  static AxisShape AdjointShape(const Axis& a) { return {a.out, a.in, a.stride, a.stride > 1}; }

  PlanePlan(const AxisShape& v_shape, const AxisShape& h_shape, const ChannelTaps<T>& taps,
            const Geometry& g, bool adjoint)
      : shape{v_shape, h_shape}, v(g.channels), h(g.channels) {
    for (int64_t c = 0; c < g.channels; ++c) {
      const bool lost = taps.IsLost(c);
      v[c] = MakeAxisTap(shape.v, g.h, taps.y[c], adjoint, lost);
      h[c] = MakeAxisTap(shape.h, g.w, taps.x[c], adjoint, lost);
    }
  }

  static AxisTap<T> MakeAxisTap(const AxisShape& a, const Axis& axis, const Tap<T>& tap,
                                bool adjoint, bool lost) {
    AxisTap<T> t = {};
    t.integer = tap.integer;
    t.lo = tap.lo;
    t.hi = tap.hi;
    t.start = tap.offset - axis.pad;
    if (adjoint && !a.expand) {  // at stride 1: the same sampling, shift and weights reversed
      t.start = -t.start - 1;
      std::swap(t.lo, t.hi);
    }
    if (lost) {
      t.lo = std::numeric_limits<T>::quiet_NaN();
      return t;
    }
    const int64_t steps = a.expand ? a.in : a.out, limit = a.expand ? a.out : a.in;
    auto first_at = [&](int64_t pixel) {  // the first step that lands there or beyond
      return std::max<int64_t>(0,
                               std::min(steps, FloorDiv(pixel - t.start + a.stride - 1, a.stride)));
    };
    bool reached = false;
    for (int tap_at = -1; tap_at <= 1; ++tap_at) {
      t.begin[tap_at + 1] = first_at(-tap_at);
      t.end[tap_at + 1] = first_at(limit - tap_at);
      reached = reached || t.begin[tap_at + 1] < t.end[tap_at + 1];
    }
    if (reached && a.expand) {
      t.first = FloorDiv(-t.start, a.stride);
      t.phase = -t.start - t.first * a.stride;
    }
    return t;
  }
};

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CPU_PLAN_H_

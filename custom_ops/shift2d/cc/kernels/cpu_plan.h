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
    const Axis h = g.h, w = g.w;  // which nothing that is written here can change
    for (int64_t c = 0; c < g.channels; ++c) {
      x[c] = MakeTap(shift[c], w);
      y[c] = MakeTap(shift[g.channels + c], h);
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
    Bounds known_v, known_h;
    for (int64_t c = 0; c < g.channels; ++c) {
      const bool lost = taps.IsLost(c);
      SetTap(shape.v, g.h, taps.y[c], adjoint, lost, &known_v, &v[c]);
      SetTap(shape.h, g.w, taps.x[c], adjoint, lost, &known_h, &h[c]);
    }
  }

  // The taps worked out last whose starts have these low bits: near shifts have few starts.
  static constexpr int kKnown = 16;
  struct Bounds {
    AxisTap<T> taps[kKnown] = {};
    bool known[kKnown] = {};
  };

  static void SetTap(const AxisShape& a, const Axis& axis, const Tap<T>& tap, bool adjoint,
                     bool lost, Bounds* bounds, AxisTap<T>* t) {
    int64_t start = tap.offset - axis.pad;
    // At stride 1: the same sampling, shift and weights reversed.
    const bool reversed = adjoint && !a.expand;
    if (reversed) start = -start - 1;
    if (!lost) {
      AxisTap<T>* const of_start = &bounds->taps[start & (kKnown - 1)];
      bool* const known = &bounds->known[start & (kKnown - 1)];
      if (!*known || of_start->start != start) {
        *known = true;
        *of_start = {};
        of_start->start = start;
        SetBounds(a, of_start);
      }
      *t = *of_start;
    }
    t->integer = tap.integer;
    t->lo = lost ? std::numeric_limits<T>::quiet_NaN() : reversed ? tap.hi : tap.lo;
    t->hi = reversed ? tap.lo : tap.hi;
  }

  // begin, end, first and phase for a finite `start`, by divisions of 32 bits: those of 64 bits
  // take three times as long. Sizes are at most 2^28 (SizeLimit); a stride or start beyond kFar
  // leads to the same as kFar does.
  static void SetBounds(const AxisShape& a, AxisTap<T>* t) {
    constexpr int64_t kFar = int64_t{1} << 29;
    const int32_t steps = static_cast<int32_t>(a.expand ? a.in : a.out);
    const int32_t limit = static_cast<int32_t>(a.expand ? a.out : a.in);
    const int32_t stride = static_cast<int32_t>(std::min(a.stride, kFar));
    const int32_t start = static_cast<int32_t>(std::max(-kFar, std::min(kFar, t->start)));
    bool reached = false;
    for (int tap_at = -1; tap_at <= 1; ++tap_at) {
      // The first step that lands on the pixel or beyond.
      auto first_at = [&](int32_t pixel) {
        const int32_t step = FloorDiv(pixel - tap_at - start + stride - 1, stride);
        return std::max(0, std::min(steps, step));
      };
      t->begin[tap_at + 1] = first_at(0);
      t->end[tap_at + 1] = first_at(limit);
      reached = reached || t->begin[tap_at + 1] < t->end[tap_at + 1];
    }
    if (reached && a.expand) {
      t->first = FloorDiv(-start, stride);
      t->phase = static_cast<int32_t>(-t->start - t->first * a.stride);
    }
  }
};

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CPU_PLAN_H_

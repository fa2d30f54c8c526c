// Plans for the vectorised CPU kernels: everything that depends on sizes and shifts but not on the
// data, worked out once per call of the op. Here the taps of all channels, and the plan for NCHW
// planes.
#ifndef SSPQ_SHIFT2D_CPU_PLAN_H_
#define SSPQ_SHIFT2D_CPU_PLAN_H_

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "custom_ops/shift2d/cc/kernels/aligned.h"
#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/geometry.h"

namespace sspq {

// What channels have of their own, as wide as T, for loops that compilers vectorise. Of masks: -1
// or 0.
template <typename T>
using LaneOf = typename IntegerOf<T>::Type;

// The taps of all channels along one axis.
template <typename T>
struct AxisTaps {
  typedef LaneOf<T> Lane;

  AxisTaps(const Axis& a, const T* shift, int64_t channels)
      : offset(channels), finite(channels), integer(channels), lo(channels), hi(channels) {
    AxisOf<Lane> axis;
    axis.in = static_cast<Lane>(a.in);
    axis.out = static_cast<Lane>(a.out);
    axis.stride = static_cast<Lane>(a.stride);
    axis.pad = static_cast<Lane>(a.pad);
    Split(axis, shift, channels, offset.data(), lo.data(), hi.data(), finite.data(),
          integer.data());
  }

  Tap<T> operator[](int64_t c) const {
    Tap<T> tap;
    tap.offset = offset[c];
    tap.lo = lo[c];
    tap.hi = hi[c];
    tap.finite = finite[c] != 0;
    tap.integer = integer[c] != 0;
    return tap;
  }

  AlignedRoom<Lane> offset, finite, integer;
  AlignedRoom<T> lo, hi;

 private:
  // Without __restrict__, so many pointers might overlap that compilers give up.
  static void Split(const AxisOf<Lane> axis, const T* __restrict__ shift, int64_t channels,
                    Lane* __restrict__ offset, T* __restrict__ lo, T* __restrict__ hi,
                    Lane* __restrict__ finite, Lane* __restrict__ integer) {
    for (int64_t c = 0; c < channels; ++c) {
      Lane at;
      T low, high;
      bool is_finite, is_integer;
      SplitShift(shift[c], axis, &at, &low, &high, &is_finite, &is_integer);
      offset[c] = at;
      lo[c] = low;
      hi[c] = high;
      finite[c] = -static_cast<Lane>(is_finite);
      integer[c] = -static_cast<Lane>(is_integer);
    }
  }
};

// The taps of all channels.
template <typename T>
struct ChannelTaps {
  const int64_t channels;
  AxisTaps<T> y, x;
  std::vector<int64_t> lost;  // channels whose shift is not finite: all weights are NaN
  bool integer = false;       // some shift is an integer

  // `shift` is [2, channels]: along W, then along H.
  ChannelTaps(const Geometry& g, const T* shift)
      : channels(g.channels), y(g.h, shift + channels, channels), x(g.w, shift, channels) {
    LaneOf<T> finite = -1, integers = 0;
    for (int64_t c = 0; c < channels; ++c) {
      finite &= x.finite[c] & y.finite[c];
      integers |= x.integer[c] | y.integer[c];
    }
    integer = integers != 0;
    for (int64_t c = 0; finite == 0 && c < channels; ++c) {
      if (!IsLost(c)) continue;
      lost.push_back(c);
      x.lo[c] = x.hi[c] = y.lo[c] = y.hi[c] = std::numeric_limits<T>::quiet_NaN();
    }
  }

  bool IsLost(int64_t c) const { return (x.finite[c] & y.finite[c]) == 0; }
};

// Whether planes have at most this many rows and columns.
inline bool AreFlat(const Geometry& g, int64_t most) {
  auto small = [&](const Axis& a) { return a.stride == 1 && a.pad == 0 && a.in <= most; };
  return g.nchw && small(g.h) && small(g.w);
}

// Whether they are small enough for sums. It decides on the order of these, so no version of the
// loops and nothing but sizes may matter.
inline bool IsFlat(const Geometry& g) { return AreFlat(g, kMostFlat); }

// Whether the gradient to the shift is summed over the input, in one pass with the one to x.
template <typename T>
bool SumsOverInput(const Geometry& g, const ChannelTaps<T>& taps) {
  const bool one_pass = g.nchw ? IsFlat(g) : g.h.stride == 1 && g.w.stride == 1;
  return one_pass && !taps.integer;
}

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
    t->lo = reversed ? tap.hi : tap.lo;
    t->hi = reversed ? tap.lo : tap.hi;
  }

  // begin, end, first and phase for a finite `start`, by divisions of 32 bits: those of 64 bits
  // take three times as long. Sizes are at most 2^28 (SizeLimit), strides hardly more (MakeAxis); a
  // start beyond kFar leads to the same as kFar does.
  static void SetBounds(const AxisShape& a, AxisTap<T>* t) {
    constexpr int64_t kFar = int64_t{1} << 29;
    const int32_t steps = static_cast<int32_t>(a.expand ? a.in : a.out);
    const int32_t limit = static_cast<int32_t>(a.expand ? a.out : a.in);
    const int32_t stride = static_cast<int32_t>(a.stride);
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

// Plans for the vectorised CPU kernels: everything that depends on sizes and shifts but not on the
// data, worked out once per call of the op.
#ifndef SSPQ_SHIFT2D_CPU_PLAN_H_
#define SSPQ_SHIFT2D_CPU_PLAN_H_

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "custom_ops/shift2d/cc/kernels/aligned.h"
#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/element.h"
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

// ---- NCHW

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

// ---- NHWC

// What channels read, for all distances of one map.
template <typename T>
class ReadPlan {
 public:
  explicit ReadPlan(int64_t channels) : channels_(channels), masks_(channels, 0) {}

  // Appends a distance (row(c), column(c)) for every channel c; where used(c) is false, c reads
  // nothing.
  template <typename Used, typename Row, typename Column>
  void Add(const Used& used, const Row& row, const Column& column) {
    const int64_t none = std::numeric_limits<int64_t>::max();
    int64_t top = none, left = none, bottom = -none, right = -none;
    for (int64_t c = 0; c < channels_; ++c) {
      const bool reads = used(c);
      const int64_t r = reads ? row(c) : 0, d = reads ? column(c) : 0;
      rows_.push_back(r);
      columns_.push_back(d);
      used_.push_back(reads ? -1 : 0);
      if (!reads) continue;
      top = std::min(top, r);
      bottom = std::max(bottom, r);
      left = std::min(left, d);
      right = std::max(right, d);
    }
    if (top == none) top = left = bottom = right = 0;
    const bool window = bottom - top <= 1 && right - left <= 1;
    windows_ = windows_ && window;
    distances_.push_back({top, left, right, window ? static_cast<int64_t>(masks_.size()) : -1});
    if (window) AddMasks(distances_.back());
  }

  void Fill(PixelReads<T>* m) const {
    m->channels = channels_;
    m->windows = windows_;
    m->distances = distances_.data();
    m->masks = masks_.data();
    m->rows = rows_.data();
    m->columns = columns_.data();
    m->used = used_.data();
  }

 private:
  typedef typename std::conditional<sizeof(T) == 4, int32_t, int64_t>::type Lane;

  void AddMasks(const PixelDistances& d) {
    masks_.resize(d.mask + 4 * channels_, 0);
    const size_t last = used_.size() - channels_;
    for (int64_t c = 0; c < channels_; ++c) {
      const int64_t which = 2 * (rows_[last + c] - d.row) + (columns_[last + c] - d.column);
      if (used_[last + c]) masks_[d.mask + which * channels_ + c] = -1;
    }
  }

  const int64_t channels_;
  bool windows_ = true;
  std::vector<PixelDistances> distances_;
  AlignedVector<Lane> masks_, rows_, columns_, used_;
};

// A sampling of NHWC images: the forward map, or its adjoint at stride 1.
template <typename T>
class PixelPlan {
 public:
  PixelPlan(const Geometry& g, const ChannelTaps<T>& taps, bool adjoint) : reads_(g.channels) {
    map_.in_h = adjoint ? g.h.out : g.h.in;
    map_.in_w = adjoint ? g.w.out : g.w.in;
    map_.out_h = adjoint ? g.h.in : g.h.out;
    map_.out_w = adjoint ? g.w.in : g.w.out;
    map_.stride_h = adjoint ? 1 : g.h.stride;
    map_.stride_w = adjoint ? 1 : g.w.stride;
    map_.integer = false;
    for (int64_t c = 0; c < g.channels; ++c) {
      map_.integer = map_.integer || taps.IsInteger(c);
      Append(taps.y[c], adjoint, taps.IsLost(c), &lo_y_, &hi_y_, &scale_y_);
      Append(taps.x[c], adjoint, taps.IsLost(c), &lo_x_, &hi_x_, &scale_x_);
    }
    auto distance = [&](const Axis& a, const Tap<T>& t) {
      return adjoint ? a.pad - t.offset - 1 : t.offset - a.pad;
    };
    reads_.Add([&](int64_t c) { return !taps.IsLost(c); },
               [&](int64_t c) { return distance(g.h, taps.y[c]); },
               [&](int64_t c) { return distance(g.w, taps.x[c]); });
    reads_.Fill(&map_);
    map_.lo_y = lo_y_.data();
    map_.hi_y = hi_y_.data();
    map_.lo_x = lo_x_.data();
    map_.hi_x = hi_x_.data();
    map_.scale_y = scale_y_.data();
    map_.scale_x = scale_x_.data();
  }
  PixelPlan(const PixelPlan&) = delete;  // the map points into the plan

  const PixelMap<T>& map() const { return map_; }

 private:
  // A weight of NaN makes the whole channel NaN.
  static void Append(const Tap<T>& t, bool adjoint, bool lost, AlignedVector<T>* lo,
                     AlignedVector<T>* hi, AlignedVector<T>* scale) {
    const T nan = std::numeric_limits<T>::quiet_NaN();
    lo->push_back(lost ? nan : adjoint ? t.hi : t.lo);
    hi->push_back(lost ? nan : adjoint ? t.lo : t.hi);
    scale->push_back(t.integer ? T(0.5) : T(1));
  }

  ReadPlan<T> reads_;
  PixelMap<T> map_;
  AlignedVector<T> lo_y_, hi_y_, lo_x_, hi_x_, scale_y_, scale_x_;
};

// The adjoint of NHWC images where some stride is 2 or more.
template <typename T>
class ExpandPlan {
 public:
  ExpandPlan(const Geometry& g, const ChannelTaps<T>& taps)
      : reads_(g.channels), y_(g.h, taps.y, taps), x_(g.w, taps.x, taps) {
    map_.in_h = g.h.out;
    map_.in_w = g.w.out;
    map_.out_h = g.h.in;
    map_.out_w = g.w.in;
    map_.phases_h = y_.phases;
    map_.phases_w = x_.phases;
    map_.taps_h = y_.taps;
    map_.taps_w = x_.taps;
    for (int64_t py = 0; py < y_.phases * y_.taps; ++py) {
      for (int64_t px = 0; px < x_.phases * x_.taps; ++px) {
        const int64_t at_y = py * g.channels, at_x = px * g.channels;
        reads_.Add([&](int64_t c) { return y_.reads[at_y + c] && x_.reads[at_x + c]; },
                   [&](int64_t c) { return y_.distance[at_y + c]; },
                   [&](int64_t c) { return x_.distance[at_x + c]; });
      }
    }
    reads_.Fill(&map_);
    map_.weight_y = y_.weight.data();
    map_.weight_x = x_.weight.data();
  }
  ExpandPlan(const ExpandPlan&) = delete;  // the map points into the plan

  const ExpandMap<T>& map() const { return map_; }

 private:
  // [phases, taps, channels], by ReadersOf.
  struct AxisReaders {
    AxisReaders(const Axis& a, const std::vector<Tap<T>>& axis_taps, const ChannelTaps<T>& all)
        : phases(a.stride == 1 ? 1 : std::min(a.stride, a.in)), taps(a.stride == 1 ? 2 : 1) {
      for (int64_t p = 0; p < phases; ++p) {
        for (int tap = 0; tap < taps; ++tap) {
          for (size_t c = 0; c < axis_taps.size(); ++c) {
            const Reads<T> r = ReadersOf(a, axis_taps[c], p);
            const bool lost = all.IsLost(c);
            reads.push_back(!lost && tap < r.count);
            distance.push_back(r.first + tap);
            weight.push_back(lost            ? std::numeric_limits<T>::quiet_NaN()
                             : tap < r.count ? r.weight[tap]
                                             : T(0));
          }
        }
      }
    }

    int64_t phases;
    int32_t taps;
    std::vector<char> reads;
    std::vector<int64_t> distance;
    AlignedVector<T> weight;
  };

  ReadPlan<T> reads_;
  AxisReaders y_, x_;
  ExpandMap<T> map_;
};

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CPU_PLAN_H_

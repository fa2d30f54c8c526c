// Plans for NHWC images.
#ifndef SSPQ_SHIFT2D_CPU_PIXEL_PLAN_H_
#define SSPQ_SHIFT2D_CPU_PIXEL_PLAN_H_

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "custom_ops/shift2d/cc/kernels/aligned.h"
#include "custom_ops/shift2d/cc/kernels/cpu_plan.h"
#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/element.h"
#include "custom_ops/shift2d/cc/kernels/geometry.h"

namespace sspq {

// What channels read, for all distances of one map.
template <typename T>
class ReadPlan {
 public:
  ReadPlan(int64_t channels, int64_t distances)
      : channels_(channels),
        masks_(2 * distances * channels, 0),
        rows_(distances * channels),
        columns_(distances * channels),
        used_(distances * channels),
        zeros_(channels) {
    distances_.reserve(distances);
  }

  // Appends a distance (row(c), column(c)) for every channel c; where used(c) is false, c reads
  // nothing.
  template <typename Used, typename Row, typename Column>
  void Add(const Used& used, const Row& row, const Column& column) {
    const int64_t none = std::numeric_limits<int64_t>::max();
    const int64_t at = static_cast<int64_t>(distances_.size()) * channels_;
    int64_t top = none, left = none, bottom = -none, right = -none;
    for (int64_t c = 0; c < channels_; ++c) {
      const bool reads = used(c);
      const int64_t r = reads ? row(c) : 0, d = reads ? column(c) : 0;
      rows_[at + c] = static_cast<Lane>(r);
      columns_[at + c] = static_cast<Lane>(d);
      used_[at + c] = reads ? -1 : 0;
      all_used_ = all_used_ && reads;
      if (!reads) continue;
      top = std::min(top, r);
      bottom = std::max(bottom, r);
      left = std::min(left, d);
      right = std::max(right, d);
    }
    if (top == none) top = left = bottom = right = 0;
    const bool window = bottom - top <= 1 && right - left <= 1;
    windows_ = windows_ && window;
    distances_.push_back({top, left, bottom, right, window ? 2 * at : -1});
    if (window) SetMasks(distances_.back(), at);
  }

  void Fill(PixelReads<T>* m) const {
    m->channels = channels_;
    m->windows = windows_;
    m->distances = distances_.data();
    m->masks = masks_.data();
    m->rows = rows_.data();
    m->columns = columns_.data();
    m->used = used_.data();
    m->zeros = zeros_.data();
  }

  bool all_used() const { return all_used_; }

  // Of the first distance.
  std::vector<FarWindow> FarWindows() const {
    std::vector<FarWindow> windows((channels_ + kFarGroup - 1) / kFarGroup);
    for (int64_t first = 0; first < channels_; first += kFarGroup) {
      const int64_t end = std::min(channels_, first + kFarGroup);
      FarWindow* const w = &windows[first / kFarGroup];
      if (!Span(rows_, first, end, &w->row, &w->rows) ||
          !Span(columns_, first, end, &w->column, &w->columns)) {
        w->rows = 0;
      }
    }
    return windows;
  }

 private:
  typedef typename std::conditional<sizeof(T) == 4, int32_t, int64_t>::type Lane;

  // The least and the number of different `values` of channels [first, end) that read; whether
  // these are few.
  bool Span(const AlignedVector<Lane>& values, int64_t first, int64_t end, int32_t* least,
            int32_t* count) const {
    Lane low = std::numeric_limits<Lane>::max(), high = std::numeric_limits<Lane>::min();
    for (int64_t c = first; c < end; ++c) {
      if (!used_[c]) continue;
      low = std::min(low, values[c]);
      high = std::max(high, values[c]);
    }
    if (low > high) low = high = 0;
    *least = static_cast<int32_t>(low);
    *count = static_cast<int32_t>(std::min<int64_t>(high - low + int64_t{1}, kFarReach + 1));
    return *count <= kFarReach;
  }

  void SetMasks(const PixelDistances& d, int64_t at) {
    for (int64_t c = 0; c < channels_; ++c) {
      if (!used_[at + c]) continue;
      masks_[d.mask + c] = rows_[at + c] != d.row ? -1 : 0;
      masks_[d.mask + channels_ + c] = columns_[at + c] != d.column ? -1 : 0;
    }
  }

  const int64_t channels_;
  bool windows_ = true, all_used_ = true;
  std::vector<PixelDistances> distances_;
  AlignedVector<Lane> masks_, rows_, columns_, used_;
  const AlignedVector<T> zeros_;
};

// A sampling of NHWC images: the forward map, or its adjoint at stride 1.
template <typename T>
class PixelPlan {
 public:
  PixelPlan(const Geometry& g, const ChannelTaps<T>& taps, bool adjoint)
      : reads_(g.channels, 1), y_(taps.y, taps, adjoint), x_(taps.x, taps, adjoint) {
    map_.in_h = adjoint ? g.h.out : g.h.in;
    map_.in_w = adjoint ? g.w.out : g.w.in;
    map_.out_h = adjoint ? g.h.in : g.h.out;
    map_.out_w = adjoint ? g.w.in : g.w.out;
    map_.stride_h = adjoint ? 1 : g.h.stride;
    map_.stride_w = adjoint ? 1 : g.w.stride;
    map_.integer = false;
    for (int64_t c = 0; c < g.channels; ++c) map_.integer = map_.integer || taps.IsInteger(c);
    auto distance = [&](const Axis& a, const Tap<T>& t) {
      return adjoint ? a.pad - t.offset - 1 : t.offset - a.pad;
    };
    auto row = [&](int64_t c) { return distance(g.h, taps.y[c]); };
    auto column = [&](int64_t c) { return distance(g.w, taps.x[c]); };
    // Whether any of three taps ever lies between 0 and `in`.
    auto reached = [](int64_t from, int64_t out, int64_t stride, int64_t in) {
      return from <= in && from + (out - 1) * stride + 1 >= 0;
    };
    reads_.Add(
        [&](int64_t c) {
          return !taps.IsLost(c) && reached(row(c), map_.out_h, map_.stride_h, map_.in_h) &&
                 reached(column(c), map_.out_w, map_.stride_w, map_.in_w);
        },
        row, column);
    reads_.Fill(&map_);
    map_.all_used = reads_.all_used();
    if (InStrips(map_)) zero_row_.resize(map_.in_w * map_.channels, T(0));
    map_.zero_row = zero_row_.data();
    const bool far =
        !map_.windows && map_.stride_h <= kMostFarStride && map_.stride_w <= kMostFarStride;
    if (far) far_ = reads_.FarWindows();
    map_.far = far ? far_.data() : nullptr;
    map_.lo_y = y_.lo.data();
    map_.hi_y = y_.hi.data();
    map_.lo_x = x_.lo.data();
    map_.hi_x = x_.hi.data();
    map_.scale_y = y_.scale.data();
    map_.scale_x = x_.scale.data();
  }
  PixelPlan(const PixelPlan&) = delete;  // the map points into the plan

  const PixelMap<T>& map() const { return map_; }
  // Values for sample_rows and shift_gradient_rows to work in, the latter with `rows` at a time.
  int64_t SampleRoom() const {
    return map_.windows ? 0 : map_.out_w * map_.channels + FarRoom(map_, 1);
  }
  int64_t CorrelateRoom(int64_t rows) const {
    const int64_t row = map_.out_w * map_.channels, runs = rows * RunsOf(map_.out_w) * 2;
    if (!map_.windows) return 3 * row + FarRoom(map_, 2) + runs * kFarGroup;
    if (map_.integer) return 3 * row;
    return (InStrips(map_) ? runs : 2) * map_.channels;
  }

 private:
  // One axis, by channel. A weight of NaN makes the whole channel NaN.
  struct AxisWeights {
    AxisWeights(const std::vector<Tap<T>>& axis_taps, const ChannelTaps<T>& all, bool adjoint)
        : lo(axis_taps.size()), hi(axis_taps.size()), scale(axis_taps.size()) {
      for (size_t c = 0; c < axis_taps.size(); ++c) {
        const Tap<T>& t = axis_taps[c];
        lo[c] = adjoint ? t.hi : t.lo;
        hi[c] = adjoint ? t.lo : t.hi;
        scale[c] = t.integer ? T(0.5) : T(1);
      }
      for (int64_t c : all.lost) lo[c] = hi[c] = std::numeric_limits<T>::quiet_NaN();
    }

    AlignedVector<T> lo, hi, scale;
  };

  ReadPlan<T> reads_;
  AlignedVector<T> zero_row_;
  std::vector<FarWindow> far_;
  AxisWeights y_, x_;
  PixelMap<T> map_;
};

// The adjoint of NHWC images where some stride is 2 or more.
template <typename T>
class ExpandPlan {
 public:
  ExpandPlan(const Geometry& g, const ChannelTaps<T>& taps)
      : y_(g.h, taps.y, taps),
        x_(g.w, taps.x, taps),
        reads_(g.channels, y_.phases * y_.taps * x_.phases * x_.taps) {
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
        : phases(a.stride == 1 ? 1 : std::min(a.stride, a.in)),
          taps(a.stride == 1 ? 2 : 1),
          reads(phases * taps * axis_taps.size()),
          distance(reads.size()),
          weight(reads.size()) {
      size_t at = 0;
      for (int64_t p = 0; p < phases; ++p) {
        for (int tap = 0; tap < taps; ++tap) {
          for (size_t c = 0; c < axis_taps.size(); ++c, ++at) {
            const Reads<T> r = ReadersOf(a, axis_taps[c], p);
            const bool lost = all.IsLost(c);
            reads[at] = !lost && tap < r.count;
            distance[at] = r.first + tap;
            weight[at] = lost            ? std::numeric_limits<T>::quiet_NaN()
                         : tap < r.count ? r.weight[tap]
                                         : T(0);
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

  const AxisReaders y_, x_;
  ReadPlan<T> reads_;
  ExpandMap<T> map_;
};

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CPU_PIXEL_PLAN_H_

// Plans for NHWC images.
#ifndef SSPQ_SHIFT2D_CPU_PIXEL_PLAN_H_
#define SSPQ_SHIFT2D_CPU_PIXEL_PLAN_H_

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "custom_ops/shift2d/cc/kernels/aligned.h"
#include "custom_ops/shift2d/cc/kernels/cpu_plan.h"
#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/element.h"
#include "custom_ops/shift2d/cc/kernels/geometry.h"

namespace sspq {

// How far away channels read along one axis, and whether they do at all: -1 or 0. Where a channel
// does not, its distance is 0.
template <typename T>
struct AxisDistances {
  explicit AxisDistances(int64_t size) : distance(size), reads(size) {}

  void Set(int64_t k, bool does, int64_t value) {
    distance[k] = does ? static_cast<LaneOf<T>>(value) : 0;
    reads[k] = does ? -1 : 0;
  }

  AlignedRoom<LaneOf<T>> distance, reads;
};

// What channels read, for all distances of one map.
template <typename T>
class ReadPlan {
 public:
  ReadPlan(int64_t channels, int64_t distances)
      : channels_(channels),
        masks_(2 * distances * channels),
        rows_(distances * channels),
        columns_(distances * channels),
        used_(distances * channels),
        zeros_(channels) {
    distances_.reserve(distances);
  }

  // Appends a distance for every channel c: rows.distance[at_row + c] and likewise along W. Where
  // one of them does not read, c reads nothing. The loops are such that compilers vectorise them.
  void Add(const AxisDistances<T>& rows, int64_t at_row, const AxisDistances<T>& columns,
           int64_t at_column) {
    const int64_t at = static_cast<int64_t>(distances_.size()) * channels_;
    Lane* const used = used_.data() + at;
    const Lane* const in_rows = rows.reads.data() + at_row;
    const Lane* const in_columns = columns.reads.data() + at_column;
    Lane all = -1;
    for (int64_t c = 0; c < channels_; ++c) {
      used[c] = in_rows[c] & in_columns[c];
      all &= used[c];
    }
    all_used_ = all_used_ && all != 0;
    PixelDistances d;
    Lane *const row = rows_.data() + at, *const column = columns_.data() + at;
    for (int64_t c = 0; c < channels_; ++c) {
      row[c] = rows.distance[at_row + c] & used[c];
      column[c] = columns.distance[at_column + c] & used[c];
    }
    Range(row, used, channels_, &d.row, &d.last_row);
    Range(column, used, channels_, &d.column, &d.last_column);
    const bool window = d.last_row - d.row <= 1 && d.last_column - d.column <= 1;
    d.mask = window ? 2 * at : -1;
    windows_ = windows_ && window;
    distances_.push_back(d);
    if (!window) return;
    SetMask(row, used, d.row, masks_.data() + d.mask);
    SetMask(column, used, d.column, masks_.data() + d.mask + channels_);
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
      const Lane* const used = used_.data();
      const bool all = std::all_of(used + first, used + end, [](Lane v) { return v != 0; });
      if (!all || !Span(rows_, first, end, &w->row, &w->rows) ||
          !Span(columns_, first, end, &w->column, &w->columns)) {
        w->rows = 0;
      }
    }
    return windows;
  }

 private:
  typedef LaneOf<T> Lane;

  // The least and the greatest of `count` distances, of those that are used; the others are 0.
  static void Range(const Lane* distance, const Lane* used, int64_t count, int64_t* least,
                    int64_t* greatest) {
    const Lane most = std::numeric_limits<Lane>::max();
    Lane low = most, high = -most;
    for (int64_t c = 0; c < count; ++c) {
      low = std::min<Lane>(low, distance[c] | (~used[c] & most));
      high = std::max<Lane>(high, distance[c] | (~used[c] & -most));
    }
    const bool any = low <= high;
    *least = any ? low : 0;
    *greatest = any ? high : 0;
  }

  // Which channels read the second of two rows or columns.
  void SetMask(const Lane* distance, const Lane* used, int64_t first, Lane* mask) const {
    for (int64_t c = 0; c < channels_; ++c) {
      mask[c] = -static_cast<Lane>(distance[c] != static_cast<Lane>(first)) & used[c];
    }
  }

  // From the least to the greatest distance of channels [first, end): the first, how many there
  // are, and whether these are few.
  bool Span(const AlignedRoom<Lane>& distances, int64_t first, int64_t end, int32_t* least,
            int32_t* count) const {
    int64_t low, high;
    Range(distances.data() + first, used_.data() + first, end - first, &low, &high);
    *least = static_cast<int32_t>(low);
    *count = static_cast<int32_t>(std::min<int64_t>(high - low + 1, kFarReach + 1));
    return *count <= kFarReach;
  }

  const int64_t channels_;
  bool windows_ = true, all_used_ = true;
  std::vector<PixelDistances> distances_;
  AlignedRoom<Lane> masks_, rows_, columns_, used_;
  const AlignedVector<T> zeros_;
};

// A sampling of NHWC images: the forward map, or its adjoint at stride 1.
template <typename T>
class PixelPlan {
 public:
  PixelPlan(const Geometry& g, const ChannelTaps<T>& taps, bool adjoint) : reads_(g.channels, 1) {
    map_.in_h = adjoint ? g.h.out : g.h.in;
    map_.in_w = adjoint ? g.w.out : g.w.in;
    map_.out_h = adjoint ? g.h.in : g.h.out;
    map_.out_w = adjoint ? g.w.in : g.w.out;
    map_.stride_h = adjoint ? 1 : g.h.stride;
    map_.stride_w = adjoint ? 1 : g.w.stride;
    map_.integer = taps.integer;
    reads_.Add(Distances(g.h, taps.y, taps, adjoint), 0, Distances(g.w, taps.x, taps, adjoint), 0);
    reads_.Fill(&map_);
    map_.all_used = reads_.all_used();
    if (InStrips(map_)) zero_row_.resize(map_.in_w * map_.channels, T(0));
    map_.zero_row = zero_row_.data();
    const bool far =
        !map_.windows && map_.stride_h <= kMostFarStride && map_.stride_w <= kMostFarStride;
    if (far) far_ = reads_.FarWindows();
    map_.far = far ? far_.data() : nullptr;
    map_.lo_y = adjoint ? taps.y.hi.data() : taps.y.lo.data();
    map_.hi_y = adjoint ? taps.y.lo.data() : taps.y.hi.data();
    map_.lo_x = adjoint ? taps.x.hi.data() : taps.x.lo.data();
    map_.hi_x = adjoint ? taps.x.lo.data() : taps.x.hi.data();
    map_.integer_y = taps.y.integer.data();
    map_.integer_x = taps.x.integer.data();
  }
  PixelPlan(const PixelPlan&) = delete;  // the map points into the plan, and into the taps

  const PixelMap<T>& map() const { return map_; }
  // Values for sample_rows to work in; for shift_gradient_rows and, of the adjoint map,
  // backward_rows, with `rows` at a time.
  int64_t SampleRoom() const { return map_.windows ? 0 : Row() + FarRoom(map_, 1); }
  int64_t ShiftGradientRoom(int64_t rows) const {
    if (map_.integer) return 3 * Row();
    return map_.windows ? 2 * map_.channels : 3 * Row() + FarRunsRoom(rows);
  }
  int64_t BackwardRoom(int64_t rows) const {
    if (map_.windows) return rows * RunsOf(map_.out_w) * 2 * map_.channels;
    return 2 * Row() + FarRunsRoom(rows);
  }

 private:
  int64_t Row() const { return map_.out_w * map_.channels; }
  int64_t FarRunsRoom(int64_t rows) const {
    return FarRoom(map_, 2) + rows * RunsOf(map_.out_w) * 2 * kFarGroup;
  }

  static AxisDistances<T> Distances(const Axis& a, const AxisTaps<T>& taps,
                                    const ChannelTaps<T>& all, bool adjoint) {
    typedef LaneOf<T> Lane;
    const int64_t channels = all.channels;
    AxisDistances<T> distances(channels);
    const Lane in = static_cast<Lane>(adjoint ? a.out : a.in), pad = static_cast<Lane>(a.pad);
    // From the first tap on.
    const Lane last = static_cast<Lane>(adjoint ? a.in : (a.out - 1) * a.stride + 1);
    const Lane* const offsets = taps.offset.data();
    Lane *const distance = distances.distance.data(), *const reads = distances.reads.data();
    for (int64_t c = 0; c < channels; ++c) {
      const Lane from = adjoint ? pad - offsets[c] - 1 : offsets[c] - pad;
      // Whether any of three taps ever lies between 0 and `in`.
      reads[c] = -static_cast<Lane>((from <= in) & (from + last >= 0));
      distance[c] = from & reads[c];
    }
    for (int64_t c : all.lost) distances.Set(c, false, 0);
    return distances;
  }

  ReadPlan<T> reads_;
  AlignedVector<T> zero_row_;
  std::vector<FarWindow> far_;
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
        reads_.Add(y_.distances, py * g.channels, x_.distances, px * g.channels);
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
    AxisReaders(const Axis& a, const AxisTaps<T>& axis_taps, const ChannelTaps<T>& all)
        : phases(a.stride == 1 ? 1 : std::min(a.stride, a.in)),
          taps(a.stride == 1 ? 2 : 1),
          distances(phases * taps * all.channels),
          weight(phases * taps * all.channels) {
      int64_t at = 0;
      for (int64_t p = 0; p < phases; ++p) {
        for (int tap = 0; tap < taps; ++tap) {
          for (int64_t c = 0; c < all.channels; ++c, ++at) {
            const Reads<T> r = ReadersOf(a, axis_taps[c], p);
            const bool lost = all.IsLost(c);
            distances.Set(at, !lost && tap < r.count, r.first + tap);
            weight[at] = lost            ? std::numeric_limits<T>::quiet_NaN()
                         : tap < r.count ? r.weight[tap]
                                         : T(0);
          }
        }
      }
    }

    int64_t phases;
    int32_t taps;
    AxisDistances<T> distances;
    AlignedRoom<T> weight;
  };

  const AxisReaders y_, x_;
  ReadPlan<T> reads_;
  ExpandMap<T> map_;
};

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CPU_PIXEL_PLAN_H_

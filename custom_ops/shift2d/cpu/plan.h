// The plan of one map for the vectorised loops: which path each line of channels takes, and what
// these know of it.
#ifndef SSPQ_SHIFT2D_CPU_PLAN_H_
#define SSPQ_SHIFT2D_CPU_PLAN_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "custom_ops/cpu/aligned.h"
#include "custom_ops/shift2d/core/geometry.h"
#include "custom_ops/shift2d/cpu/loops.h"
#include "custom_ops/shift2d/cpu/paths.h"
#include "custom_ops/shift2d/cpu/taps.h"

namespace sspq {

// The forward map of float32 images or, for the backward pass, its adjoint.
class Plan {
 public:
  Plan(const Geometry& g, const ChannelTaps<float>& taps, Pass pass)
      : rows_(taps.y.padded),
        columns_(taps.y.padded),
        windows_(taps.y.padded / kLineChannels),
        paths_(windows_.size()) {
    const bool adjoint = pass == Pass::kBackward;
    // With zeros between the outputs, as many as the input has places for.
    map_.in_h = adjoint ? Spread(g.h) : g.h.in;
    map_.in_w = adjoint ? Spread(g.w) : g.w.in;
    map_.out_h = adjoint ? g.h.in : g.h.out;
    map_.out_w = adjoint ? g.w.in : g.w.out;
    map_.stride_h = adjoint ? 1 : g.h.stride;
    map_.stride_w = adjoint ? 1 : g.w.stride;
    map_.zeros_h = adjoint ? g.h.stride : 1;
    map_.zeros_w = adjoint ? g.w.stride : 1;
    map_.pitch = g.channels;
    map_.lines = static_cast<int64_t>(windows_.size());
    SetFirst(g.h.pad, taps.y, adjoint, rows_.data());
    SetFirst(g.w.pad, taps.x, adjoint, columns_.data());
    // The adjoint at stride 1 is the same sampling, shift and weights reversed.
    map_.lo_y = adjoint ? taps.y.hi.data() : taps.y.lo.data();
    map_.hi_y = adjoint ? taps.y.lo.data() : taps.y.hi.data();
    map_.lo_x = adjoint ? taps.x.hi.data() : taps.x.lo.data();
    map_.hi_x = adjoint ? taps.x.lo.data() : taps.x.hi.data();
    map_.rows = rows_.data();
    map_.columns = columns_.data();
    map_.windows = windows_.data();
    Choose(pass, std::max(g.h.stride, g.w.stride));
    zeros_.resize(Has(Path::kWindow) || Has(Path::kStrided)
                      ? std::max<int64_t>(1, ReadWidth(map_)) * map_.lines * kLineChannels
                      : 0);
    map_.zeros = zeros_.data();
  }
  Plan(const Plan&) = delete;  // the map points into the plan, and into the taps

  const PixelMap& map() const { return map_; }
  Path path(int64_t line) const { return paths_[line]; }
  bool Has(Path path) const {
    return std::find(paths_.begin(), paths_.end(), path) != paths_.end();
  }

 private:
  static int64_t Spread(const Axis& a) { return a.out == 0 ? 0 : (a.out - 1) * a.stride + 1; }

  static void SetFirst(int64_t pad, const AxisTaps<float>& taps, bool adjoint, int32_t* first) {
    const int32_t at = static_cast<int32_t>(pad);
    const int32_t* const offset = taps.offset.data();
    for (int64_t c = 0; c < taps.padded; ++c) {
      first[c] = adjoint ? at - offset[c] - 1 : offset[c] - at;
    }
  }

  // From the least to the greatest of channels [begin, end).
  LineWindow Around(int64_t begin, int64_t end) const {
    if (begin == end) return {0, 1, 0, 1};
    const auto rows = std::minmax_element(&rows_[begin], &rows_[begin] + (end - begin));
    const auto columns = std::minmax_element(&columns_[begin], &columns_[begin] + (end - begin));
    return {*rows.first, *rows.second - *rows.first + 1, *columns.first,
            *columns.second - *columns.first + 1};
  }

  void Choose(Pass pass, int64_t stride) {
    auto find = [&](Scope scope, const LineWindow& w) {
      return FindPath({pass, scope, true, stride, std::max(w.rows, w.columns)});
    };
    LineWindow all = Around(0, map_.lines * kLineChannels);
    const PathRow* const of_all = find(Scope::kAllChannels, all);
    all.rows = all.columns = 2;
    for (int64_t line = 0; line < map_.lines; ++line) {
      windows_[line] = of_all ? all : Around(line * kLineChannels, (line + 1) * kLineChannels);
      paths_[line] = (of_all ? of_all : find(Scope::kLine, windows_[line]))->path;
    }
  }

  AlignedRoom<int32_t> rows_, columns_;
  std::vector<LineWindow> windows_;
  std::vector<Path> paths_;
  AlignedVector<float> zeros_;
  PixelMap map_;
};

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CPU_PLAN_H_

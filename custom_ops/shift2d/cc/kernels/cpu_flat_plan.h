// The plan for small NCHW planes at stride 1, whose pixels are taken in the order of memory.
#ifndef SSPQ_SHIFT2D_CPU_FLAT_PLAN_H_
#define SSPQ_SHIFT2D_CPU_FLAT_PLAN_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "custom_ops/shift2d/cc/kernels/cpu_plan.h"
#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/geometry.h"

namespace sspq {

template <typename T>
class FlatPlan {
 public:
  // `masks`: also in_a and in_b of the taps.
  FlatPlan(const Geometry& g, const ChannelTaps<T>& taps, bool backward, bool masks)
      : forward_(g.channels), adjoint_(backward ? g.channels : 0) {
    const int64_t height = g.h.in, width = g.w.in;
    // One row more, and two groups for what is read beyond it.
    const int64_t bits = (height + 1) * width + 2 * kFlatGroup;
    shape_ = {height, width, (bits + kFlatRun - 1) / kFlatRun, nullptr, nullptr};
    const uint64_t all = (uint64_t{1} << width) - 1;
    rows_ =
        Masks(height, [&](int64_t i, int64_t d) { return i + d >= 0 && i + d < height ? all : 0; });
    columns_ = Masks(width, [&](int64_t, int64_t d) {
      return d < -width || d >= width ? 0 : d < 0 ? all << -d & all : all >> d;
    });
    shape_.rows = rows_.data();
    shape_.columns = columns_.data();
    // Channels that read the same places share their bits.
    const int64_t places = 4 * (height + kFlatReach) * (width + kFlatReach);
    known_.resize(places, nullptr);
    inside_.reserve(std::min((backward ? 2 : 1) * g.channels, places) * WordsInside());
    if (masks) {
      known_masks_.resize(2 * (width + kFlatReach) + 1, nullptr);
      masks_.reserve(known_masks_.size() * MasksEach());
    }
    for (int64_t c = 0; c < g.channels; ++c) {
      const Tap<T> y = taps.y[c], x = taps.x[c];
      const int32_t row = Clamp(y.offset, height), column = Clamp(x.offset, width);
      Set(row, column, y, x, false, &forward_[c]);
      // The same with shift and weights reversed.
      if (backward) Set(-row - 1, -column - 1, y, x, true, &adjoint_[c]);
    }
  }
  FlatPlan(const FlatPlan&) = delete;  // the shape points into the plan

  const FlatShape& shape() const { return shape_; }
  const FlatTap<T>* forward(int64_t c) const { return &forward_[c]; }
  const FlatTap<T>* adjoint(int64_t c) const { return &adjoint_[c]; }

 private:
  // Beyond this, nothing of the image is read, by none of three taps.
  static int32_t Clamp(int64_t offset, int64_t size) {
    return static_cast<int32_t>(std::max(-size - 1, std::min(size + 1, offset)));
  }

  // A plane's bits for every distance d of `lines` and kFlatReach: `row(i, d)` are those of row i.
  template <typename Row>
  std::vector<uint64_t> Masks(int64_t lines, const Row& row) const {
    std::vector<uint64_t> words(2 * (lines + kFlatReach) * shape_.runs);
    if (shape_.height * shape_.width == 0) return words;
    uint64_t* word = words.data();
    for (int64_t d = -lines - kFlatReach; d < lines + kFlatReach; ++d, word += shape_.runs) {
      for (int64_t i = 0; i <= shape_.height; ++i) {
        const int64_t place = i * shape_.width, at = place / kFlatRun, shift = place % kFlatRun;
        const uint64_t bits = row(i, d);
        word[at] |= bits << shift;
        if (shift + shape_.width > kFlatRun) word[at + 1] |= bits >> (kFlatRun - shift);
      }
    }
    return words;
  }

  int64_t WordsInside() const { return 4 * shape_.runs * (kFlatRun / kFlatGroup); }

  void Set(int32_t row, int32_t column, const Tap<T>& y, const Tap<T>& x, bool reversed,
           FlatTap<T>* t) {
    t->inside = Inside(row, column);
    t->in_a = MasksOf(column);
    t->in_b = MasksOf(column + 1);
    t->row = row;
    t->column = column;
    t->integer_y = y.integer;
    t->integer_x = x.integer;
    t->lo_y = reversed ? y.hi : y.lo;
    t->hi_y = reversed ? y.lo : y.hi;
    t->lo_x = reversed ? x.hi : x.lo;
    t->hi_x = reversed ? x.lo : x.hi;
  }

  const uint16_t* Inside(int32_t to_row, int32_t to_column) {
    const int64_t at_row = to_row + shape_.height + kFlatReach;
    const int64_t at_column = to_column + shape_.width + kFlatReach;
    const uint16_t*& known = known_[at_row * 2 * (shape_.width + kFlatReach) + at_column];
    if (known == nullptr) {
      const int64_t begin = inside_.size();
      inside_.resize(begin + WordsInside());  // within what is reserved: nothing moves
      known = inside_.data() + begin;
      const uint64_t* const row = rows_.data() + at_row * shape_.runs;
      const uint64_t* const column = columns_.data() + at_column * shape_.runs;
      uint16_t* to = inside_.data() + begin;
      for (int64_t run = 0; run < shape_.runs; ++run) {
        for (int k = 0; k < kFlatRun; k += kFlatGroup) {
          for (int which = 0; which < 4; ++which) {
            const uint64_t in_row = row[which / 2 * shape_.runs + run];
            const uint64_t in_column = column[which % 2 * shape_.runs + run];
            *to++ = static_cast<uint16_t>((in_row & in_column) >> k);
          }
        }
      }
    }
    return known;
  }

  int64_t MasksEach() const { return (shape_.height + 1) * shape_.width + kFlatGroup; }

  // Whether a pixel's column + `distance` is inside, for all pixels and those of one row more; null
  // if no masks are wanted.
  const LaneOf<T>* MasksOf(int64_t distance) {
    if (known_masks_.empty()) return nullptr;
    const LaneOf<T>*& known = known_masks_[distance + shape_.width + kFlatReach];
    if (known == nullptr) {
      const int64_t begin = masks_.size();
      masks_.resize(begin + MasksEach());  // within what is reserved: nothing moves
      LaneOf<T>* const masks = masks_.data() + begin;
      for (int64_t i = 0; i <= shape_.height; ++i) {
        for (int64_t j = 0; j < shape_.width; ++j) {
          masks[i * shape_.width + j] = j + distance >= 0 && j + distance < shape_.width ? -1 : 0;
        }
      }
      known = masks;
    }
    return known;
  }

  std::vector<LaneOf<T>> masks_;
  std::vector<const LaneOf<T>*> known_masks_;  // by distance
  std::vector<uint64_t> rows_, columns_;
  std::vector<uint16_t> inside_;
  std::vector<const uint16_t*> known_;  // by row and column
  std::vector<FlatTap<T>> forward_, adjoint_;
  FlatShape shape_;
};

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CPU_FLAT_PLAN_H_

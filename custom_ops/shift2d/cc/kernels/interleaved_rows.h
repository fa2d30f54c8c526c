// What a block of channels of an NHWC image reads along a row. Channels may read different pixels:
// from a window of two by two, by masked loads, or from anywhere, by gathers.
#ifndef SSPQ_SHIFT2D_INTERLEAVED_ROWS_H_
#define SSPQ_SHIFT2D_INTERLEAVED_ROWS_H_

#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/simd.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// From windows of two by two pixels: a channel takes one of two rows, then one of two columns.
template <typename T, int L>
class WindowRow {
 public:
  typedef Vec<T, L> V;
  typedef Mask<T, L> M;

  SSPQ_INLINE WindowRow(const PixelReads<T>& m, int64_t index, int64_t channel, const T* in,
                        int64_t row)
      : width_(m.in_w), channels_(m.channels), column_(m.distances[index].column) {
    const int64_t r = row + m.distances[index].row;
    const T* const at = in + column_ * channels_ + channel;
    const bool has_upper = r >= 0 && r < m.in_h, has_lower = r + 1 >= 0 && r + 1 < m.in_h;
    upper_ = has_upper ? at + r * width_ * channels_ : m.zeros;
    lower_ = has_lower ? at + (r + 1) * width_ * channels_ : m.zeros;
    upper_step_ = has_upper ? channels_ : 0;
    lower_step_ = has_lower ? channels_ : 0;
    const T* const masks = static_cast<const T*>(m.masks) + m.distances[index].mask + channel;
    below_ = LoadMask<T, L>(masks);
    right_ = LoadMask<T, L>(masks + channels_);
    used_ = LoadMask<T, L>(static_cast<const T*>(m.used) + index * channels_ + channel);
  }

  // Columns whose whole window lies inside.
  SSPQ_INLINE int64_t begin() const { return -column_; }
  SSPQ_INLINE int64_t end() const { return width_ - 1 - column_; }

  SSPQ_INLINE V Inside(int64_t k) const { return Pick(Column(k), Column(k + 1)); }

  // Inside(k), Inside(k + 1) and so on, one after the other, after Start(k): what was on the right
  // is not loaded again when it is on the left.
  SSPQ_INLINE void Start(int64_t k) { left_ = Column(k); }
  SSPQ_INLINE V Following(int64_t k) {
    const V left = left_;
    left_ = Column(k + 1);
    return Pick(left, left_);
  }

  SSPQ_INLINE V Anywhere(int64_t k) const {
    const int64_t q = k + column_;
    const V left = q >= 0 && q < width_ ? Column(k) : V{};
    return Pick(left, q + 1 >= 0 && q + 1 < width_ ? Column(k + 1) : V{});
  }

 private:
  SSPQ_INLINE V Column(int64_t k) const {
    return Replace<T, L>(Load<T, L>(upper_ + k * upper_step_), below_,
                         Load<T, L>(lower_ + k * lower_step_));
  }
  SSPQ_INLINE V Pick(V left, V right) const {
    return Keep<T, L>(Replace<T, L>(left, right_, right), used_);
  }

  const int64_t width_, channels_, column_;
  const T *upper_, *lower_;
  int64_t upper_step_, lower_step_;
  M below_, right_, used_;
  V left_;
};

// From anywhere: every channel for itself.
template <typename T, int L>
class GatheredRow {
 public:
  typedef Vec<T, L> V;
  typedef Mask<T, L> M;
  typedef typename Lanes<T, L>::I I;

  SSPQ_INLINE GatheredRow(const PixelReads<T>& m, int64_t index, int64_t channel, const T* in,
                          int64_t row)
      : width_(m.in_w),
        channels_(m.channels),
        begin_(-m.distances[index].column),
        end_(m.in_w - m.distances[index].last_column),
        from_(in + row * m.in_w * m.channels + channel) {
    const int64_t at = index * m.channels + channel;
    const M rows = LoadMask<T, L>(static_cast<const T*>(m.rows) + at);
    const M r = rows + static_cast<I>(row);
    columns_ = LoadMask<T, L>(static_cast<const T*>(m.columns) + at);
    used_ = LoadMask<T, L>(static_cast<const T*>(m.used) + at) & (r >= 0) &
            (r < static_cast<I>(m.in_h));
    offset_ =
        (rows * static_cast<I>(width_) + columns_) * static_cast<I>(channels_) + Count<T, L>();
  }

  SSPQ_INLINE int64_t begin() const { return begin_; }
  SSPQ_INLINE int64_t end() const { return end_; }

  SSPQ_INLINE V Inside(int64_t k) const {
    return Gather<T, L>(from_ + k * channels_, offset_, used_);
  }
  SSPQ_INLINE void Start(int64_t) {}
  SSPQ_INLINE V Following(int64_t k) { return Inside(k); }

  SSPQ_INLINE V Anywhere(int64_t k) const {
    const M q = columns_ + static_cast<I>(k);
    const M inside = used_ & (q >= 0) & (q < static_cast<I>(width_));
    return Gather<T, L>(from_ + k * channels_, offset_, inside);
  }

 private:
  const int64_t width_, channels_, begin_, end_;
  const T* const from_;
  M columns_, used_, offset_;
};

// Calls visit(j, before, left, right) with the pixels that output j of a row reads: the two that
// are blended and, if kBefore is set, the one left of them.
template <bool kStrideOne, bool kBefore, typename Row, typename Visit>
SSPQ_INLINE void VisitRow(Row row, int64_t width, int64_t stride, const Visit& visit) {
  typedef typename Row::V V;
  if (!kStrideOne) {
    int64_t k = 0;
    for (int64_t j = 0; j < width; ++j, k += stride) {
      if (k - 1 >= row.begin() && k + 1 < row.end()) {
        const V left = row.Inside(k);
        visit(j, kBefore ? row.Inside(k - 1) : left, left, row.Inside(k + 1));
      } else {
        const V left = row.Anywhere(k);
        visit(j, kBefore ? row.Anywhere(k - 1) : left, left, row.Anywhere(k + 1));
      }
    }
    return;
  }
  V before = kBefore ? row.Anywhere(-1) : V{}, left = row.Anywhere(0);
  auto step = [&](int64_t j, V right) __attribute__((always_inline)) {
    visit(j, before, left, right);
    before = left;
    left = right;
  };
  int64_t j = 0;
  const int64_t inside = row.begin() - 1 < width ? row.begin() - 1 : width;
  const int64_t outside = row.end() - 1 < width ? row.end() - 1 : width;
  for (; j < inside; ++j) step(j, row.Anywhere(j + 1));
  if (j < outside) row.Start(j + 1);
#pragma GCC unroll 2
  for (; j < outside; ++j) step(j, row.Following(j + 1));
  for (; j < width; ++j) step(j, row.Anywhere(j + 1));
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_INTERLEAVED_ROWS_H_

// shift2d on small NCHW planes without padding. A plane of 8x8 pixels spends more on starting row
// loops than on arithmetic; here a whole plane is one loop over its pixels, and masks, shared by
// all planes, stand for the left and right borders.
//
// Everything is computed at stride 1. A stride s takes every s-th pixel of the result, and its
// adjoint starts from a plane that holds the gradient at every s-th pixel and zeros between.
#ifndef SSPQ_SHIFT2D_FLAT_H_
#define SSPQ_SHIFT2D_FLAT_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "custom_ops/shift2d/cc/kernels/geometry.h"
#include "custom_ops/shift2d/cc/kernels/planar.h"

namespace sspq {

// For every horizontal distance d that some channel reads over: 1 where pixel k and pixel k + d
// lie in the same row, 0 elsewhere. From -width to width; beyond that nothing is left to read.
template <typename T>
class FlatMasks {
 public:
  FlatMasks() {}
  FlatMasks(int64_t width, int64_t height, const std::vector<Tap<T>>& taps_x)
      : width_(width), masks_(2 * width + 1) {
    for (const Tap<T>& t : taps_x) {
      for (int64_t d : {t.offset - 1, t.offset, t.offset + 1, -t.offset - 1, -t.offset}) {
        std::vector<T>& mask = masks_[Near(d) + width];
        if (!mask.empty()) continue;
        for (int64_t k = 0; k < width * height; ++k) {
          const int64_t j = k % width + Near(d);
          mask.push_back(j >= 0 && j < width ? T(1) : T(0));
        }
      }
    }
  }

  int64_t Near(int64_t d) const { return std::max(-width_, std::min(width_, d)); }
  const T* mask(int64_t near) const { return masks_[near + width_].data(); }

 private:
  int64_t width_ = 0;
  std::vector<std::vector<T>> masks_;
};

// A plane sampled along W, with rows of zeros before and after it.
template <typename T>
class FlatRows {
 public:
  FlatRows(int64_t height, int64_t width)
      : height_(height), width_(width), data_(3 * (height + 2) * width, T(0)) {}

  // out[k] = lo * in[k + first] + hi * in[k + second] within each row, zero outside.
  void Fill(const FlatMasks<T>& masks, int64_t first, int64_t second, T lo, T hi,
            const T* __restrict in) {
    const int64_t a_at = masks.Near(first), b_at = masks.Near(second), size = height_ * width_;
    const T* __restrict a_mask = masks.mask(a_at);
    const T* __restrict b_mask = masks.mask(b_at);
    T* __restrict out = data_.data() + (height_ + 2) * width_;
    // Pixels whose two taps lie in the plane's memory, valid or masked.
    const int64_t begin = std::min(size, std::max<int64_t>(0, -std::min(a_at, b_at)));
    const int64_t end = std::max(begin, size - std::max<int64_t>(0, std::max(a_at, b_at)));
    auto edge = [&](int64_t from, int64_t to) {
      for (int64_t k = from; k < to; ++k) {
        out[k] = lo * (a_mask[k] > T(0) ? in[k + a_at] : T(0)) +
                 hi * (b_mask[k] > T(0) ? in[k + b_at] : T(0));
      }
    };
    edge(0, begin);
    const T* __restrict in_a = in + a_at;
    const T* __restrict in_b = in + b_at;
    for (int64_t k = begin; k < end; ++k) {
      const T a = in_a[k], b = in_b[k];
      out[k] = lo * (a_mask[k] > T(0) ? a : T(0)) + hi * (b_mask[k] > T(0) ? b : T(0));
    }
    edge(end, size);
  }

  // Row r of the plane and the rows after it; any r: those outside are zero.
  const T* row(int64_t r) const {
    r = std::max(-height_ - 2, std::min(height_ + 1, r));
    return data_.data() + (height_ + 2 + r) * width_;
  }

 private:
  const int64_t height_, width_;
  std::vector<T> data_;
};

// The buffers of one thread.
template <typename T>
class FlatPlane {
 public:
  static bool Fits(const Geometry& g) {
    const int64_t most = 16;  // wider rows fill the row loops of planar.h
    return g.h.pad == 0 && g.w.pad == 0 && g.w.in <= most && g.h.in <= most && g.batch >= 4;
  }

  // Without `use` it holds no memory and must not be called.
  FlatPlane(const Geometry& g, const FlatMasks<T>& masks, bool use)
      : masks_(masks),
        size_(use ? g.h.in * g.w.in : 0),
        strided_(g.h.stride > 1 || g.w.stride > 1),
        samples_(use ? g.h.in : 0, g.w.in),
        slopes_(use ? g.h.in : 0, g.w.in),
        stuffed_(strided_ ? size_ : 0, T(0)) {
    if (!use || !strided_) return;
    for (int64_t i = 0; i < g.h.out; ++i) {
      for (int64_t j = 0; j < g.w.out; ++j) {
        taken_.push_back(static_cast<int32_t>(i * g.h.stride * g.w.in + j * g.w.stride));
      }
    }
  }

  void Forward(const T* x, const Tap<T>& ty, const Tap<T>& tx, T* __restrict y) {
    samples_.Fill(masks_, tx.offset, tx.offset + 1, tx.lo, tx.hi, x);
    const T* __restrict a = samples_.row(ty.offset);
    const T* __restrict b = samples_.row(ty.offset + 1);
    if (!strided_) {
      BlendRows(ty.lo, a, ty.hi, b, size_, y);
      return;
    }
    const T lo = ty.lo, hi = ty.hi;
    for (size_t k = 0; k < taken_.size(); ++k) y[k] = lo * a[taken_[k]] + hi * b[taken_[k]];
  }

  // Writes gx and adds the gradient to the shift.
  void Backward(const T* x, const T* gy, const Tap<T>& ty, const Tap<T>& tx, T* gx, double* gsx,
                double* gsy) {
    const T* stuffed = Stuff(gy);
    samples_.Fill(masks_, -tx.offset - 1, -tx.offset, tx.hi, tx.lo, stuffed);
    BlendRows(ty.hi, samples_.row(-ty.offset - 1), ty.lo, samples_.row(-ty.offset), size_, gx);
    samples_.Fill(masks_, tx.offset, tx.offset + 1, tx.lo, tx.hi, x);
    const T scale = tx.integer ? T(0.5) : T(1);
    slopes_.Fill(masks_, tx.integer ? tx.offset - 1 : tx.offset, tx.offset + 1, -scale, scale, x);
    Correlate(gy, ty, gsx, gsy);
  }

 private:
  const T* Stuff(const T* gy) {
    if (!strided_) return gy;
    for (size_t k = 0; k < taken_.size(); ++k) stuffed_[taken_[k]] = gy[k];
    return stuffed_.data();
  }

  void Correlate(const T* gy, const Tap<T>& ty, double* gsx, double* gsy) const {
    const ShiftGradientTerms<T> all{gy,
                                    slopes_.row(ty.offset),
                                    slopes_.row(ty.offset + 1),
                                    samples_.row(ty.integer ? ty.offset - 1 : ty.offset),
                                    samples_.row(ty.offset + 1),
                                    ty.lo,
                                    ty.hi,
                                    ty.integer ? T(0.5) : T(1)};
    LaneSums sums;
    if (strided_) {
      sums.Add(taken_.size(), Taken{all, taken_.data()});
    } else {
      sums.Add(size_, all);
    }
    sums.AddTo(gsx, gsy);
  }

  // The terms at the pixels that a stride takes.
  struct Taken {
    T X(int64_t k) const { return all.XAt(k, taken[k]); }
    T Y(int64_t k) const { return all.YAt(k, taken[k]); }

    const ShiftGradientTerms<T>& all;
    const int32_t* __restrict taken;
  };

  const FlatMasks<T>& masks_;
  const int64_t size_;
  const bool strided_;
  FlatRows<T> samples_, slopes_;
  std::vector<int32_t> taken_;  // pixels that a stride takes, in the order of the output
  std::vector<T> stuffed_;
};

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_FLAT_H_

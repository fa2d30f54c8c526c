// shift2d on the CPU for both layouts: splits the work into items that a thread pool may run in
// any order. No two items write one value, and every sum has a fixed order, so the result does not
// depend on the number of threads, nor on which version of the inner loops runs. Knows nothing of
// TensorFlow.
#ifndef SSPQ_SHIFT2D_CPU_H_
#define SSPQ_SHIFT2D_CPU_H_

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "custom_ops/shift2d/cc/kernels/aligned.h"
#include "custom_ops/shift2d/cc/kernels/cpu_dispatch.h"
#include "custom_ops/shift2d/cc/kernels/cpu_flat_plan.h"
#include "custom_ops/shift2d/cc/kernels/cpu_padded_planes.h"
#include "custom_ops/shift2d/cc/kernels/cpu_pixel_plan.h"
#include "custom_ops/shift2d/cc/kernels/cpu_plan.h"
#include "custom_ops/shift2d/cc/kernels/cpu_reference.h"
#include "custom_ops/shift2d/cc/kernels/element.h"
#include "custom_ops/shift2d/cc/kernels/geometry.h"

namespace sspq {

inline const CpuKernels<float>& KernelsOf(const CpuVersion& v, float) { return v.of_float; }
inline const CpuKernels<double>& KernelsOf(const CpuVersion& v, double) { return v.of_double; }

template <typename T>
class Shift2DCpu {
 public:
  // `shift` is [2, channels]: along W, then along H. `backward`: gradients will be asked for, and
  // not the output.
  Shift2DCpu(const Geometry& g, const T* shift, const CpuVersion& version, bool backward)
      : g_(g),
        taps_(g, shift),
        kernels_(KernelsOf(version, T())),
        reference_(&version == &kReferenceVersion),
        flat_sums_(IsFlat(g)),
        over_input_(SumsOverInput(g, taps_)) {
    SplitBackward();
    if (reference_) return;
    const bool maps_flat = AreFlat(g, kernels_.widest_flat_map);
    if (maps_flat) flat_.reset(new FlatPlan<T>(g, taps_, backward, kernels_.flat_masks));
    if (flat_sums_) return;
    if (g.nchw) {
      typedef PlanePlan<T> Plan;
      if (backward || !maps_flat) planes_.reset(new Plan(Plan::Forward(g, taps_)));
      if (backward && !maps_flat) plane_gradients_.reset(new Plan(Plan::Adjoint(g, taps_)));
      return;
    }
    if (!backward || !over_input_) pixels_.reset(new PixelPlan<T>(g, taps_, false));
    if (!backward) return;
    if (g.h.stride == 1 && g.w.stride == 1) {
      pixel_gradients_.reset(new PixelPlan<T>(g, taps_, true));
    } else {
      expanded_gradients_.reset(new ExpandPlan<T>(g, taps_));
    }
    const int64_t rows = g.h.in / slices_;
    const int64_t band = BandRows(rows, g.w.in, IsFar() ? StripBandBytes() : BandBytes());
    bands_ = std::max<int64_t>(1, (rows + band - 1) / band);
  }

  // ---- forward

  int64_t forward_items() const {
    return g_.nchw ? g_.batch * g_.channels : g_.batch * g_.h.out;  // planes or rows
  }

  void Forward(const T* x, T* y, int64_t begin, int64_t end) const {
    if (g_.nchw) {
      ForwardPlanes(x, begin, end, y);
      return;
    }
    AlignedRoom<T> above(pixels_ ? pixels_->SampleRoom() : 0);
    ForEachBand(begin, end, g_.h.out, g_.w.out, [&](int64_t n, bool start, int64_t a, int64_t b) {
      ForwardRows(x, n, start, a, b, above.data(), y);
    });
  }

  // ---- the gradient to x alone

  int64_t input_gradient_items() const {
    return g_.nchw ? g_.batch * g_.channels : g_.batch * g_.h.in;
  }

  void InputGradient(const T* gy, T* gx, int64_t begin, int64_t end) const {
    if (g_.nchw) {
      PaddedPlanes<T> from = Planes(gy, g_.h.out * g_.w.out, plane_gradients_.get());
      InputGradientPlanes(gy, &from, begin, end, gx);
      return;
    }
    AlignedRoom<T> above(pixel_gradients_ ? pixel_gradients_->SampleRoom() : 0);
    ForEachBand(begin, end, g_.h.in, g_.w.in, [&](int64_t n, bool start, int64_t a, int64_t b) {
      InputGradientRows(gy, n, start, a, b, above.data(), gx);
    });
  }

  // ---- backward: both gradients, one visit to the data

  // Item = one slice of one group of images: a block of channels (NCHW) or a band of rows (NHWC).
  int64_t backward_items() const { return groups_ * slices_; }

  // float64 sums that Backward leaves for Finish: sets of [2, channels].
  int64_t partial_size() const { return sets() * 2 * g_.channels; }

  // An item sets its share of `partial` to zero first. If no item is run, the caller does that.
  void Backward(const T* x, const T* gy, T* gx, double* partial, int64_t begin, int64_t end) const {
    const int64_t rows = (std::max(g_.h.in, g_.h.out) / slices_ + 1) / bands_ + 1;
    AlignedRoom<T> above_x(!pixel_gradients_ ? 0
                           : over_input_     ? pixel_gradients_->BackwardRoom(rows)
                                             : pixel_gradients_->SampleRoom());
    AlignedRoom<T> above_shift(pixels_ ? pixels_->ShiftGradientRoom(rows) : 0);
    AlignedRoom<double> columns(g_.nchw && !flat_sums_ ? ColumnSums(g_.w.out) : 0);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t group = slices_ == 1 ? item : item / slices_, slice = item - group * slices_;
      const int64_t first = Cut(g_.batch, group, groups_), last = Cut(g_.batch, group + 1, groups_);
      double* sum_x = partial + 2 * (g_.nchw ? group : item) * g_.channels;
      double* sum_y = sum_x + g_.channels;
      if (g_.nchw) {
        BackwardPlanes(x, gy, gx, columns.data(), sum_x, sum_y, first, last, slice);
      } else {
        BackwardBands(x, gy, gx, above_x.data(), above_shift.data(), sum_x, sum_y, first, last,
                      slice);
      }
    }
  }

  // Adds the partial sums of channels [begin, end) up, in order, into `gshift` [2, channels].
  void Finish(double* partial, bool normalize, int64_t begin, int64_t end, T* gshift) const {
    const int64_t channels = g_.channels;
    // Set by set, in the order of memory; into the first set.
    for (int64_t s = 1; s < sets(); ++s) {
      for (int64_t first : {int64_t{0}, channels}) {
        double* const to = partial + first;
        const double* const set = to + 2 * s * channels;
        for (int64_t c = begin; c < end; ++c) to[c] += set[c];
      }
    }
    for (int64_t c = begin; c < end; ++c) {
      double *const x = &partial[c], *const y = &partial[channels + c];
      if (normalize) NormalizeGradient(x, y);
      gshift[c] = static_cast<T>(*x);
      gshift[channels + c] = static_cast<T>(*y);
    }
    for (int64_t c : taps_.lost) {
      if (c < begin || c >= end) continue;
      gshift[c] = gshift[channels + c] = std::numeric_limits<T>::quiet_NaN();
    }
  }

 private:
  // Enough for the threads of a large machine to share.
  static int64_t MostItems() { return 32; }
  // What a thread works on at a time, so that both gradients find it in the cache.
  static int64_t BandBytes() { return 64 * 1024; }
  // The same of one tensor in and one out, in strips: long bands, as each begins with a row twice,
  // or with several where shifts are far.
  static int64_t StripBandBytes() { return 100 * 1024; }

  // Where share `at` of `shares` of n things begins. A division takes as long as a row of pixels.
  static int64_t Cut(int64_t n, int64_t at, int64_t shares) {
    return at == 0 ? 0 : at == shares ? n : n * at / shares;
  }

  // One at least, for Finish: no images give a gradient of zero.
  int64_t sets() const { return std::max<int64_t>(1, g_.nchw ? groups_ : groups_ * slices_); }

  // Few images are cut into slices, many into groups; either depends on sizes alone, never on the
  // number of threads. A set of partial sums takes 16 bytes a channel, which Finish reads again:
  // small tensors are cut less.
  void SplitBackward() {
    const int64_t bytes = g_.batch * g_.h.in * g_.w.in * static_cast<int64_t>(sizeof(T));
    const int64_t wanted = std::max(bytes / 512, std::min<int64_t>(4, bytes / 16));
    const int64_t most = std::max<int64_t>(1, std::min(MostItems(), wanted));
    groups_ = std::min(g_.batch, most);
    slices_ = std::min(g_.nchw ? g_.channels : g_.h.out, most / std::max<int64_t>(1, g_.batch));
    slices_ = std::max<int64_t>(1, slices_);
  }

  // NHWC, in strips, not row by row: shifts within a pixel at stride 1, as both maps are then, and
  // far ones.
  bool InStrips() const {
    const PixelPlan<T>* const plan = AnyPixels();
    return plan != nullptr && (sspq::InStrips(plan->map()) || IsFar());
  }
  bool IsFar() const { return AnyPixels() != nullptr && AnyPixels()->map().far != nullptr; }
  const PixelPlan<T>* AnyPixels() const { return pixels_ ? pixels_.get() : pixel_gradients_.get(); }

  // About as many rows as make up `bytes`; strips start anew with every band, which therefore are
  // equally long.
  int64_t BandRows(int64_t height, int64_t width, int64_t bytes) const {
    // The lines of a block lie `pixel` bytes apart; far apart, they fall onto few sets of the
    // cache.
    const int64_t pixel = g_.channels * static_cast<int64_t>(sizeof(T));
    if (!InStrips() && pixel >= 1024) bytes /= 2;
    // At a stride, there is more to read than to write; only the loops for far shifts mind.
    const int64_t reads = IsFar() ? (g_.h.stride * g_.w.stride + 1) / 2 : 1;
    const int64_t rows = std::max<int64_t>(1, bytes / std::max<int64_t>(1, width * pixel * reads));
    if (!InStrips() || height <= rows) return rows;
    const int64_t bands = (height + rows - 1) / rows;
    return (height + bands - 1) / bands;
  }

  // ---- NCHW

  // Planes of `size` values for `plan` to read.
  PaddedPlanes<T> Planes(const T* data, int64_t size, const PlanePlan<T>* plan) const {
    const int64_t slack = std::max(flat_ ? FlatSlack(g_.h.in, g_.w.in) : int64_t{0},
                                   plan ? PlaneSlack(plan->shape.h) : int64_t{0});
    return PaddedPlanes<T>(data, size, g_.batch * g_.channels, slack);
  }

  // Planes [begin, end), counted over all images: the forward map, or its adjoint.
  void MapPlanes(bool adjoint, int64_t begin, int64_t end, PaddedPlanes<T>* from, T* to) const {
    const PlanePlan<T>* plan = adjoint ? plane_gradients_.get() : planes_.get();
    const int64_t size = adjoint ? g_.h.in * g_.w.in : g_.h.out * g_.w.out;
    for (int64_t p = begin; p < end;) {
      const int64_t c = p % g_.channels;
      const int64_t count = from->Run(p, std::min(end - p, g_.channels - c));
      if (flat_) {
        kernels_.map_flat(flat_->shape(), adjoint ? flat_->adjoint(c) : flat_->forward(c),
                          from->Get(p), to + p * size, count);
      } else {
        kernels_.map_planes(plan->shape, &plan->v[c], &plan->h[c], from->Get(p), to + p * size,
                            count);
      }
      p += count;
    }
  }

  void ForwardPlanes(const T* x, int64_t begin, int64_t end, T* y) const {
    if (reference_) {
      for (int64_t p = begin; p < end; ++p) {
        ReferenceForward(g_, taps_, x, p / g_.channels, p % g_.channels, 0, g_.h.out, y);
      }
      return;
    }
    PaddedPlanes<T> from = Planes(x, g_.h.in * g_.w.in, planes_.get());
    MapPlanes(false, begin, end, &from, y);
  }

  void InputGradientPlanes(const T* gy, PaddedPlanes<T>* from, int64_t begin, int64_t end,
                           T* gx) const {
    if (!reference_) return MapPlanes(true, begin, end, from, gx);
    for (int64_t p = begin; p < end; ++p) {
      ReferenceInputGradient(g_, taps_, gy, p / g_.channels, p % g_.channels, 0, g_.h.in, gx);
    }
  }

  // Adds the sums of `count` planes of channels from c on, of image n.
  void ShiftGradientPlanes(const T* x, const T* gy, PaddedPlanes<T>* values,
                           PaddedPlanes<T>* gradients, int64_t n, int64_t c, int64_t count,
                           double* columns, double* sum_x, double* sum_y) const {
    if (reference_) {
      for (int64_t k = c; k < c + count; ++k) {
        ReferenceShiftGradient(g_, taps_, x, gy, n, k, 0, g_.h.out, &sum_x[k], &sum_y[k]);
      }
      return;
    }
    const int64_t p = n * g_.channels + c;
    if (flat_sums_) {
      kernels_.shift_gradient_flat(flat_->shape(), flat_->forward(c), values->Get(p),
                                   gradients->Get(p), count, &sum_x[c], &sum_y[c]);
      return;
    }
    kernels_.shift_gradient_planes(planes_->shape, &planes_->v[c], &planes_->h[c], values->Get(p),
                                   gradients->Get(p), count, columns, &sum_x[c], &sum_y[c]);
  }

  // Channels of slice `slice` of images [first, last).
  void BackwardPlanes(const T* x, const T* gy, T* gx, double* columns, double* sum_x, double* sum_y,
                      int64_t first, int64_t last, int64_t slice) const {
    const int64_t begin = Cut(g_.channels, slice, slices_);
    const int64_t end = Cut(g_.channels, slice + 1, slices_);
    const int64_t in = g_.h.in * g_.w.in, out = g_.h.out * g_.w.out;
    PaddedPlanes<T> values = Planes(x, in, planes_.get());
    PaddedPlanes<T> gradients = Planes(gy, out, plane_gradients_.get());
    std::fill(sum_x + begin, sum_x + end, 0.0);
    std::fill(sum_y + begin, sum_y + end, 0.0);
    const int64_t plane_bytes = std::max<int64_t>(1, in * sizeof(T));
    const int64_t together = std::max<int64_t>(1, BandBytes() / plane_bytes);
    for (int64_t n = first; n < last; ++n) {
      for (int64_t c = begin; c < end;) {
        const int64_t p = n * g_.channels + c;
        const int64_t count =
            std::min(values.Run(p, together), gradients.Run(p, std::min(together, end - c)));
        if (over_input_ && !reference_) {
          kernels_.backward_flat(flat_->shape(), flat_->adjoint(c), gradients.Get(p), values.Get(p),
                                 gx + p * in, count, &sum_x[c], &sum_y[c]);
        } else {
          InputGradientPlanes(gy, &gradients, p, p + count, gx);
          ShiftGradientPlanes(x, gy, &values, &gradients, n, c, count, columns, sum_x, sum_y);
        }
        c += count;
      }
    }
  }

  // ---- NHWC

  // Calls visit(image, start, begin, end) for bands of rows that make up [begin, end), counted over
  // all images of `height` rows; `start` is false where a band goes on from the one before.
  template <typename Visit>
  void ForEachBand(int64_t begin, int64_t end, int64_t height, int64_t width,
                   const Visit& visit) const {
    const int64_t band = BandRows(height, width, InStrips() ? StripBandBytes() : BandBytes());
    int64_t n = begin / std::max<int64_t>(1, height), first = begin - n * height;
    for (int64_t left = end - begin; left > 0; ++n, first = 0) {
      const int64_t last = std::min(height, first + left);
      left -= last - first;
      for (int64_t i = first; i < last; i += band) {
        visit(n, i == first, i, std::min(last, i + band));
      }
    }
  }

  // Rows [begin, end) of the output of image n.
  void ForwardRows(const T* x, int64_t n, bool start, int64_t begin, int64_t end, T* above,
                   T* y) const {
    if (reference_) {
      for (int64_t c = 0; c < g_.channels; ++c) {
        ReferenceForward(g_, taps_, x, n, c, begin, end, y);
      }
      return;
    }
    kernels_.sample_rows(pixels_->map(), x + n * InSize(), start, begin, end, above,
                         y + n * OutSize());
  }

  // Rows of band `slice` of images [first, last).
  void BackwardBands(const T* x, const T* gy, T* gx, T* above_x, T* above_shift, double* sum_x,
                     double* sum_y, int64_t first, int64_t last, int64_t slice) const {
    const int64_t summed = over_input_ ? g_.h.in : g_.h.out;
    // Where band k of a slice of `height` rows begins.
    auto row = [&](int64_t height, int64_t k) {
      const int64_t begin = Cut(height, slice, slices_), end = Cut(height, slice + 1, slices_);
      return begin + Cut(end - begin, k, bands_);
    };
    std::fill(sum_x, sum_x + 2 * g_.channels, 0.0);
    for (int64_t n = first; n < last; ++n) {
      for (int64_t k = 0; k < bands_; ++k) {
        const int64_t begin = row(g_.h.in, k), end = row(g_.h.in, k + 1);
        if (over_input_ && !reference_) {
          kernels_.backward_rows(pixel_gradients_->map(), gy + n * OutSize(), x + n * InSize(),
                                 k == 0, begin, end, above_x, gx + n * InSize(), sum_x, sum_y);
          continue;
        }
        InputGradientRows(gy, n, k == 0, begin, end, above_x, gx);
        ShiftGradientRows(x, gy, n, k == 0, row(summed, k), row(summed, k + 1), above_shift, sum_x,
                          sum_y);
      }
    }
  }

  void InputGradientRows(const T* gy, int64_t n, bool start, int64_t begin, int64_t end, T* above,
                         T* gx) const {
    if (reference_) {
      for (int64_t c = 0; c < g_.channels; ++c) {
        ReferenceInputGradient(g_, taps_, gy, n, c, begin, end, gx);
      }
    } else if (pixel_gradients_) {
      kernels_.sample_rows(pixel_gradients_->map(), gy + n * OutSize(), start, begin, end, above,
                           gx + n * InSize());
    } else {
      kernels_.expand_rows(expanded_gradients_->map(), gy + n * OutSize(), begin, end,
                           gx + n * InSize());
    }
  }

  void ShiftGradientRows(const T* x, const T* gy, int64_t n, bool start, int64_t begin, int64_t end,
                         T* above, double* sum_x, double* sum_y) const {
    if (reference_) {
      for (int64_t c = 0; c < g_.channels; ++c) {
        ReferenceShiftGradient(g_, taps_, x, gy, n, c, begin, end, &sum_x[c], &sum_y[c]);
      }
      return;
    }
    kernels_.shift_gradient_rows(pixels_->map(), x + n * InSize(), gy + n * OutSize(), start, begin,
                                 end, above, sum_x, sum_y);
  }

  int64_t InSize() const { return g_.h.in * g_.w.in * g_.channels; }
  int64_t OutSize() const { return g_.h.out * g_.w.out * g_.channels; }

  const Geometry g_;
  const ChannelTaps<T> taps_;
  const CpuKernels<T>& kernels_;
  const bool reference_, flat_sums_, over_input_;
  // NCHW; then NHWC, whose gradient to x is a sampling at stride 1 only.
  std::unique_ptr<FlatPlan<T>> flat_;
  std::unique_ptr<PlanePlan<T>> planes_, plane_gradients_;
  std::unique_ptr<PixelPlan<T>> pixels_, pixel_gradients_;
  std::unique_ptr<ExpandPlan<T>> expanded_gradients_;
  int64_t slices_ = 1, groups_ = 1, bands_ = 1;  // bands: of an image's slice, NHWC
};

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CPU_H_

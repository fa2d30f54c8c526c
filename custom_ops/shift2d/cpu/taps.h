// The taps of all channels: what depends on the shifts, worked out once per call of the op.
#ifndef SSPQ_SHIFT2D_CPU_TAPS_H_
#define SSPQ_SHIFT2D_CPU_TAPS_H_

#include <cstdint>
#include <limits>
#include <vector>

#include "custom_ops/cpu/aligned.h"
#include "custom_ops/shift2d/core/geometry.h"
#include "custom_ops/shift2d/cpu/paths.h"

namespace sspq {

// The taps of all channels along one axis, each member in a row of its own. Lanes are as wide as T,
// so that compilers vectorise the loop over channels; masks are -1 or 0. The last channel is
// repeated until the line is full.
template <typename T>
struct AxisTaps {
  typedef typename IntegerOf<T>::Type Lane;

  AxisTaps(const Axis& a, const T* shift, int64_t channels)
      : padded((channels + kLineChannels - 1) / kLineChannels * kLineChannels),
        offset(padded),
        finite(padded),
        integer(padded),
        lo(padded),
        hi(padded) {
    AxisOf<Lane> axis;
    axis.in = static_cast<Lane>(a.in);
    axis.out = static_cast<Lane>(a.out);
    axis.stride = static_cast<Lane>(a.stride);
    axis.pad = static_cast<Lane>(a.pad);
    Split(axis, shift, channels, offset.data(), lo.data(), hi.data(), finite.data(),
          integer.data());
    for (int64_t c = channels; c < padded; ++c) {
      offset[c] = offset[channels - 1];
      finite[c] = finite[channels - 1];
      integer[c] = integer[channels - 1];
      lo[c] = lo[channels - 1];
      hi[c] = hi[channels - 1];
    }
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

  const int64_t padded;
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

template <typename T>
struct ChannelTaps {
  const int64_t channels;
  AxisTaps<T> y, x;
  std::vector<int64_t> lost;     // channels whose shift is not finite: all weights are NaN
  std::vector<int64_t> integer;  // others whose shift is an integer along some axis

  // `shift` is [2, channels]: along W, then along H.
  ChannelTaps(const Geometry& g, const T* shift)
      : channels(g.channels), y(g.h, shift + channels, channels), x(g.w, shift, channels) {
    typename AxisTaps<T>::Lane finite = -1, integers = 0;
    for (int64_t c = 0; c < channels; ++c) {
      finite &= x.finite[c] & y.finite[c];
      integers |= x.integer[c] | y.integer[c];
    }
    if (finite != 0 && integers == 0) return;
    for (int64_t c = 0; c < y.padded; ++c) {
      if (IsLost(c)) {
        if (c < channels) lost.push_back(c);
        x.lo[c] = x.hi[c] = y.lo[c] = y.hi[c] = std::numeric_limits<T>::quiet_NaN();
      } else if (c < channels && IsInteger(c)) {
        integer.push_back(c);
      }
    }
  }

  bool IsLost(int64_t c) const { return (x.finite[c] & y.finite[c]) == 0; }
  bool IsInteger(int64_t c) const { return (x.integer[c] | y.integer[c]) != 0; }
};

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CPU_TAPS_H_

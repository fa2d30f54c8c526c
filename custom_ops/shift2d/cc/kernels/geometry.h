// Sizes, attributes and taps of shift2d. Nothing here knows TensorFlow, so that the shape function,
// the CPU and CUDA kernels and a plain C++ driver all share it.
#ifndef SSPQ_SHIFT2D_GEOMETRY_H_
#define SSPQ_SHIFT2D_GEOMETRY_H_

#include <math.h>

#include <cstdint>

// Functions that a CUDA kernel calls as well.
#ifdef __CUDACC__
#define SSPQ_HD __host__ __device__
#else
#define SSPQ_HD
#endif

namespace sspq {

// Output pixel i of an axis reads input pixels i * stride - pad + floor(shift) and the next one.
struct Axis {
  int64_t in = 0;
  int64_t out = 0;
  int64_t stride = 1;
  int64_t pad = 0;
};

struct Geometry {
  int64_t batch = 0;
  int64_t channels = 0;
  Axis h;
  Axis w;
  bool nchw = true;
};

// floor((in + 2 * pad - 1) / stride) + 1, written so that an empty input needs no floor of a
// negative quotient. The caller has checked stride >= 1 and pad >= 0.
inline int64_t OutputSize(int64_t in, int64_t stride, int64_t pad) {
  return (in + 2 * pad + stride - 1) / stride;
}

inline Axis MakeAxis(int64_t in, int64_t stride, int64_t pad) {
  Axis axis;
  axis.in = in;
  axis.out = OutputSize(in, stride, pad);
  axis.stride = stride;
  axis.pad = pad;
  return axis;
}

SSPQ_HD inline int64_t FloorDiv(int64_t a, int64_t b) {  // b > 0
  if (b == 1) return a;  // the usual stride; a division takes as long as thirty additions
  return a >= 0 ? a / b : -((b - 1 - a) / b);
}

// The two pixels that one channel reads along one axis, relative to the unshifted position:
// weight `lo` for the pixel at `offset`, weight `hi` for the next one.
template <typename T>
struct Tap {
  int64_t offset = 0;
  T lo = T(0);
  T hi = T(0);
  bool finite = false;   // a NaN or infinite shift makes the whole channel NaN
  bool integer = false;  // the derivative is then the mean of the one-sided ones
};

SSPQ_HD inline float Floor(float x) { return ::floorf(x); }
SSPQ_HD inline double Floor(double x) { return ::floor(x); }

// Offsets are clamped to just outside everything the axis can reach, so that a shift of 1e30
// reads zeros instead of overflowing an integer.
template <typename T>
SSPQ_HD inline Tap<T> MakeTap(T shift, const Axis& axis) {
  Tap<T> tap;
  tap.finite = shift - shift == T(0);  // false for NaN and both infinities
  if (!tap.finite) return tap;
  const int64_t reach = axis.in + axis.out * axis.stride + axis.pad + 2;
  const T floor = Floor(shift);
  tap.hi = shift - floor;
  tap.lo = T(1) - tap.hi;
  tap.integer = tap.hi == T(0);
  tap.offset = floor > T(reach) ? reach : floor < -T(reach) ? -reach : static_cast<int64_t>(floor);
  return tap;
}

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_GEOMETRY_H_

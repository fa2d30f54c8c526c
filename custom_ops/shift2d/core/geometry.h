// Sizes, attributes and taps of shift2d. Nothing here knows TensorFlow, so that the shape function,
// the CPU and CUDA kernels and a plain C++ driver all share it.
#ifndef SSPQ_SHIFT2D_CORE_GEOMETRY_H_
#define SSPQ_SHIFT2D_CORE_GEOMETRY_H_

#include <math.h>

#include <cstdint>
#include <initializer_list>

// Functions that a CUDA kernel calls as well.
#ifdef __CUDACC__
#define SSPQ_HD __host__ __device__
#else
#define SSPQ_HD
#endif

namespace sspq {

// Output pixel i of an axis reads input pixels i * stride - pad + floor(shift) and the next one.
// `Int` is int64_t but in CUDA kernels, where 64-bit arithmetic is slow.
template <typename Int>
struct AxisOf {
  typedef Int Index;
  Int in = 0;
  Int out = 0;
  Int stride = 1;
  Int pad = 0;
};

typedef AxisOf<int64_t> Axis;

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

// A stride that reaches beyond the paddings leads to a single output, as the least such stride
// does, which is taken instead: the kernels multiply it with 32 bits.
inline Axis MakeAxis(int64_t in, int64_t stride, int64_t pad) {
  const int64_t beyond = in + 2 * pad + 2;
  Axis axis;
  axis.in = in;
  axis.out = OutputSize(in, stride, pad);
  axis.stride = stride < beyond ? stride : beyond;
  axis.pad = pad;
  return axis;
}

// Null where all kernels can index these sizes, otherwise what is expected. On the CPU as on a GPU,
// places within an image, its paddings included, are counted with 32 bits in the inner loops.
inline const char* SizeLimit(const Geometry& g) {
  constexpr double kIndices = 2147483648.0;
  constexpr int64_t kReach = int64_t{1} << 28;
  // An empty axis counts as one: TensorFlow multiplies the others all the same.
  auto elements = [](int64_t n, int64_t c, int64_t h, int64_t w) {
    double product = 1;
    for (int64_t size : {n, c, h, w}) product *= size > 1 ? static_cast<double>(size) : 1.0;
    return product;
  };
  if (elements(g.batch, g.channels, g.h.out, g.w.out) >= kIndices) {
    return "fewer than 2^31 elements in `y`";
  }
  // Not a sum: a size that is known before there are data can be any.
  if (g.h.in > kReach - 2 * g.h.pad || g.w.in > kReach - 2 * g.w.pad) {
    return "a height and width, with their paddings, of at most 2^28";
  }
  if (elements(1, g.channels, g.h.in + 2 * g.h.pad, g.w.in + 2 * g.w.pad) >= kIndices) {
    return "fewer than 2^31 elements in an image of `x` with its paddings";
  }
  return nullptr;
}

template <typename Int>
SSPQ_HD inline Int FloorDiv(Int a, Int b) {  // b > 0
  if (b == 1) return a;  // the usual stride; a division takes as long as thirty additions
#if !defined(__CUDA_ARCH__)
  if (a >= -b && a < b) return a >= 0 ? 0 : -1;  // that of most first pixels
#endif
  return a >= 0 ? a / b : -((b - 1 - a) / b);
}

// The two pixels that one channel reads along one axis, relative to the unshifted position:
// weight `lo` for the pixel at `offset`, weight `hi` for the next one.
template <typename T, typename Int = int64_t>
struct Tap {
  Int offset = 0;
  T lo = T(0);
  T hi = T(0);
  bool finite = false;   // a NaN or infinite shift makes the whole channel NaN
  bool integer = false;  // the derivative is then the mean of the one-sided ones
};

// An integer of the same size.
template <typename T>
struct IntegerOf;
template <>
struct IntegerOf<float> {
  typedef int32_t Type;
};
template <>
struct IntegerOf<double> {
  typedef int64_t Type;
};

// False for NaN and both infinities.
template <typename T>
SSPQ_HD inline bool IsFinite(T x) {
  return x - x == T(0);
}

// The largest integer that is not above x; 0 for -0. On a CPU that has no instruction for it the
// library's function takes as long as all else that is worked out for a channel. No branch, here
// and in SplitShift: signs are random, and compilers vectorise loops over channels.
template <typename T>
SSPQ_HD inline T Floor(T x) {
#if defined(__CUDA_ARCH__)
  return ::floor(x);
#else
  typedef typename IntegerOf<T>::Type Integer;
  const T integers = sizeof(T) == 4 ? T(int64_t{1} << 23) : T(int64_t{1} << 52);
  const T above = x > -integers ? x : -integers, inside = above < integers ? above : integers;
  const T towards_zero = static_cast<T>(static_cast<Integer>(inside));
  const T floor = towards_zero - (towards_zero > inside ? T(1) : T(0));
  return inside == x ? floor : x;  // all are integers outside
#endif
}

// The members of a tap one by one, which compilers need for loops over channels. Offsets are
// clamped to just outside everything the axis can reach, so that a shift of 1e30 reads zeros
// instead of overflowing an integer.
template <typename T, typename Int>
SSPQ_HD inline void SplitShift(T shift, const AxisOf<Int>& axis, Int* offset, T* lo, T* hi,
                               bool* finite, bool* integer) {
  const T most = T(axis.in + axis.out * axis.stride + axis.pad + 2);
  *finite = IsFinite(shift);
  const T s = *finite ? shift : T(0), floor = Floor(s);
  const T above = floor > -most ? floor : -most;
  *offset = static_cast<Int>(above < most ? above : most);
  *hi = s - floor + T(0);  // not -0
  *lo = *finite ? T(1) - *hi : T(0);
  *integer = *finite & (*hi == T(0));
}

template <typename T, typename Int>
SSPQ_HD inline Tap<T, Int> MakeTap(T shift, const AxisOf<Int>& axis) {
  Tap<T, Int> tap;
  SplitShift(shift, axis, &tap.offset, &tap.lo, &tap.hi, &tap.finite, &tap.integer);
  return tap;
}

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CORE_GEOMETRY_H_

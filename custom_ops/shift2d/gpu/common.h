// What the CUDA kernels share: types, images in memory, and launching. No TensorFlow from here on,
// and nothing newer than CUDA 10.0 and C++11.
//
// Inside an image all indices are 32-bit ints; the host checks that they suffice. The kernels work
// on whole images of any number: only the step from one image to the next is 64 bits wide.
#ifndef SSPQ_SHIFT2D_GPU_COMMON_H_
#define SSPQ_SHIFT2D_GPU_COMMON_H_

#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <math.h>

#include "custom_ops/shift2d/core/element.h"
#include "custom_ops/shift2d/gpu/shift2d_gpu.h"

namespace sspq {
namespace gpu {

constexpr int kThreads = 256;  // of every block

// What values of the storage type S are computed in.
template <typename S>
struct ComputeOf {
  typedef S Type;
};
template <>
struct ComputeOf<Half> {
  typedef float Type;
};
template <typename S>
using Compute = typename ComputeOf<S>::Type;

__device__ inline float FromStorage(float value) { return value; }
__device__ inline double FromStorage(double value) { return value; }
__device__ inline float FromStorage(Half value) {
  __half_raw raw;
  raw.x = value.bits;
  return __half2float(__half(raw));
}

template <typename S>
__device__ inline S ToStorage(Compute<S> value) {
  return value;
}
template <>
__device__ inline Half ToStorage<Half>(float value) {
  Half stored;
  stored.bits = static_cast<__half_raw>(__float2half_rn(value)).x;
  return stored;
}

// One memory access.
template <typename S, int V>
struct alignas(sizeof(S) * V) Vector {
  S v[V];
};

// The V elements at `data`, which is aligned to all of them. A reference, so that checking
// compilers look at the alignment.
template <int V, typename S>
__device__ inline const Vector<S, V>& AsVector(const S* data) {
  return *reinterpret_cast<const Vector<S, V>*>(data);
}
template <int V, typename S>
__device__ inline Vector<S, V>& AsVector(S* data) {
  return *reinterpret_cast<Vector<S, V>*>(data);
}

// One image [C, H, W] or [H, W, C]: its size, and the distances between neighbours in elements.
struct Image {
  int height, width;
  int row, column, channel;
  int64_t elements;
};

// CUDA's own min and max lack some types in some versions.
template <typename T>
__device__ inline T Least(T a, T b) {
  return b < a ? b : a;
}
template <typename T>
__device__ inline T Most(T a, T b) {
  return a < b ? b : a;
}

// Whether 0 <= i < size.
__device__ inline bool Inside(int i, int size) {
  return static_cast<unsigned>(i) < static_cast<unsigned>(size);
}

// One channel of one image, zero outside. `data` points at its first pixel.
template <typename S>
struct Plane {
  const S* data;
  Image image;

  __device__ Compute<S> operator()(int r, int q) const {
    if (!Inside(r, image.height) || !Inside(q, image.width)) return 0;
    return FromStorage(data[r * image.row + q * image.column]);
  }
};

// Moves a window down by `phase` < 2 * Bit elements, one bit of it at a time: indices that are
// known when it is compiled keep the window in registers. Keeps the first half of the window and
// one more.
template <int Bit>
struct MoveDown {
  template <typename T, int Size>
  __device__ static void By(int phase, T (&window)[Size]) {
#pragma unroll
    for (int k = 0; k < Size / 2 + Bit; ++k) {
      window[k] = phase & Bit ? window[k + Bit] : window[k];
    }
    MoveDown<Bit / 2>::By(phase, window);
  }
};
template <>
struct MoveDown<0> {
  template <typename T, int Size>
  __device__ static void By(int, T (&)[Size]) {}
};

// Pixels [first, first + V] of a row of a plane, zero outside, by two aligned loads of V pixels.
// The width is a multiple of V, so that each of the two is inside or outside as a whole.
template <int V, typename S>
__device__ inline void ReadRow(const Plane<S>& plane, int row, int first,
                               Compute<S> (&values)[V + 1]) {
  const Image& image = plane.image;
  const int phase = first & (V - 1), start = first - phase;
  Compute<S> window[2 * V];
#pragma unroll
  for (int part = 0; part < 2; ++part) {
    const int column = start + part * V;
    Vector<S, V> loaded = Vector<S, V>();
    if (Inside(row, image.height) && Inside(column, image.width)) {
      loaded = AsVector<V>(plane.data + row * image.row + column * image.column);
    }
#pragma unroll
    for (int k = 0; k < V; ++k) window[part * V + k] = FromStorage(loaded.v[k]);
  }
  MoveDown<V / 2>::By(phase, window);
#pragma unroll
  for (int k = 0; k <= V; ++k) values[k] = window[k];
}

// The taps of one channel. The shift along W comes first in memory.
template <typename T>
struct Taps {
  Tap<T, int> y, x;

  __device__ bool finite() const { return y.finite && x.finite; }
};

template <typename S>
__device__ inline Taps<Compute<S>> TapsOf(const S* shift, int channels, int c, const AxisOf<int>& h,
                                          const AxisOf<int>& w) {
  Taps<Compute<S>> taps;
  taps.x = MakeTap(FromStorage(shift[c]), w);
  taps.y = MakeTap(FromStorage(shift[channels + c]), h);
  return taps;
}

// How a kernel that gives every thread a place in the image, and a run of images to walk there,
// is cut into blocks. A place holds the V neighbouring pixels of one memory access.
struct Tiles {
  int places;  // of one image
  int blocks;  // for the places of one image
  int images;  // that one thread walks
  int chunks;  // of that many images
};

#ifdef __CUDACC__
template <typename... Parameters, typename... Arguments>
cudaError_t Launch(void (*kernel)(Parameters...), int64_t blocks, int threads, cudaStream_t stream,
                   const Arguments&... arguments) {
  if (blocks > 0x7fffffff) return cudaErrorInvalidConfiguration;
  kernel<<<static_cast<unsigned>(blocks), threads, 0, stream>>>(arguments...);
  return cudaGetLastError();
}
#endif  // Another compiler emulates CUDA; its <cuda_runtime.h> says how to launch.

}  // namespace gpu
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_GPU_COMMON_H_

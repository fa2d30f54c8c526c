// Forward, and the gradient to x, as one operation: every pixel of `to` blends four neighbours of
// `from`. Forward `from` is x and `to` is y; the adjoint goes the other way.
#ifndef SSPQ_SHIFT2D_GPU_SAMPLE_H_
#define SSPQ_SHIFT2D_GPU_SAMPLE_H_

#include "custom_ops/shift2d/gpu/common.h"

namespace sspq {
namespace gpu {

struct Sampling {
  AxisOf<int> h, w;  // of the op, whichever way this goes
  Image from, to;
  int batch, channels;
  bool nchw, adjoint;
};

// What one pixel of `to` reads along both axes.
template <typename T>
struct Window {
  Reads<T, int> rows, columns;
};

template <typename T>
__device__ inline Window<T> WindowOf(const AxisOf<int>& h, const AxisOf<int>& w,
                                     const Taps<T>& taps, int i, int j, bool adjoint) {
  Window<T> window;
  window.rows = adjoint ? ReadersOf(h, taps.y, i) : ReadsOf(h, taps.y, i);
  window.columns = adjoint ? ReadersOf(w, taps.x, j) : ReadsOf(w, taps.x, j);
  return window;
}

// V neighbouring pixels of a row, where all of them read two neighbours along both axes.
template <int V, typename S>
__device__ inline void SampleRow(const Plane<S>& from, const Window<Compute<S>>& window,
                                 Compute<S> (&values)[V]) {
  Compute<S> upper[V + 1], lower[V + 1];
  ReadRow<V>(from, window.rows.first, window.columns.first, upper);
  ReadRow<V>(from, window.rows.first + 1, window.columns.first, lower);
#pragma unroll
  for (int k = 0; k < V; ++k) {
    values[k] = Blend(window.rows, window.columns, upper[k], upper[k + 1], lower[k], lower[k + 1]);
  }
}

template <int V, typename S>
__device__ inline void StoreRow(const Compute<S> (&values)[V], S* to) {
  Vector<S, V> stored;
#pragma unroll
  for (int k = 0; k < V; ++k) stored.v[k] = ToStorage<S>(values[k]);
  AsVector<V>(to) = stored;
}

// Every thread has a place in the image, computes there once what to read and with which weights,
// and then walks over images. Neighbouring threads write neighbouring memory. V > 1 is for NCHW at
// stride 1, with a width that is a multiple of V.
template <typename S, int V>
__global__ void __launch_bounds__(kThreads)
    SampleKernel(Sampling p, Tiles tiles, const S* __restrict__ from, const S* __restrict__ shift,
                 S* __restrict__ to) {
  typedef Compute<S> T;
  const int chunk = blockIdx.x / tiles.blocks, block = blockIdx.x % tiles.blocks;
  const unsigned place = static_cast<unsigned>(block) * kThreads + threadIdx.x;
  if (place >= static_cast<unsigned>(tiles.places)) return;
  const unsigned height = p.to.height, width = p.to.width / V, channels = p.channels;
  int c, i, j;
  if (p.nchw) {
    j = place % width * V;
    i = place / width % height;
    c = place / width / height;
  } else {
    c = place % channels;
    j = place / channels % width;
    i = place / channels / width;
  }
  const Taps<T> taps = TapsOf(shift, p.channels, c, p.h, p.w);
  const bool finite = taps.finite();
  const Window<T> window = WindowOf(p.h, p.w, taps, i, j, p.adjoint);
  const int first = chunk * tiles.images, last = first + Least(tiles.images, p.batch - first);
  Plane<S> plane = {from + first * p.from.elements + c * p.from.channel, p.from};
  to += first * p.to.elements + static_cast<int>(place * V);
#pragma unroll 2
  for (int n = first; n < last; ++n) {
    T values[V];
    if (V == 1) {
      values[0] = BlendElement(window.rows, window.columns, plane);
    } else {
      SampleRow<V>(plane, window, values);
    }
#pragma unroll
    for (int k = 0; k < V; ++k) values[k] = finite ? values[k] : T(NAN);
    StoreRow<V>(values, to);
    plane.data += p.from.elements;
    to += p.to.elements;
  }
}

// NHWC at stride 1. A thread has one channel, and walks along a run of columns of kStrip rows: the
// two columns of a pixel's window are read once and used twice, so are the rows in between.
// Neighbouring threads have neighbouring channels.
constexpr int kStrip = 4;

struct Runs {
  int lanes;           // neighbouring channels, one a thread; a power of two, at most 32
  int channel_groups;  // of that many channels
  int strips, runs;    // of an image
  int run_length;
  int units;  // pairs of strip and run, over all images
  int units_per_thread;

  __device__ int unit(int round) const {
    const int rows = kThreads / lanes;
    return (blockIdx.x / channel_groups * units_per_thread + round) * rows + threadIdx.x / lanes;
  }
  __device__ int first_channel() const { return blockIdx.x % channel_groups * lanes; }
  __device__ int channel() const { return first_channel() + threadIdx.x % lanes; }
};

// Where a unit begins.
struct RunStart {
  int n, i, j;
};

__device__ inline RunStart StartOf(const Runs& runs, int unit) {
  const unsigned u = unit, per_row = runs.runs, strips = runs.strips;
  RunStart start;
  start.j = u % per_row * runs.run_length;
  start.i = u / per_row % strips * kStrip;
  start.n = u / per_row / strips;
  return start;
}

// The pixels of rows [row, row + Count) in one column of a plane, zero outside.
template <int Count, typename S>
__device__ inline void ReadColumn(const Plane<S>& plane, int row, int column,
                                  Compute<S> (&values)[Count]) {
#pragma unroll
  for (int u = 0; u < Count; ++u) values[u] = plane(row + u, column);
}

template <int Count, typename T>
__device__ inline void Copy(const T (&from)[Count], T (&to)[Count]) {
#pragma unroll
  for (int u = 0; u < Count; ++u) to[u] = from[u];
}

template <typename S>
__global__ void __launch_bounds__(kThreads)
    SampleRunsKernel(Sampling p, Runs runs, const S* __restrict__ from, const S* __restrict__ shift,
                     S* __restrict__ to) {
  typedef Compute<S> T;
  const int c = runs.channel(), unit = runs.unit(0);
  if (c >= p.channels || unit >= runs.units) return;
  const RunStart start = StartOf(runs, unit);
  const Taps<T> taps = TapsOf(shift, p.channels, c, p.h, p.w);
  const bool finite = taps.finite();
  const Window<T> window = WindowOf(p.h, p.w, taps, start.i, start.j, p.adjoint);
  const Plane<S> plane = {from + start.n * p.from.elements + c, p.from};
  to += start.n * p.to.elements + start.i * p.to.row + start.j * p.to.column + c;
  const int length = Least(runs.run_length, p.to.width - start.j);
  T left[kStrip + 1], right[kStrip + 1];
  ReadColumn(plane, window.rows.first, window.columns.first, left);
#pragma unroll 2
  for (int k = 0; k < length; ++k) {
    ReadColumn(plane, window.rows.first, window.columns.first + k + 1, right);
#pragma unroll
    for (int u = 0; u < kStrip; ++u) {
      const T value =
          Blend(window.rows, window.columns, left[u], right[u], left[u + 1], right[u + 1]);
      if (start.i + u < p.to.height) to[u * p.to.row] = ToStorage<S>(finite ? value : T(NAN));
    }
    Copy(right, left);
    to += p.to.column;
  }
}

}  // namespace gpu
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_GPU_SAMPLE_H_

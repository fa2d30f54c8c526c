// The gradient to the shift, and fused with it, where x and y have the same size, the one to x.
#ifndef SSPQ_SHIFT2D_GPU_BACKWARD_H_
#define SSPQ_SHIFT2D_GPU_BACKWARD_H_

#include "custom_ops/shift2d/gpu/common.h"
#include "custom_ops/shift2d/gpu/sample.h"
#include "custom_ops/shift2d/gpu/sums.h"

namespace sspq {
namespace gpu {

struct Backward {
  AxisOf<int> h, w;
  Image x, y;
  int batch, channels;
};

// Pixels of y, `count` of them down or to the right of (i, j), where the shift is an integer along
// some axis. Rare, so it shall cost few registers rather than little time.
template <typename S>
__device__ inline void AddOneByOne(const Backward& p, const Taps<Compute<S>>& taps, int i, int j,
                                   int count, int down, int right, const Plane<S>& x,
                                   const Plane<S>& gy, ShiftSum<Compute<S>>* sum) {
#pragma unroll 1
  for (int k = 0; k < count; ++k) {
    const int row = i + k * down, column = j + k * right;
    sum->Add(DerivativeElement(p.h, p.w, taps.y, taps.x, row, column, x), gy(row, column));
  }
}

// V neighbouring pixels of a row of y, from (i, j) on.
template <int V, typename S>
__device__ inline void AddRow(const Backward& p, const Taps<Compute<S>>& taps, int i, int j,
                              const Plane<S>& x, const Plane<S>& gy, ShiftSum<Compute<S>>* sum) {
  typedef Compute<S> T;
  if (taps.y.integer || taps.x.integer) {
    AddOneByOne(p, taps, i, j, V, 0, 1, x, gy, sum);
    return;
  }
  const int row = FirstRead(p.h, taps.y, i), column = FirstRead(p.w, taps.x, j);
  T upper[V + 1], lower[V + 1];
  ReadRow<V>(x, row, column, upper);
  ReadRow<V>(x, row + 1, column, lower);
  const Vector<S, V> gradient = AsVector<V>(gy.data + i * gy.image.row + j);
#pragma unroll
  for (int k = 0; k < V; ++k) {
    sum->Add(Slope(taps.y, taps.x, upper[k], upper[k + 1], lower[k], lower[k + 1]),
             FromStorage(gradient.v[k]));
  }
}

// NCHW. As SampleKernel, with places in y; `gx` is null unless x and y have the same size. A
// channel's places are neighbours, so those of a block belong to neighbouring channels.
template <typename S, int V>
__global__ void __launch_bounds__(kThreads, 2)
    BackwardKernel(Backward p, Tiles tiles, unsigned places, int pieces, int lanes,
                   const S* __restrict__ x, const S* __restrict__ shift, const S* __restrict__ gy,
                   S* __restrict__ gx, ShiftSum<Compute<S>>* __restrict__ partial) {
  typedef Compute<S> T;
  const int chunk = blockIdx.x / tiles.blocks, block = blockIdx.x % tiles.blocks;
  const unsigned first_place = static_cast<unsigned>(block) * kThreads;
  const int used = Least(kThreads, static_cast<int>(tiles.places - first_place));
  const int first_channel = first_place / places;
  ShiftSum<T> sum = ShiftSum<T>::Zero();
  if (static_cast<int>(threadIdx.x) < used) {
    const unsigned place = first_place + threadIdx.x;
    const unsigned height = p.y.height, width = p.y.width / V;
    const int j = place % width * V, i = place / width % height, c = place / width / height;
    const Taps<T> taps = TapsOf(shift, p.channels, c, p.h, p.w);
    const bool finite = taps.finite();
    const Window<T> readers = WindowOf(p.h, p.w, taps, i, j, true);
    const int first = chunk * tiles.images, last = first + Least(tiles.images, p.batch - first);
    const int here = static_cast<int>(place * V);
    Plane<S> pixels = {x + first * p.x.elements + c * p.x.channel, p.x};
    Plane<S> gradients = {gy + first * p.y.elements + c * p.y.channel, p.y};
    if (gx != nullptr) gx += first * p.x.elements + here;
#pragma unroll 1
    for (int n = first; n < last; ++n) {
      if (gx != nullptr) {
        T values[V];
        SampleRow<V>(gradients, readers, values);
#pragma unroll
        for (int k = 0; k < V; ++k) values[k] = finite ? values[k] : T(NAN);
        StoreRow<V>(values, gx);
        gx += p.x.elements;
      }
      AddRow<V>(p, taps, i, j, pixels, gradients, &sum);
      pixels.data += p.x.elements;
      gradients.data += p.y.elements;
    }
  }
  const int last_channel = (first_place + used - 1) / places;
  ReduceByChannel(
      sum, threadIdx.x, last_channel - first_channel + 1, lanes,
      [=](int k) {
        const int64_t begin = static_cast<int64_t>(first_channel + k) * places - first_place;
        Slots s = {static_cast<int>(Most(begin, static_cast<int64_t>(0))),
                   static_cast<int>(Least(begin + places, static_cast<int64_t>(used)))};
        return s;
      },
      [=](int k, const ShiftSum<T>& total) {
        const int c = first_channel + k, piece = block - FirstBlock(places, c);
        partial[(static_cast<int64_t>(chunk) * pieces + piece) * p.channels + c] = total;
      });
}

// One run of kStrip rows of one channel.
template <typename S>
__device__ inline void BackwardRun(const Backward& p, const Runs& runs, int unit, int c,
                                   const Taps<Compute<S>>& taps, const S* x, const S* gy, S* gx,
                                   ShiftSum<Compute<S>>* sum) {
  typedef Compute<S> T;
  const RunStart start = StartOf(runs, unit);
  const bool finite = taps.finite(), integer = taps.y.integer || taps.x.integer;
  const Window<T> readers = WindowOf(p.h, p.w, taps, start.i, start.j, true);
  const int row = FirstRead(p.h, taps.y, start.i), column = FirstRead(p.w, taps.x, start.j);
  const int64_t image = start.n * p.x.elements + c;
  const Plane<S> pixels = {x + image, p.x}, gradients = {gy + image, p.y};
  gx += image + start.i * p.x.row + start.j * p.x.column;
  const int length = Least(runs.run_length, p.x.width - start.j);
  const int rows = Least(kStrip, p.x.height - start.i);
  T x_left[kStrip + 1], x_right[kStrip + 1], left[kStrip + 1], right[kStrip + 1], here[kStrip];
  ReadColumn(pixels, row, column, x_left);
  ReadColumn(gradients, readers.rows.first, readers.columns.first, left);
#pragma unroll 1
  for (int k = 0; k < length; ++k) {
    ReadColumn(pixels, row, column + k + 1, x_right);
    ReadColumn(gradients, readers.rows.first, readers.columns.first + k + 1, right);
    ReadColumn(gradients, start.i, start.j + k, here);
#pragma unroll
    for (int u = 0; u < kStrip; ++u) {
      const T value =
          Blend(readers.rows, readers.columns, left[u], right[u], left[u + 1], right[u + 1]);
      if (u < rows) gx[u * p.x.row] = ToStorage<S>(finite ? value : T(NAN));
    }
    if (integer) {
      AddOneByOne(p, taps, start.i, start.j + k, rows, 1, 0, pixels, gradients, sum);
    } else {
#pragma unroll
      for (int u = 0; u < kStrip; ++u) {
        if (u < rows) {
          sum->Add(Slope(taps.y, taps.x, x_left[u], x_right[u], x_left[u + 1], x_right[u + 1]),
                   here[u]);
        }
      }
    }
    Copy(x_right, x_left);
    Copy(right, left);
    gx += p.x.column;
  }
}

// NHWC where x and y have the same size.
template <typename S>
__global__ void __launch_bounds__(kThreads, 2)
    BackwardRunsKernel(Backward p, Runs runs, const S* __restrict__ x, const S* __restrict__ shift,
                       const S* __restrict__ gy, S* __restrict__ gx,
                       ShiftSum<Compute<S>>* __restrict__ partial) {
  typedef Compute<S> T;
  const int c = runs.channel(), first = runs.first_channel();
  ShiftSum<T> sum = ShiftSum<T>::Zero();
  if (c < p.channels) {
    const Taps<T> taps = TapsOf(shift, p.channels, c, p.h, p.w);
#pragma unroll 1
    for (int round = 0; round < runs.units_per_thread; ++round) {
      const int unit = runs.unit(round);
      if (unit < runs.units) BackwardRun(p, runs, unit, c, taps, x, gy, gx, &sum);
    }
  }
  const int64_t row = blockIdx.x / runs.channel_groups;
  const ChannelLanes threads = {runs.lanes};
  threads.Reduce(sum, p.channels - first, [=](int k, const ShiftSum<T>& total) {
    partial[row * p.channels + first + k] = total;
  });
}

// NHWC otherwise, the gradient to the shift alone. A thread has one channel and steps over pixels,
// counted over all images.
struct Steps {
  int lanes, channel_groups;
  int pixels;            // of y
  int pixels_per_block;  // of every group of channels
};

template <typename S>
__global__ void __launch_bounds__(kThreads, 2)
    ShiftSumsKernel(Backward p, Steps steps, const S* __restrict__ x, const S* __restrict__ shift,
                    const S* __restrict__ gy, ShiftSum<Compute<S>>* __restrict__ partial) {
  typedef Compute<S> T;
  const ChannelLanes threads = {steps.lanes};
  const int first = blockIdx.x % steps.channel_groups * steps.lanes, c = first + threads.lane();
  const int64_t row = blockIdx.x / steps.channel_groups;
  ShiftSum<T> sum = ShiftSum<T>::Zero();
  if (c < p.channels) {
    const Taps<T> taps = TapsOf(shift, p.channels, c, p.h, p.w);
    const int64_t begin = row * steps.pixels_per_block;
    const int64_t end = Least(begin + steps.pixels_per_block, static_cast<int64_t>(steps.pixels));
    for (int64_t m = begin + threads.row(); m < end; m += threads.rows()) {
      const unsigned pixel = static_cast<unsigned>(m), width = p.y.width, height = p.y.height;
      const int j = pixel % width, i = pixel / width % height, n = pixel / width / height;
      const Plane<S> pixels = {x + n * p.x.elements + c, p.x};
      sum.Add(DerivativeElement(p.h, p.w, taps.y, taps.x, i, j, pixels),
              FromStorage(gy[m * p.channels + c]));
    }
  }
  threads.Reduce(sum, p.channels - first, [=](int k, const ShiftSum<T>& total) {
    partial[row * p.channels + first + k] = total;
  });
}

}  // namespace gpu
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_GPU_BACKWARD_H_

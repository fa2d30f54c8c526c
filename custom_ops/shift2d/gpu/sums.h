// The sums behind the gradient to the shift: one per thread, added up within a block, and then over
// all blocks by a second kernel, always in the same order.
#ifndef SSPQ_SHIFT2D_GPU_SUMS_H_
#define SSPQ_SHIFT2D_GPU_SUMS_H_

#include "custom_ops/shift2d/gpu/common.h"

namespace sspq {
namespace gpu {

// A sum with twice the precision of a float: `low` gathers what rounding leaves out of `high`
// (Knuth's two-sum). Most GPUs add doubles 32 or 64 times slower than floats.
template <typename T>
struct Sum {
  T high, low;

  __device__ void Add(T value) {
    const T total = high + value, part = total - high;
    low += (high - (total - part)) + (value - part);
    high = total;
  }
  __device__ void Add(const Sum& other) {
    Add(other.high);
    low += other.low;
  }
  // Once `high` is infinite, `low` is NaN and says nothing.
  __device__ double Total() const {
    return IsFinite(low) ? static_cast<double>(high) + low : static_cast<double>(high);
  }
};

template <>
struct Sum<double> {
  double total;

  __device__ void Add(double value) { total += value; }
  __device__ void Add(const Sum& other) { total += other.total; }
  __device__ double Total() const { return total; }
};

// Of one channel, along both axes. Trivial, so that it can be shared memory; start from Zero().
template <typename T>
struct alignas(16) ShiftSum {
  Sum<T> x, y;

  __device__ static ShiftSum Zero() { return ShiftSum(); }
  __device__ void Add(const Derivative<T>& d, T gradient) {
    x.Add(gradient * d.x);
    y.Add(gradient * d.y);
  }
  __device__ void Add(const ShiftSum& other) {
    x.Add(other.x);
    y.Add(other.y);
  }
};

struct Slots {
  int begin, end;
};

// Adds up a block's sums by channel: the thread's own goes to `slot`, channel k of the block owns
// the slots of_channel(k), and store(k, sum) gets the result. `lanes` threads, a power of two, work
// on one channel. All threads of the block must call this.
template <typename T, typename OfChannel, typename Store>
__device__ void ReduceByChannel(const ShiftSum<T>& own, int slot, int channels, int lanes,
                                const OfChannel& of_channel, const Store& store) {
  __shared__ ShiftSum<T> slots[kThreads];
  __shared__ ShiftSum<T> tree[kThreads];
  const int thread = threadIdx.x, lane = thread % lanes;
  slots[slot] = own;
  __syncthreads();
  for (int first = 0; first < channels; first += kThreads / lanes) {
    const int k = first + thread / lanes;
    ShiftSum<T> sum = ShiftSum<T>::Zero();
    if (k < channels) {
      const Slots mine = of_channel(k);
      for (int s = mine.begin + lane; s < mine.end; s += lanes) sum.Add(slots[s]);
    }
    tree[thread] = sum;
    __syncthreads();
    for (int half = lanes / 2; half > 0; half /= 2) {
      if (lane < half) tree[thread].Add(tree[thread + half]);
      __syncthreads();
    }
    if (k < channels && lane == 0) store(k, tree[thread]);
  }
}

// Where a kernel with neighbouring channels in neighbouring threads puts its sums: together by
// channel.
struct ChannelLanes {
  int lanes;  // a power of two, at most 32

  __device__ int lane() const { return threadIdx.x % lanes; }
  __device__ int row() const { return threadIdx.x / lanes; }
  __device__ int rows() const { return kThreads / lanes; }

  // Adds up the block's sums of the `channels` channels from `first` on and puts them into `to`.
  template <typename T, typename Store>
  __device__ void Reduce(const ShiftSum<T>& own, int channels, const Store& store) const {
    const int slots = rows();
    const auto of_channel = [slots](int k) {
      Slots s = {k * slots, (k + 1) * slots};
      return s;
    };
    ReduceByChannel(own, lane() * slots + row(), Least(lanes, channels), 8, of_channel, store);
  }
};

// The blocks' sums: `rows` times `channels`. Of every `pieces` rows a channel has filled the first
// Pieces(places, c) alone: as many as its plane of `places` places has blocks.
struct Partials {
  int rows, channels;
  int pieces, places;
};

__device__ inline int FirstBlock(int places, int c) {
  return static_cast<int>(static_cast<int64_t>(c) * places / kThreads);
}

__device__ inline int Pieces(int places, int c) {
  const int64_t last = static_cast<int64_t>(c + 1) * places - 1;
  return static_cast<int>(last / kThreads) - FirstBlock(places, c) + 1;
}

constexpr int kFinishLanes = 8;  // channels of a block

// The second stage: the sums over all blocks, normalized if wished. A shift that is not finite
// makes its channel NaN.
template <typename S>
__global__ void __launch_bounds__(kThreads)
    FinishKernel(Partials p, bool normalize, const ShiftSum<Compute<S>>* __restrict__ partial,
                 const S* __restrict__ shift, S* __restrict__ gshift) {
  typedef Compute<S> T;
  const ChannelLanes threads = {kFinishLanes};
  const int first = blockIdx.x * kFinishLanes, c = first + threads.lane();
  ShiftSum<T> sum = ShiftSum<T>::Zero();
  if (c < p.channels) {
    const int filled = p.pieces == 1 ? 1 : Pieces(p.places, c);
#pragma unroll 4
    for (int row = threads.row(); row < p.rows; row += threads.rows()) {
      if (row % p.pieces < filled) sum.Add(partial[static_cast<int64_t>(row) * p.channels + c]);
    }
  }
  threads.Reduce(sum, p.channels - first, [&](int k, const ShiftSum<T>& total) {
    double x = total.x.Total(), y = total.y.Total();
    if (normalize) NormalizeGradient(&x, &y);
    const T of_x = FromStorage(shift[first + k]), of_y = FromStorage(shift[p.channels + first + k]);
    const bool finite = IsFinite(of_x) && IsFinite(of_y);
    gshift[first + k] = ToStorage<S>(finite ? static_cast<T>(x) : T(NAN));
    gshift[p.channels + first + k] = ToStorage<S>(finite ? static_cast<T>(y) : T(NAN));
  });
}

}  // namespace gpu
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_GPU_SUMS_H_

// Cuts the work into blocks and launches the kernels. How it is cut depends on sizes and alignment
// alone, never on the GPU at hand.
#include <algorithm>
#include <initializer_list>

#include "custom_ops/shift2d/gpu/backward.h"
#include "custom_ops/shift2d/gpu/sample.h"
#include "custom_ops/shift2d/gpu/shift2d_gpu.h"

// Blocks that keep any GPU busy; beyond, every thread gets more to do. Tests set it low, to come
// there with small arrays.
#ifndef SSPQ_ENOUGH_BLOCKS
#define SSPQ_ENOUGH_BLOCKS 4096
#endif

namespace sspq {
namespace gpu {
namespace {

int64_t EnoughBlocks() { return SSPQ_ENOUGH_BLOCKS; }

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t Clamp(int64_t value, int64_t least, int64_t most) {
  return std::max(least, std::min(value, most));
}

AxisOf<int> Narrow(const Axis& axis) {
  AxisOf<int> narrow;
  narrow.in = static_cast<int>(axis.in);
  narrow.out = static_cast<int>(axis.out);
  narrow.stride = static_cast<int>(axis.stride);
  narrow.pad = static_cast<int>(axis.pad);
  return narrow;
}

// A single channel is the same in both layouts, and NCHW has the wider memory accesses for it.
bool IsPlanar(const Geometry& g) { return g.nchw || g.channels == 1; }

bool IsUnstrided(const Geometry& g) { return g.h.stride == 1 && g.w.stride == 1; }

bool IsSameSize(const Geometry& g) { return IsUnstrided(g) && g.h.pad == 0 && g.w.pad == 0; }

Image MakeImage(const Geometry& g, int64_t height, int64_t width) {
  Image image;
  image.height = static_cast<int>(height);
  image.width = static_cast<int>(width);
  image.channel = static_cast<int>(IsPlanar(g) ? height * width : 1);
  image.column = static_cast<int>(IsPlanar(g) ? 1 : g.channels);
  image.row = static_cast<int>(width) * image.column;
  image.elements = g.channels * height * width;
  return image;
}

// The widest memory access, in elements, that rows and pointers allow.
template <typename S>
int AccessWidth(const Geometry& g, std::initializer_list<const void*> pointers) {
  if (!IsPlanar(g) || !IsSameSize(g)) return 1;
  for (int width = 16 / sizeof(S); width > 1; width /= 2) {
    const auto aligned = [width](const void* p) {
      return reinterpret_cast<uintptr_t>(p) % (width * sizeof(S)) == 0;
    };
    if (g.w.in % width == 0 && std::all_of(pointers.begin(), pointers.end(), aligned)) return width;
  }
  return 1;
}

// A thread walks over more images, up to `most`, where there are more than `enough` blocks: what it
// computes once is then shared by more of them.
Tiles MakeTiles(int64_t places, int64_t batch, int64_t enough, int64_t most) {
  const int64_t blocks = CeilDiv(places, kThreads);
  Tiles tiles;
  tiles.places = static_cast<int>(places);
  tiles.blocks = static_cast<int>(blocks);
  tiles.images = static_cast<int>(Clamp(blocks * batch / enough, 1, std::min(batch, most)));
  tiles.chunks = static_cast<int>(CeilDiv(batch, tiles.images));
  return tiles;
}

// Neighbouring channels that neighbouring threads get: as many as there are without leaving more
// than a quarter of the threads idle.
int Lanes(int64_t channels) {
  int lanes = 32;
  while (CeilDiv(channels, lanes) * lanes * 3 > channels * 4) lanes /= 2;
  return lanes;
}

Runs MakeRuns(const Geometry& g, int64_t height, int64_t width) {
  const int64_t enough_threads = 64 * EnoughBlocks();
  Runs runs;
  runs.lanes = Lanes(g.channels);
  runs.channel_groups = static_cast<int>(CeilDiv(g.channels, runs.lanes));
  runs.strips = static_cast<int>(CeilDiv(height, kStrip));
  // Shorter runs, which read their first column for fewer others, only where threads are lacking.
  int64_t length = 16;
  while (length > 4 &&
         g.batch * g.channels * runs.strips * CeilDiv(width, length) < enough_threads) {
    length /= 2;
  }
  runs.runs = static_cast<int>(CeilDiv(width, length));
  runs.run_length = static_cast<int>(CeilDiv(width, runs.runs));
  runs.units = static_cast<int>(g.batch * runs.strips * runs.runs);
  runs.units_per_thread = 1;
  return runs;
}

int64_t BlockRows(const Runs& runs) {
  return CeilDiv(runs.units, int64_t{kThreads / runs.lanes} * runs.units_per_thread);
}

// How the gradient to the shift is cut; which of the members counts depends on the layout.
struct BackwardPlan {
  Tiles tiles;
  int reduce_lanes;
  Runs runs;
  Steps steps;
  Partials partials;
};

BackwardPlan PlanPlanar(const Geometry& g, int width) {
  BackwardPlan plan = BackwardPlan();
  const int64_t places = g.h.out * (g.w.out / width);
  plan.tiles = MakeTiles(g.channels * places, g.batch, EnoughBlocks(), 32);
  plan.reduce_lanes = places >= kThreads / 4 ? 32 : 8;
  plan.partials.places = static_cast<int>(places);
  // A plane begins anywhere in a block.
  plan.partials.pieces = static_cast<int>(
      std::min<int64_t>(plan.tiles.blocks, CeilDiv(places + kThreads - 1, kThreads)));
  plan.partials.rows = plan.tiles.chunks * plan.partials.pieces;
  return plan;
}

BackwardPlan PlanInterleaved(const Geometry& g) {
  BackwardPlan plan = BackwardPlan();
  plan.partials.pieces = 1;
  if (IsSameSize(g)) {
    plan.runs = MakeRuns(g, g.h.in, g.w.in);
    const int64_t blocks = BlockRows(plan.runs) * plan.runs.channel_groups;
    plan.runs.units_per_thread = static_cast<int>(Clamp(blocks / EnoughBlocks(), 1, 16));
    plan.partials.rows = static_cast<int>(BlockRows(plan.runs));
  } else {
    plan.steps.lanes = Lanes(g.channels);
    plan.steps.channel_groups = static_cast<int>(CeilDiv(g.channels, plan.steps.lanes));
    plan.steps.pixels = static_cast<int>(g.batch * g.h.out * g.w.out);
    const int64_t rows = kThreads / plan.steps.lanes;
    const int64_t blocks = CeilDiv(plan.steps.pixels, rows) * plan.steps.channel_groups;
    plan.steps.pixels_per_block = static_cast<int>(rows * Clamp(blocks / EnoughBlocks(), 4, 64));
    plan.partials.rows = static_cast<int>(CeilDiv(plan.steps.pixels, plan.steps.pixels_per_block));
  }
  return plan;
}

BackwardPlan PlanBackward(const Geometry& g, int width) {
  BackwardPlan plan = IsPlanar(g) ? PlanPlanar(g, width) : PlanInterleaved(g);
  plan.partials.channels = static_cast<int>(g.channels);
  return plan;
}

// The kernels of every access width, by recursion from the widest one down.
template <typename S, int V = 16 / sizeof(S)>
struct OfWidth {
  static cudaError_t Sample(int width, const Sampling& p, const Tiles& tiles, const S* from,
                            const S* shift, S* to, cudaStream_t stream) {
    if (width != V) return OfWidth<S, V / 2>::Sample(width, p, tiles, from, shift, to, stream);
    return Launch(SampleKernel<S, V>, int64_t{tiles.blocks} * tiles.chunks, kThreads, stream, p,
                  tiles, from, shift, to);
  }

  static cudaError_t Differentiate(int width, const Backward& p, const BackwardPlan& plan,
                                   const S* x, const S* shift, const S* gy, S* gx,
                                   ShiftSum<Compute<S>>* partial, cudaStream_t stream) {
    if (width != V) {
      return OfWidth<S, V / 2>::Differentiate(width, p, plan, x, shift, gy, gx, partial, stream);
    }
    return Launch(BackwardKernel<S, V>, int64_t{plan.tiles.blocks} * plan.tiles.chunks, kThreads,
                  stream, p, plan.tiles, plan.partials.places, plan.partials.pieces,
                  plan.reduce_lanes, x, shift, gy, gx, partial);
  }
};

template <typename S>
struct OfWidth<S, 0> {
  template <typename... Arguments>
  static cudaError_t Sample(const Arguments&...) {
    return cudaErrorInvalidValue;
  }
  template <typename... Arguments>
  static cudaError_t Differentiate(const Arguments&...) {
    return cudaErrorInvalidValue;
  }
};

// Forward from x to y, or the adjoint from gy to gx.
template <typename S>
cudaError_t Sample(const Geometry& g, bool adjoint, const S* from, const S* shift, S* to,
                   cudaStream_t stream) {
  const Image x = MakeImage(g, g.h.in, g.w.in), y = MakeImage(g, g.h.out, g.w.out);
  Sampling p;
  p.h = Narrow(g.h);
  p.w = Narrow(g.w);
  p.from = adjoint ? y : x;
  p.to = adjoint ? x : y;
  if (g.batch == 0 || p.to.elements == 0) return cudaSuccess;
  p.batch = static_cast<int>(g.batch);
  p.channels = static_cast<int>(g.channels);
  p.nchw = IsPlanar(g);
  p.adjoint = adjoint;
  if (!IsPlanar(g) && IsUnstrided(g)) {
    const Runs runs = MakeRuns(g, p.to.height, p.to.width);
    return Launch(SampleRunsKernel<S>, BlockRows(runs) * runs.channel_groups, kThreads, stream, p,
                  runs, from, shift, to);
  }
  const int width = AccessWidth<S>(g, {from, to});
  const Tiles tiles = MakeTiles(p.to.elements / width, g.batch, 2 * EnoughBlocks(), 16);
  return OfWidth<S>::Sample(width, p, tiles, from, shift, to, stream);
}

// The gradient to the shift of every block, and the one to x if `gx` is not null.
template <typename S>
cudaError_t Differentiate(const Geometry& g, const BackwardPlan& plan, int width, const S* x,
                          const S* shift, const S* gy, S* gx, ShiftSum<Compute<S>>* partial,
                          cudaStream_t stream) {
  Backward p;
  p.h = Narrow(g.h);
  p.w = Narrow(g.w);
  p.x = MakeImage(g, g.h.in, g.w.in);
  p.y = MakeImage(g, g.h.out, g.w.out);
  p.batch = static_cast<int>(g.batch);
  p.channels = static_cast<int>(g.channels);
  if (IsPlanar(g)) {
    return OfWidth<S>::Differentiate(width, p, plan, x, shift, gy, gx, partial, stream);
  }
  if (gx != nullptr) {
    const int64_t blocks = int64_t{plan.partials.rows} * plan.runs.channel_groups;
    return Launch(BackwardRunsKernel<S>, blocks, kThreads, stream, p, plan.runs, x, shift, gy, gx,
                  partial);
  }
  const int64_t blocks = int64_t{plan.partials.rows} * plan.steps.channel_groups;
  return Launch(ShiftSumsKernel<S>, blocks, kThreads, stream, p, plan.steps, x, shift, gy, partial);
}

bool IsEmpty(const Geometry& g) { return g.batch * g.channels * g.h.out * g.w.out == 0; }

}  // namespace
}  // namespace gpu

int64_t Shift2DGpuWorkspace(const Geometry& g, size_t element_size) {
  static_assert(sizeof(gpu::ShiftSum<float>) == 16 && sizeof(gpu::ShiftSum<double>) == 16, "");
  if (gpu::IsEmpty(g)) return 0;
  int64_t rows = 0;  // the most over all alignments of the pointers
  for (int width = static_cast<int>(16 / element_size); width >= 1; width /= 2) {
    if (g.w.out % width != 0) continue;
    rows = std::max<int64_t>(rows, gpu::PlanBackward(g, width).partials.rows);
  }
  return rows * g.channels * 16;
}

template <typename T>
cudaError_t Shift2DGpuForward(const Geometry& g, const T* x, const T* shift, T* y,
                              cudaStream_t stream) {
  return gpu::Sample(g, false, x, shift, y, stream);
}

template <typename T>
cudaError_t Shift2DGpuBackward(const Geometry& g, const T* x, const T* shift, const T* gy,
                               bool normalize, T* gx, T* gshift, void* workspace,
                               cudaStream_t stream) {
  if (g.channels == 0) return cudaSuccess;
  auto* partial = static_cast<gpu::ShiftSum<gpu::Compute<T>>*>(workspace);
  gpu::Partials partials = {0, static_cast<int>(g.channels), 1, 0};
  if (!gpu::IsEmpty(g)) {
    const bool fused = gpu::IsSameSize(g);
    if (!fused) {
      const cudaError_t error = gpu::Sample(g, true, gy, shift, gx, stream);
      if (error != cudaSuccess) return error;
    }
    const int width = gpu::AccessWidth<T>(g, {x, gy, gx});
    const gpu::BackwardPlan plan = gpu::PlanBackward(g, width);
    const cudaError_t error =
        gpu::Differentiate(g, plan, width, x, shift, gy, fused ? gx : nullptr, partial, stream);
    if (error != cudaSuccess) return error;
    partials = plan.partials;
  }
  const int64_t blocks = gpu::CeilDiv(g.channels, gpu::kFinishLanes);
  return gpu::Launch(gpu::FinishKernel<T>, blocks, gpu::kThreads, stream, partials, normalize,
                     partial, shift, gshift);
}

#define SSPQ_INSTANTIATE(T)                                                                        \
  template cudaError_t Shift2DGpuForward(const Geometry&, const T*, const T*, T*, cudaStream_t);   \
  template cudaError_t Shift2DGpuBackward(const Geometry&, const T*, const T*, const T*, bool, T*, \
                                          T*, void*, cudaStream_t)
SSPQ_INSTANTIATE(Half);
SSPQ_INSTANTIATE(float);
SSPQ_INSTANTIATE(double);
#undef SSPQ_INSTANTIATE

}  // namespace sspq

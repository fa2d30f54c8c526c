// The CUDA kernels behind a C interface, for tests and benchmarks without TensorFlow.
#include <cstdint>

static int64_t enough_blocks = 4096;
#define SSPQ_ENOUGH_BLOCKS enough_blocks
#include "custom_ops/shift2d/gpu/shift2d_gpu.cu"

namespace {

using sspq::Geometry;
using sspq::Half;

// `sizes`: batch, channels, height, width, stride_h, stride_w, pad_h, pad_w, whether NCHW.
Geometry MakeGeometry(const int64_t* sizes) {
  Geometry g;
  g.batch = sizes[0];
  g.channels = sizes[1];
  g.h = sspq::MakeAxis(sizes[2], sizes[4], sizes[6]);
  g.w = sspq::MakeAxis(sizes[3], sizes[5], sizes[7]);
  g.nchw = sizes[8] != 0;
  return g;
}

template <typename T>
int Forward(const Geometry& g, const void* x, const void* shift, void* y, void* stream) {
  return sspq::Shift2DGpuForward(g, static_cast<const T*>(x), static_cast<const T*>(shift),
                                 static_cast<T*>(y), static_cast<cudaStream_t>(stream));
}

template <typename T>
int Backward(const Geometry& g, const void* x, const void* shift, const void* gy, bool normalize,
             void* gx, void* gshift, void* workspace, void* stream) {
  return sspq::Shift2DGpuBackward(g, static_cast<const T*>(x), static_cast<const T*>(shift),
                                  static_cast<const T*>(gy), normalize, static_cast<T*>(gx),
                                  static_cast<T*>(gshift), workspace,
                                  static_cast<cudaStream_t>(stream));
}

}  // namespace

// `element_size` stands for the type: 2, 4 or 8 bytes. Errors are those of CUDA, 0 for none.
extern "C" {

const char* sspq_limit(const int64_t* sizes) { return sspq::SizeLimit(MakeGeometry(sizes)); }

int64_t sspq_workspace(const int64_t* sizes, int element_size) {
  return sspq::Shift2DGpuWorkspace(MakeGeometry(sizes), element_size);
}

int sspq_forward(const int64_t* sizes, int element_size, const void* x, const void* shift, void* y,
                 void* stream) {
  const auto run = element_size == 2   ? Forward<Half>
                   : element_size == 4 ? Forward<float>
                                       : Forward<double>;
  return run(MakeGeometry(sizes), x, shift, y, stream);
}

int sspq_backward(const int64_t* sizes, int element_size, const void* x, const void* shift,
                  const void* gy, int normalize, void* gx, void* gshift, void* workspace,
                  void* stream) {
  const auto run = element_size == 2   ? Backward<Half>
                   : element_size == 4 ? Backward<float>
                                       : Backward<double>;
  return run(MakeGeometry(sizes), x, shift, gy, normalize != 0, gx, gshift, workspace, stream);
}

// From how many blocks on every thread gets more to do.
void sspq_enough_blocks(int64_t blocks) { enough_blocks = blocks; }

#ifndef __CUDACC__
// The order in which emulated blocks and threads run; 0 is as they are numbered.
void sspq_shuffle(unsigned seed) { emulation::seed = seed; }
#endif

}  // extern "C"

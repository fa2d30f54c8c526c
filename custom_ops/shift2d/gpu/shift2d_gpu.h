// The CUDA kernels' interface: pointers to device memory, sizes (within SizeLimit) and a stream.
//
// All functions only put work on `stream`: they neither allocate nor wait. The sums behind the
// gradient to the shift are added up in an order that depends on sizes and on the alignment of the
// pointers alone, so the same inputs give the same bits, run after run, on any GPU.
#ifndef SSPQ_SHIFT2D_GPU_H_
#define SSPQ_SHIFT2D_GPU_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "custom_ops/shift2d/core/geometry.h"

namespace sspq {

// A float16 as it is stored; what is computed is computed in float.
struct Half {
  uint16_t bits;
};

// Bytes of device memory that Shift2DGpuBackward needs beside its arguments, aligned to 16.
int64_t Shift2DGpuWorkspace(const Geometry& g, size_t element_size);

// T is Half, float or double. Arrays are as in the contract of the op, dense, and aligned to T at
// least; 16 bytes let the kernels use wide loads.
template <typename T>
cudaError_t Shift2DGpuForward(const Geometry& g, const T* x, const T* shift, T* y,
                              cudaStream_t stream);

template <typename T>
cudaError_t Shift2DGpuBackward(const Geometry& g, const T* x, const T* shift, const T* gy,
                               bool normalize, T* gx, T* gshift, void* workspace,
                               cudaStream_t stream);

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_GPU_H_

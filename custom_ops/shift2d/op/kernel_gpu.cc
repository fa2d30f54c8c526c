// The TensorFlow side of the CUDA kernels: checks run-time shapes, allocates, and puts the work on
// the stream of the op's device.
#include <cuda_runtime_api.h>

#include "custom_ops/shift2d/gpu/shift2d_gpu.h"
#include "custom_ops/shift2d/op/kernel.h"
#include "tensorflow/stream_executor/stream.h"
#include "tensorflow/stream_executor/stream_executor_internal.h"

namespace sspq {
namespace {

using ::tensorflow::OpKernelContext;
using ::tensorflow::Status;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;

template <typename T>
struct StorageOf {
  typedef T Type;
};
template <>
struct StorageOf<Eigen::half> {
  static_assert(sizeof(Eigen::half) == sizeof(Half), "both are the bits of a float16");
  typedef Half Type;
};

template <typename T>
typename StorageOf<T>::Type* Data(Tensor* tensor) {
  return reinterpret_cast<typename StorageOf<T>::Type*>(tensor->flat<T>().data());
}

template <typename T>
const typename StorageOf<T>::Type* Data(const Tensor& tensor) {
  return reinterpret_cast<const typename StorageOf<T>::Type*>(tensor.flat<T>().data());
}

// What TensorFlow's own StreamExecutor gives its CUDA libraries. A stream belongs to the driver, so
// it means the same to TensorFlow's copy of the CUDA runtime and to ours.
cudaStream_t StreamOf(OpKernelContext* ctx) {
  return *reinterpret_cast<cudaStream_t*>(
      ctx->op_device_context()->stream()->implementation()->GpuStreamMemberHack());
}

Status CheckLaunch(cudaError_t error) {
  if (error == cudaSuccess) return Status();
  return ::tensorflow::errors::Internal("shift2d: a CUDA kernel was not launched: ",
                                        cudaGetErrorString(error));
}

template <typename T>
class Shift2DGpuForwardOp : public Shift2DKernel {
 public:
  using Shift2DKernel::Shift2DKernel;

  void Compute(OpKernelContext* ctx) override {
    const Tensor& x = ctx->input(0);
    const Tensor& shift = ctx->input(1);
    Geometry g;
    OP_REQUIRES_OK(ctx, ReadGeometry(ctx, &g));
    Tensor* y = nullptr;
    OP_REQUIRES_OK(ctx, ctx->allocate_output(0, OutputShape(g), &y));
    OP_REQUIRES_OK(ctx, CheckLaunch(Shift2DGpuForward(g, Data<T>(x), Data<T>(shift), Data<T>(y),
                                                      StreamOf(ctx))));
  }
};

template <typename T>
class Shift2DGpuBackwardOp : public Shift2DKernel {
 public:
  using Shift2DKernel::Shift2DKernel;

  void Compute(OpKernelContext* ctx) override {
    const Tensor& x = ctx->input(0);
    const Tensor& shift = ctx->input(1);
    const Tensor& gy = ctx->input(2);
    Geometry g;
    OP_REQUIRES_OK(ctx, ReadGeometry(ctx, &g));
    Tensor *gx = nullptr, *gshift = nullptr;
    Tensor workspace;
    OP_REQUIRES_OK(ctx, ctx->allocate_output(0, x.shape(), &gx));
    OP_REQUIRES_OK(ctx, ctx->allocate_output(1, shift.shape(), &gshift));
    OP_REQUIRES_OK(
        ctx, ctx->allocate_temp(::tensorflow::DT_UINT8,
                                TensorShape({Shift2DGpuWorkspace(g, sizeof(T))}), &workspace));
    OP_REQUIRES_OK(
        ctx, CheckLaunch(Shift2DGpuBackward(
                 g, Data<T>(x), Data<T>(shift), Data<T>(gy), attrs_.normalize, Data<T>(gx),
                 Data<T>(gshift), workspace.flat<::tensorflow::uint8>().data(), StreamOf(ctx))));
  }
};

SSPQ_REGISTER_SHIFT2D(DEVICE_GPU, Eigen::half, Shift2DGpuForwardOp, Shift2DGpuBackwardOp);
SSPQ_REGISTER_SHIFT2D(DEVICE_GPU, float, Shift2DGpuForwardOp, Shift2DGpuBackwardOp);
SSPQ_REGISTER_SHIFT2D(DEVICE_GPU, double, Shift2DGpuForwardOp, Shift2DGpuBackwardOp);

}  // namespace
}  // namespace sspq

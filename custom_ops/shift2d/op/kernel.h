// What the CPU and GPU kernels of both ops share: attributes, and the checks of run-time shapes.
#ifndef SSPQ_SHIFT2D_OP_KERNEL_H_
#define SSPQ_SHIFT2D_OP_KERNEL_H_

#include "custom_ops/shift2d/op/attrs.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace sspq {

class Shift2DKernel : public ::tensorflow::OpKernel {
 public:
  explicit Shift2DKernel(::tensorflow::OpKernelConstruction* ctx) : ::tensorflow::OpKernel(ctx) {
    OP_REQUIRES_OK(ctx, attrs_.Read(ctx));
  }

 protected:
  // Reads the sizes of the inputs (`x`, `shift` and, of the gradient op, `gy`) and checks all
  // shapes.
  ::tensorflow::Status ReadGeometry(::tensorflow::OpKernelContext* ctx, Geometry* g) const {
    const ::tensorflow::Tensor &x = ctx->input(0), &shift = ctx->input(1);
    if (x.dims() != 4) {
      return ::tensorflow::errors::InvalidArgument("shift2d: `x` must have 4 dimensions, ",
                                                   attrs_.layout_name(), ", got shape ",
                                                   x.shape().DebugString());
    }
    const int64_t channels = x.dim_size(attrs_.c_axis());
    if (shift.dims() != 2 || shift.dim_size(0) != 2 || shift.dim_size(1) != channels) {
      return ::tensorflow::errors::InvalidArgument(
          "shift2d: `shift` must have shape [2, C] with C the channels of `x`, ", channels,
          " here; got shape ", shift.shape().DebugString(), " for `x` of shape ",
          x.shape().DebugString(), " (", attrs_.layout_name(), ")");
    }
    TF_RETURN_IF_ERROR(MakeGeometry(
        attrs_, {x.dim_size(0), channels, x.dim_size(attrs_.h_axis()), x.dim_size(attrs_.w_axis())},
        g));
    if (ctx->num_inputs() < 3 || ctx->input(2).shape() == OutputShape(*g)) {
      return ::tensorflow::Status();
    }
    return ::tensorflow::errors::InvalidArgument(
        "shift2d: `gy` must have the shape of the output, ", OutputShape(*g).DebugString(),
        ", got ", ctx->input(2).shape().DebugString());
  }

  ::tensorflow::TensorShape OutputShape(const Geometry& g) const {
    return attrs_.nchw ? ::tensorflow::TensorShape({g.batch, g.channels, g.h.out, g.w.out})
                       : ::tensorflow::TensorShape({g.batch, g.h.out, g.w.out, g.channels});
  }

  Shift2DAttrs attrs_;
};

}  // namespace sspq

#define SSPQ_REGISTER_SHIFT2D(Device_, T, Forward, Backward)                                 \
  REGISTER_KERNEL_BUILDER(                                                                   \
      Name("SspqShift2D").Device(::tensorflow::Device_).TypeConstraint<T>("T"), Forward<T>); \
  REGISTER_KERNEL_BUILDER(                                                                   \
      Name("SspqShift2DGrad").Device(::tensorflow::Device_).TypeConstraint<T>("T"), Backward<T>)

#endif  // SSPQ_SHIFT2D_OP_KERNEL_H_

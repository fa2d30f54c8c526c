// What the CPU and GPU kernels of both ops share: attributes, and the checks of run-time shapes.
#ifndef SSPQ_SHIFT2D_KERNEL_H_
#define SSPQ_SHIFT2D_KERNEL_H_

#include "custom_ops/shift2d/cc/kernels/attrs.h"
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
  ::tensorflow::Status ReadGeometry(const ::tensorflow::Tensor& x,
                                    const ::tensorflow::Tensor& shift, Geometry* g) const {
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
    g->nchw = attrs_.nchw;
    g->batch = x.dim_size(0);
    g->channels = channels;
    g->h = MakeAxis(x.dim_size(attrs_.h_axis()), attrs_.stride_h, attrs_.pad_h);
    g->w = MakeAxis(x.dim_size(attrs_.w_axis()), attrs_.stride_w, attrs_.pad_w);
    return CheckIndexable(g->batch, g->channels, g->h.out, g->w.out);
  }

  ::tensorflow::TensorShape OutputShape(const Geometry& g) const {
    return attrs_.nchw ? ::tensorflow::TensorShape({g.batch, g.channels, g.h.out, g.w.out})
                       : ::tensorflow::TensorShape({g.batch, g.h.out, g.w.out, g.channels});
  }

  ::tensorflow::Status CheckGradient(const ::tensorflow::Tensor& gy, const Geometry& g) const {
    if (gy.shape() == OutputShape(g)) return ::tensorflow::Status();
    return ::tensorflow::errors::InvalidArgument(
        "shift2d: `gy` must have the shape of the output, ", OutputShape(g).DebugString(), ", got ",
        gy.shape().DebugString());
  }

  Shift2DAttrs attrs_;
};

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_KERNEL_H_

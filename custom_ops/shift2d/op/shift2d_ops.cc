// Interface of the two ops: attributes, shapes and documentation.
#include "custom_ops/shift2d/op/attrs.h"
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace sspq {
namespace {

using ::tensorflow::Status;
using ::tensorflow::shape_inference::DimensionHandle;
using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

namespace errors = ::tensorflow::errors;

// Checks what is known of `x` and `shift` and merges their channel counts into `channels`.
Status CheckInputs(InferenceContext* c, const Shift2DAttrs& attrs, ShapeHandle* x,
                   DimensionHandle* channels) {
  ShapeHandle shift;
  if (!c->WithRank(c->input(0), 4, x).ok()) {
    return errors::InvalidArgument("shift2d: `x` must have 4 dimensions, ", attrs.layout_name(),
                                   ", got shape ", c->DebugString(c->input(0)));
  }
  *channels = c->Dim(*x, attrs.c_axis());
  DimensionHandle two, merged;
  if (!c->WithRank(c->input(1), 2, &shift).ok() || !c->WithValue(c->Dim(shift, 0), 2, &two).ok() ||
      !c->Merge(*channels, c->Dim(shift, 1), &merged).ok()) {
    return errors::InvalidArgument(
        "shift2d: `shift` must have shape [2, C] with C the channels of `x`, ",
        c->DebugString(*channels), " here; got shape ", c->DebugString(c->input(1)),
        " for `x` of shape ", c->DebugString(*x), " (", attrs.layout_name(), ")");
  }
  *channels = merged;
  return Status();
}

DimensionHandle OutputDim(InferenceContext* c, DimensionHandle in, int64_t stride, int64_t pad) {
  if (!c->ValueKnown(in)) return c->UnknownDim();
  return c->MakeDim(OutputSize(c->Value(in), stride, pad));
}

// Checks the sizes, as far as they are known, and sets `y` to the output's shape.
Status OutputShape(InferenceContext* c, const Shift2DAttrs& attrs, ShapeHandle x,
                   DimensionHandle channels, ShapeHandle* y) {
  const DimensionHandle n = c->Dim(x, 0);
  const DimensionHandle in_h = c->Dim(x, attrs.h_axis()), in_w = c->Dim(x, attrs.w_axis());
  const DimensionHandle h = OutputDim(c, in_h, attrs.stride_h, attrs.pad_h);
  const DimensionHandle w = OutputDim(c, in_w, attrs.stride_w, attrs.pad_w);
  if (c->ValueKnown(channels) && c->ValueKnown(in_h) && c->ValueKnown(in_w)) {
    Geometry unused;
    TF_RETURN_IF_ERROR(MakeGeometry(
        attrs, {c->Value(n), c->Value(channels), c->Value(in_h), c->Value(in_w)}, &unused));
  }
  *y = attrs.nchw ? c->MakeShape({n, channels, h, w}) : c->MakeShape({n, h, w, channels});
  return Status();
}

Status Shift2DShape(InferenceContext* c) {
  Shift2DAttrs attrs;
  ShapeHandle x, y;
  DimensionHandle channels;
  TF_RETURN_IF_ERROR(attrs.Read(c));
  TF_RETURN_IF_ERROR(CheckInputs(c, attrs, &x, &channels));
  TF_RETURN_IF_ERROR(OutputShape(c, attrs, x, channels, &y));
  c->set_output(0, y);
  return Status();
}

Status Shift2DGradShape(InferenceContext* c) {
  Shift2DAttrs attrs;
  ShapeHandle x, y, merged;
  DimensionHandle channels;
  TF_RETURN_IF_ERROR(attrs.Read(c));
  TF_RETURN_IF_ERROR(CheckInputs(c, attrs, &x, &channels));
  TF_RETURN_IF_ERROR(OutputShape(c, attrs, x, channels, &y));
  if (!c->Merge(c->input(2), y, &merged).ok()) {
    return errors::InvalidArgument("shift2d: `gy` must have the shape of the output, ",
                                   c->DebugString(y), ", got ", c->DebugString(c->input(2)));
  }
  c->set_output(0, x);
  c->set_output(1, c->Matrix(2, channels));
  return Status();
}

}  // namespace

REGISTER_OP("SspqShift2D")
    .Input("x: T")
    .Input("shift: T")
    .Output("y: T")
    .Attr("T: {half, float, double}")
    .Attr("strides: list(int) = [1, 1, 1, 1]")
    .Attr("paddings: list(int) = [0, 0, 0, 0]")
    .Attr("normalize: bool = false")
    .Attr("data_format: {'NCHW', 'NHWC'} = 'NCHW'")
    .SetShapeFn(Shift2DShape)
    .Doc(R"doc(
Moves every channel of `x` by its own real-valued offset, read back bilinearly, zeros outside.

For output pixel (h, w) of channel c with sx = shift[0, c], sy = shift[1, c]:

  r = h*stride_h - pad_h + floor(sy)      dy = sy - floor(sy)
  q = w*stride_w - pad_w + floor(sx)      dx = sx - floor(sx)
  y = (1-dy)*((1-dx)*x[r, q] + dx*x[r, q+1]) + dy*((1-dx)*x[r+1, q] + dx*x[r+1, q+1])

x: 4-D, in the order of `data_format`.
shift: [2, C]; row 0 along width, row 1 along height, in input pixels.
y: height and width are floor((size + 2*pad - 1) / stride) + 1.
strides: in the order of `data_format`; 1 for batch and channels.
paddings: in the order of `data_format`; 0 for batch and channels.
normalize: only used by the gradient to `shift`: divide each channel's (gx, gy) by its L2 norm.
)doc");

REGISTER_OP("SspqShift2DGrad")
    .Input("x: T")
    .Input("shift: T")
    .Input("gy: T")
    .Output("gx: T")
    .Output("gshift: T")
    .Attr("T: {half, float, double}")
    .Attr("strides: list(int) = [1, 1, 1, 1]")
    .Attr("paddings: list(int) = [0, 0, 0, 0]")
    .Attr("normalize: bool = false")
    .Attr("data_format: {'NCHW', 'NHWC'} = 'NCHW'")
    .SetShapeFn(Shift2DGradShape)
    .Doc(R"doc(
Both gradients of SspqShift2D in one pass.

`gx` is the adjoint of the forward map. `gshift` sums, in a fixed order and in float64 (on a GPU in
pairs of float32, unless T is double), the derivative of the bilinear weights against `gy`; at an
integer shift it is the mean of the two one-sided derivatives.
)doc");

}  // namespace sspq

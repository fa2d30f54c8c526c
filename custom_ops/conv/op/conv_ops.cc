// Interface of the ops: attributes, shapes and documentation.
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace sspq {
namespace {

using ::tensorflow::Status;
using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

// The output's shape is what an int32 input holds.
template <int kInput>
Status ShapeOfInput(InferenceContext* c) {
  ShapeHandle shape;
  TF_RETURN_IF_ERROR(c->MakeShapeFromShapeTensor(kInput, &shape));
  TF_RETURN_IF_ERROR(c->WithRank(shape, 4, &shape));
  c->set_output(0, shape);
  return Status();
}

Status NormShape(InferenceContext* c) {
  TF_RETURN_IF_ERROR(::tensorflow::shape_inference::Conv2DShape(c));
  ShapeHandle y = c->output(0), by_channel = c->Vector(c->Dim(y, -1));
  for (int i = 2; i < c->num_inputs(); ++i) {
    const ShapeHandle wanted = i < 6 ? by_channel : y;
    ShapeHandle merged;
    if (!c->Merge(wanted, c->input(i), &merged).ok()) {
      return ::tensorflow::errors::InvalidArgument("conv: input ", i, " must have shape ",
                                                   c->DebugString(wanted), ", got ",
                                                   c->DebugString(c->input(i)));
    }
  }
  return Status();
}

}  // namespace

REGISTER_OP("SspqConvNorm")
    .Input("x: float")
    .Input("w: float")
    .Input("gamma: float")
    .Input("beta: float")
    .Input("mean: float")
    .Input("variance: float")
    .Input("plus: num_plus * float")
    .Output("y: float")
    .Attr("num_plus: int >= 0 = 0")
    .Attr("strides: list(int)")
    .Attr("padding: {'SAME', 'VALID'}")
    .Attr("data_format: {'NHWC'} = 'NHWC'")
    .Attr("dilations: list(int) = [1, 1, 1, 1]")
    .Attr("epsilon: float = 0.00001")
    .Attr("bits: int >= 0 = 0")
    .Attr("relu: bool = false")
    .SetShapeFn(NormShape)
    .Doc(R"doc(
Conv2D in NHWC, with dilations of 1, and on its result batch normalization by a given mean and
variance, a sum and an activation.

  v = (Conv2D(x, w) - mean) * (gamma / sqrt(variance + epsilon)) + beta + plus

y: as SspqBatchNorm makes it of v.
plus: none, or one tensor like y.
)doc");

REGISTER_OP("SspqConvBackpropFilter")
    .Input("x: float")
    .Input("filter_sizes: int32")
    .Input("gy: float")
    .Output("gw: float")
    .Attr("strides: list(int)")
    .Attr("padding: {'SAME', 'VALID'}")
    .SetShapeFn(ShapeOfInput<1>)
    .Doc(R"doc(
The gradient of Conv2D in NHWC, without dilations, to its kernel: Conv2DBackpropFilter.

  gw[k, l, c, f] = sum over n, i, j of x[n, i s_h + k - p_h, j s_w + l - p_w, c] gy[n, i, j, f]

The sums are formed in an order that depends on the shapes alone.
)doc");

REGISTER_OP("SspqConvBackpropInput")
    .Input("input_sizes: int32")
    .Input("w: float")
    .Input("gy: float")
    .Output("gx: float")
    .Attr("strides: list(int)")
    .SetShapeFn(ShapeOfInput<0>)
    .Doc(R"doc(
The gradient of a 1x1 Conv2D in NHWC to its input: Conv2DBackpropInput.

  gx[n, i s_h, j s_w, c] = sum over f of gy[n, i, j, f] w[0, 0, c, f], 0 elsewhere
)doc");

}  // namespace sspq

// Interface of the two ops: attributes, shapes and documentation.
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace sspq {
namespace {

using ::tensorflow::Status;
using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

namespace errors = ::tensorflow::errors;

// Merges the shape of `x` with that of another input.
Status MergeShapes(InferenceContext* c, int input, const char* name, ShapeHandle* shape) {
  if (!c->Merge(*shape, c->input(input), shape).ok()) {
    return errors::InvalidArgument("dorefa: `", name, "` must have the shape of `x` ",
                                   c->DebugString(c->input(0)), ", got ",
                                   c->DebugString(c->input(input)));
  }
  return Status();
}

Status CheckScalar(InferenceContext* c, int input, const char* name) {
  ShapeHandle scalar;
  if (!c->WithRank(c->input(input), 0, &scalar).ok()) {
    return errors::InvalidArgument("dorefa: `", name, "` must be one value, got shape ",
                                   c->DebugString(c->input(input)));
  }
  return Status();
}

Status WeightShape(InferenceContext* c) {
  ShapeHandle shape = c->input(0);
  TF_RETURN_IF_ERROR(MergeShapes(c, 1, "t", &shape));
  c->set_output(0, shape);
  c->set_output(1, c->Scalar());
  c->set_output(2, c->Scalar());
  return Status();
}

Status GradientShape(InferenceContext* c) {
  ShapeHandle shape = c->input(0);
  TF_RETURN_IF_ERROR(MergeShapes(c, 1, "t", &shape));
  TF_RETURN_IF_ERROR(CheckScalar(c, 2, "maximum"));
  TF_RETURN_IF_ERROR(MergeShapes(c, 3, "gy", &shape));
  TF_RETURN_IF_ERROR(CheckScalar(c, 4, "gl2_loss"));
  c->set_output(0, shape);
  return Status();
}

}  // namespace

REGISTER_OP("SspqDorefaWeight")
    .Input("x: float")
    .Input("t: float")
    .Output("y: float")
    .Output("maximum: float")
    .Output("l2_loss: float")
    .Attr("bits: int >= 2")
    .SetShapeFn(WeightShape)
    .Doc(R"doc(
DoReFa-Net's weight quantizer, and the weights' L2 loss.

  y = 2 * round(n * (t / maximum * 0.5 + 0.5)) * (1 / n) - 1,  n = 2**bits - 1;  halves to even

x: the weights, any shape.
t: tanh(x). The gradient goes to x alone, through tanh.
maximum: max |t| of the values that are no NaN, 0 if there are none; then t / maximum is t. No gradient
  flows through this output.
l2_loss: sum of x * x / 2, taken in float64 in a fixed order.
bits: 2 to 31.
)doc");

REGISTER_OP("SspqDorefaWeightGrad")
    .Input("x: float")
    .Input("t: float")
    .Input("maximum: float")
    .Input("gy: float")
    .Input("gl2_loss: float")
    .Output("gx: float")
    .SetShapeFn(GradientShape)
    .Doc(R"doc(
The gradient of SspqDorefaWeight, which rounding passes through and the maximum has a share in.

  gt = gy / maximum, at the k values with |t| = maximum less sign(t) * sum(gy * t) / maximum**2 / k
  gx = gt * (1 - t * t) + gl2_loss * x

With a maximum of 0, gt is 0. The sum is taken in float64 in a fixed order; one that is not finite
makes all of gx NaN.
)doc");

}  // namespace sspq

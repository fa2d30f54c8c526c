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

Status WeightShape(InferenceContext* c) {
  c->set_output(0, c->input(0));
  c->set_output(1, c->Scalar());
  return Status();
}

Status GradientShape(InferenceContext* c) {
  ShapeHandle shape;
  if (!c->WithRank(c->input(1), 0, &shape).ok()) {
    return errors::InvalidArgument("dorefa: `maximum` must be one value, got shape ",
                                   c->DebugString(c->input(1)));
  }
  if (!c->Merge(c->input(0), c->input(2), &shape).ok()) {
    return errors::InvalidArgument("dorefa: `gy` must have the shape of `t` ",
                                   c->DebugString(c->input(0)), ", got ",
                                   c->DebugString(c->input(2)));
  }
  c->set_output(0, shape);
  return Status();
}

}  // namespace

REGISTER_OP("SspqDorefaWeight")
    .Input("t: float")
    .Output("y: float")
    .Output("maximum: float")
    .Attr("bits: int >= 2")
    .SetShapeFn(WeightShape)
    .Doc(R"doc(
DoReFa-Net's weight quantizer, of t = tanh(weights).

  y = 2 * round(n * (t / maximum * 0.5 + 0.5)) * (1 / n) - 1,  n = 2**bits - 1;  halves to even

t: any shape.
maximum: max |t| of the values that are no NaN, 0 if there are none; then t / maximum is t.
bits: 2 to 31.
)doc");

REGISTER_OP("SspqDorefaWeightGrad")
    .Input("t: float")
    .Input("maximum: float")
    .Input("gy: float")
    .Output("gt: float")
    .SetShapeFn(GradientShape)
    .Doc(R"doc(
The gradient of SspqDorefaWeight, which rounding passes through and the maximum has a share in.

  gt = gy / maximum, at the k values with |t| = maximum less sign(t) * sum(gy * t) / maximum**2 / k

A maximum of 0 gives 0. The sum is taken in float64 in a fixed order; one that is not finite makes
all of gt NaN.
)doc");

}  // namespace sspq

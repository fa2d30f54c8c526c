// Interface of the three ops: attributes, shapes and documentation.
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

// Merges `vectors` inputs after `x`, each one value a channel, with the last dimension of `x`.
Status MergeChannels(InferenceContext* c, int vectors, ShapeHandle* x, ShapeHandle* by_channel) {
  if (!c->WithRankAtLeast(c->input(0), 2, x).ok()) {
    return errors::InvalidArgument(
        "batch_norm: `x` must have 2 or more dimensions, channels last, got shape ",
        c->DebugString(c->input(0)));
  }
  *by_channel = c->Vector(c->Dim(*x, -1));
  for (int i = 1; i <= vectors; ++i) {
    const ShapeHandle wanted = *by_channel;
    if (!c->Merge(wanted, c->input(i), by_channel).ok()) {
      return errors::InvalidArgument("batch_norm: input ", i, " must have shape ",
                                     c->DebugString(wanted), ", one value for each channel of `x` ",
                                     c->DebugString(*x), ", got ", c->DebugString(c->input(i)));
    }
  }
  return Status();
}

Status TrainingShape(InferenceContext* c) {
  ShapeHandle x, by_channel;
  TF_RETURN_IF_ERROR(MergeChannels(c, 2, &x, &by_channel));
  c->set_output(0, x);
  c->set_output(1, by_channel);
  c->set_output(2, by_channel);
  return Status();
}

Status InferenceShape(InferenceContext* c) {
  ShapeHandle x, by_channel;
  TF_RETURN_IF_ERROR(MergeChannels(c, 4, &x, &by_channel));
  c->set_output(0, x);
  return Status();
}

Status GradientShape(InferenceContext* c) {
  ShapeHandle x, by_channel;
  TF_RETURN_IF_ERROR(MergeChannels(c, 4, &x, &by_channel));
  if (!c->Merge(x, c->input(5), &x).ok()) {
    return errors::InvalidArgument("batch_norm: `gy` must have the shape of `x` ",
                                   c->DebugString(x), ", got ", c->DebugString(c->input(5)));
  }
  c->set_output(0, x);
  c->set_output(1, by_channel);
  c->set_output(2, by_channel);
  return Status();
}

}  // namespace

REGISTER_OP("SspqBatchNorm")
    .Input("x: float")
    .Input("gamma: float")
    .Input("beta: float")
    .Output("y: float")
    .Output("mean: float")
    .Output("variance: float")
    .Attr("epsilon: float = 0.00001")
    .Attr("bits: int >= 0 = 0")
    .Attr("relu: bool = false")
    .SetShapeFn(TrainingShape)
    .Doc(R"doc(
Batch normalization by the batch's own statistics, and what follows it, in one op.

  v = (x - mean) * (gamma / sqrt(variance + epsilon)) + beta      by channel
  y = v, or with relu max(v, 0)                                   bits = 0
  y = clip(v, 0, 1)                                               bits = 32 or more
  y = round(n * clip(v, 0, 1)) * (1 / n),  n = 2**bits - 1        else; halves to even

x: [..., C], 2 or more dimensions.
gamma, beta: [C].
mean, variance: [C], of x by channel; the variance is the mean square deviation. No gradient flows
  through these two outputs.
)doc");

REGISTER_OP("SspqBatchNormInference")
    .Input("x: float")
    .Input("gamma: float")
    .Input("beta: float")
    .Input("mean: float")
    .Input("variance: float")
    .Output("y: float")
    .Attr("epsilon: float = 0.00001")
    .Attr("bits: int >= 0 = 0")
    .Attr("relu: bool = false")
    .SetShapeFn(InferenceShape)
    .Doc("SspqBatchNorm with a mean and variance that are given.");

REGISTER_OP("SspqBatchNormGrad")
    .Input("x: float")
    .Input("gamma: float")
    .Input("beta: float")
    .Input("mean: float")
    .Input("variance: float")
    .Input("gy: float")
    .Output("gx: float")
    .Output("ggamma: float")
    .Output("gbeta: float")
    .Attr("epsilon: float = 0.00001")
    .Attr("bits: int >= 0 = 0")
    .Attr("relu: bool = false")
    .Attr("is_training: bool = true")
    .SetShapeFn(GradientShape)
    .Doc(R"doc(
The gradients of SspqBatchNorm, or with is_training = false of SspqBatchNormInference.

Rounding passes the gradient through, clipping where 0 <= v <= 1, relu where v > 0. Sums are taken
in float64 in a fixed order.
)doc");

}  // namespace sspq

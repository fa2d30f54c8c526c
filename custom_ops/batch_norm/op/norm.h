// What the ops that normalize have in common: attributes, and the factor of a channel.
#ifndef SSPQ_BATCH_NORM_NORM_H_
#define SSPQ_BATCH_NORM_NORM_H_

#include <cmath>
#include <vector>

#include "custom_ops/batch_norm/cpu/loops.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace sspq {

// What the attributes `bits` and `relu` say.
inline ::tensorflow::Status GetActivation(::tensorflow::OpKernelConstruction* ctx,
                                          Activation* activation) {
  int bits = 0;
  bool relu = false;
  TF_RETURN_IF_ERROR(ctx->GetAttr("bits", &bits));
  TF_RETURN_IF_ERROR(ctx->GetAttr("relu", &relu));
  if (relu && bits > 0) {
    return ::tensorflow::errors::InvalidArgument(
        "batch_norm: `relu` is for `bits` = 0, neither clipped nor rounded, got ", bits);
  }
  *activation = {Then::kNothing, 0.f, 0.f};
  if (relu) activation->then = Then::kRelu;
  if (bits >= 32) activation->then = Then::kClip;
  if (bits > 0 && bits < 32) {
    const float levels = static_cast<float>((int64_t{1} << bits) - 1);
    *activation = {Then::kRound, levels, 1.f / levels};
  }
  return ::tensorflow::Status();
}

// gamma / sqrt(variance + epsilon), as TensorFlow's own kernel works it out: by Eigen, whose root
// of whole vectors is an approximation that differs between makers of processors, and is exact
// for what is left. One bit more or less here would round activations to another level.
inline std::vector<float> NormFactor(const ::tensorflow::Tensor& gamma,
                                     const ::tensorflow::Tensor& variance, float epsilon) {
  typedef ::tensorflow::TTypes<float> Types;
  constexpr int64_t kLanes = 8;  // TensorFlow's wheels are built for AVX
  const int64_t channels = gamma.NumElements(), whole = channels - channels % kLanes;
  const float *const g = gamma.vec<float>().data(), *const v = variance.vec<float>().data();
  std::vector<float> factor(channels);
  Types::UnalignedVec(factor.data(), whole) =
      (Types::UnalignedConstVec(v, whole) + epsilon).rsqrt() * Types::UnalignedConstVec(g, whole);
  for (int64_t c = whole; c < channels; ++c) factor[c] = 1 / std::sqrt(v[c] + epsilon) * g[c];
  return factor;
}

}  // namespace sspq

#endif  // SSPQ_BATCH_NORM_NORM_H_

// The TensorFlow side: checks run-time shapes, allocates, and runs the loops over blocks of rows on
// TensorFlow's own thread pool.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "custom_ops/batch_norm/cpu/loops.h"
#include "custom_ops/batch_norm/op/norm.h"
#include "custom_ops/cpu/versions.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/util/work_sharder.h"

namespace sspq {

namespace {

using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;

// A block fits into a core's second cache twice. Its size depends on shapes alone and blocks are
// summed up in order, so the bits do not depend on the number of threads.
constexpr int64_t kBlockValues = 1 << 15;
// Rough cycles per value, for TensorFlow's decision whether to use threads.
constexpr int64_t kCost = 4;

struct Rows {
  explicit Rows(const Tensor& x)
      : channels(x.dim_size(x.dims() - 1)),
        count(channels == 0 ? 0 : x.NumElements() / channels),
        block(std::max<int64_t>(1, kBlockValues / std::max<int64_t>(1, channels))) {}

  int64_t blocks() const { return (count + block - 1) / block; }

  const int64_t channels, count, block;
};

// work(first row, rows, block) for every block of rows.
template <typename Work>
void ForBlocks(OpKernelContext* ctx, const Rows& rows, const Work& work) {
  if (rows.blocks() == 0) return;
  const auto& pool = *ctx->device()->tensorflow_cpu_worker_threads();
  ::tensorflow::Shard(pool.num_threads, pool.workers, rows.blocks(),
                      kCost * rows.block * rows.channels, [&](int64_t begin, int64_t end) {
                        for (int64_t b = begin; b < end; ++b) {
                          const int64_t first = b * rows.block;
                          work(first, std::min(rows.block, rows.count - first), b);
                        }
                      });
}

// Two float64 sums by channel over all rows: work(first row, rows, sum, other sum) adds a block's.
class Sums {
 public:
  template <typename Work>
  Sums(OpKernelContext* ctx, const Rows& rows, const Work& work)
      : channels_(rows.channels), sums_(2 * rows.channels * std::max<int64_t>(1, rows.blocks())) {
    ForBlocks(ctx, rows, [&](int64_t first, int64_t count, int64_t block) {
      double* sum = &sums_[2 * channels_ * block];
      work(first, count, sum, sum + channels_);
    });
    for (int64_t b = 1; b < rows.blocks(); ++b) {
      for (int64_t c = 0; c < 2 * channels_; ++c) sums_[c] += sums_[2 * channels_ * b + c];
    }
  }

  double first(int64_t c) const { return sums_[c]; }
  double second(int64_t c) const { return sums_[channels_ + c]; }

 private:
  const int64_t channels_;
  std::vector<double> sums_;
};

class BatchNormKernel : public ::tensorflow::OpKernel {
 public:
  explicit BatchNormKernel(OpKernelConstruction* ctx) : OpKernel(ctx) {
    OP_REQUIRES_OK(ctx, ctx->GetAttr("epsilon", &epsilon_));
    OP_REQUIRES_OK(ctx, GetActivation(ctx, &activation_));
    Version version = Version::kBaseline;
    const std::string wrong = ChooseVersion(&version);
    OP_REQUIRES(ctx, wrong.empty(), ::tensorflow::errors::InvalidArgument("batch_norm: ", wrong));
    loops_ = &BatchNormLoopsOf(version);
  }

 protected:
  // What the shape function could not know.
  void Check(OpKernelContext* ctx, int vectors) const {
    const Tensor& x = ctx->input(0);
    OP_REQUIRES(ctx, x.dims() >= 2,
                ::tensorflow::errors::InvalidArgument(
                    "batch_norm: `x` must have 2 or more dimensions, channels last, got shape ",
                    x.shape().DebugString()));
    for (int i = 1; i <= vectors; ++i) {
      const Tensor& v = ctx->input(i);
      OP_REQUIRES(ctx, v.dims() == 1 && v.dim_size(0) == x.dim_size(x.dims() - 1),
                  ::tensorflow::errors::InvalidArgument(
                      "batch_norm: input ", i, " must have one value for each channel of `x` ",
                      x.shape().DebugString(), ", got shape ", v.shape().DebugString()));
    }
  }

  void Normalize(OpKernelContext* ctx, const Tensor& mean, const Tensor& variance) const {
    const Tensor& x = ctx->input(0);
    Tensor* y = nullptr;
    OP_REQUIRES_OK(ctx, ctx->forward_input_or_allocate_output({0}, 0, x.shape(), &y));
    const Rows rows(x);
    const float* from = x.flat<float>().data();
    float* to = y->flat<float>().data();
    const auto factor = NormFactor(ctx->input(1), variance, epsilon_);
    const Affine map = {mean.flat<float>().data(), factor.data(),
                        ctx->input(2).flat<float>().data()};
    ForBlocks(ctx, rows, [&](int64_t first, int64_t count, int64_t) {
      const int64_t at = first * rows.channels;
      loops_->normalize(from + at, count, rows.channels, map, nullptr, activation_, to + at);
    });
  }

  float epsilon_;
  Activation activation_;
  const BatchNormLoops* loops_;
};

class BatchNorm : public BatchNormKernel {
 public:
  using BatchNormKernel::BatchNormKernel;

  void Compute(OpKernelContext* ctx) override {
    Check(ctx, 2);
    if (!ctx->status().ok()) return;
    const Tensor& x = ctx->input(0);
    const Rows rows(x);
    Tensor *mean = nullptr, *variance = nullptr;
    OP_REQUIRES_OK(ctx, ctx->allocate_output(1, ctx->input(1).shape(), &mean));
    OP_REQUIRES_OK(ctx, ctx->allocate_output(2, ctx->input(1).shape(), &variance));
    const float* from = x.flat<float>().data();
    const Sums sums(ctx, rows, [&](int64_t first, int64_t count, double* sum, double* squares) {
      loops_->moments(from + first * rows.channels, count, rows.channels, sum, squares);
    });
    for (int64_t c = 0; c < rows.channels; ++c) {
      // float64 holds the square of a float32 exactly: the difference is good to 1e-15 of it.
      const double m = sums.first(c) / rows.count;
      mean->flat<float>()(c) = m;
      variance->flat<float>()(c) = std::max(0., sums.second(c) / rows.count - m * m);
    }
    Normalize(ctx, *mean, *variance);
  }
};

class BatchNormInference : public BatchNormKernel {
 public:
  using BatchNormKernel::BatchNormKernel;

  void Compute(OpKernelContext* ctx) override {
    Check(ctx, 4);
    if (!ctx->status().ok()) return;
    Normalize(ctx, ctx->input(3), ctx->input(4));
  }
};

class BatchNormGrad : public BatchNormKernel {
 public:
  explicit BatchNormGrad(OpKernelConstruction* ctx) : BatchNormKernel(ctx) {
    OP_REQUIRES_OK(ctx, ctx->GetAttr("is_training", &is_training_));
  }

  void Compute(OpKernelContext* ctx) override {
    Check(ctx, 4);
    if (!ctx->status().ok()) return;
    const Tensor& x = ctx->input(0);
    const Tensor& gy = ctx->input(5);
    OP_REQUIRES(ctx, gy.shape() == x.shape(),
                ::tensorflow::errors::InvalidArgument(
                    "batch_norm: `gy` must have the shape of `x` ", x.shape().DebugString(),
                    ", got ", gy.shape().DebugString()));
    const float* variance = ctx->input(4).flat<float>().data();
    Tensor *gx = nullptr, *ggamma = nullptr, *gbeta = nullptr;
    OP_REQUIRES_OK(ctx, ctx->forward_input_or_allocate_output({5}, 0, x.shape(), &gx));
    OP_REQUIRES_OK(ctx, ctx->allocate_output(1, ctx->input(1).shape(), &ggamma));
    OP_REQUIRES_OK(ctx, ctx->allocate_output(2, ctx->input(1).shape(), &gbeta));
    const Rows rows(x);
    const auto factor = NormFactor(ctx->input(1), ctx->input(4), epsilon_);
    const Affine map = {ctx->input(3).flat<float>().data(), factor.data(),
                        ctx->input(2).flat<float>().data()};
    const float* from = x.flat<float>().data();
    const float* incoming = gy.flat<float>().data();
    const Sums sums(ctx, rows, [&](int64_t first, int64_t count, double* sum, double* products) {
      const int64_t at = first * rows.channels;
      loops_->gradient_sums(from + at, incoming + at, count, rows.channels, map, activation_, sum,
                            products);
    });
    // gx = factor * (g - mean of g - (x - mean) / deviation**2 * mean of g * (x - mean)), where the
    // two means come from those of the batch.
    std::vector<float> slope(rows.channels), constant(rows.channels);
    for (int64_t c = 0; c < rows.channels; ++c) {
      const double inverse = 1. / (static_cast<double>(variance[c]) + epsilon_);
      ggamma->flat<float>()(c) = sums.second(c) * std::sqrt(inverse);
      gbeta->flat<float>()(c) = sums.first(c);
      if (is_training_) {
        slope[c] = -factor[c] * inverse * (sums.second(c) / rows.count);
        constant[c] = -factor[c] * (sums.first(c) / rows.count);
      }
    }
    float* to = gx->flat<float>().data();
    ForBlocks(ctx, rows, [&](int64_t first, int64_t count, int64_t) {
      const int64_t at = first * rows.channels;
      loops_->input_gradient(from + at, incoming + at, count, rows.channels, map, activation_,
                             slope.data(), constant.data(), to + at);
    });
  }

 private:
  bool is_training_;
};

REGISTER_KERNEL_BUILDER(Name("SspqBatchNorm").Device(::tensorflow::DEVICE_CPU), BatchNorm);
REGISTER_KERNEL_BUILDER(Name("SspqBatchNormInference").Device(::tensorflow::DEVICE_CPU),
                        BatchNormInference);
REGISTER_KERNEL_BUILDER(Name("SspqBatchNormGrad").Device(::tensorflow::DEVICE_CPU), BatchNormGrad);

}  // namespace
}  // namespace sspq

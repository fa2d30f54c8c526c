// The TensorFlow side: checks run-time shapes, allocates, and runs the loops over blocks of values
// on TensorFlow's own thread pool.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "custom_ops/cpu/versions.h"
#include "custom_ops/dorefa/cpu/loops.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/util/work_sharder.h"

namespace sspq {

namespace {

using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;

namespace errors = ::tensorflow::errors;

// Blocks are summed up in order, so the bits do not depend on the number of threads.
constexpr int64_t kBlock = 1 << 14;
// Rough cycles per value, for TensorFlow's decision whether to use threads.
constexpr int64_t kCost = 1;

int64_t BlocksOf(int64_t n) { return (n + kBlock - 1) / kBlock; }

// work(first value, values, block) for every block of n values.
template <typename Work>
void ForBlocks(OpKernelContext* ctx, int64_t n, const Work& work) {
  if (n == 0) return;
  const auto& pool = *ctx->device()->tensorflow_cpu_worker_threads();
  ::tensorflow::Shard(pool.num_threads, pool.workers, BlocksOf(n), kCost * kBlock,
                      [&](int64_t begin, int64_t end) {
                        for (int64_t b = begin; b < end; ++b) {
                          work(b * kBlock, std::min(kBlock, n - b * kBlock), b);
                        }
                      });
}

class DorefaKernel : public OpKernel {
 public:
  explicit DorefaKernel(OpKernelConstruction* ctx) : OpKernel(ctx) {
    Version version = Version::kBaseline;
    const std::string wrong = ChooseVersion(&version);
    OP_REQUIRES(ctx, wrong.empty(), errors::InvalidArgument("dorefa: ", wrong));
    loops_ = &DorefaLoopsOf(version);
  }

 protected:
  // What the shape function could not know.
  static void CheckShape(OpKernelContext* ctx, int input, const char* name) {
    OP_REQUIRES(ctx, ctx->input(input).shape() == ctx->input(0).shape(),
                errors::InvalidArgument("dorefa: `", name, "` must have the shape of `x` ",
                                        ctx->input(0).shape().DebugString(), ", got ",
                                        ctx->input(input).shape().DebugString()));
  }
  static void CheckScalar(OpKernelContext* ctx, int input, const char* name) {
    OP_REQUIRES(ctx, ctx->input(input).dims() == 0,
                errors::InvalidArgument("dorefa: `", name, "` must be one value, got shape ",
                                        ctx->input(input).shape().DebugString()));
  }

  const DorefaLoops* loops_;
};

class DorefaWeight : public DorefaKernel {
 public:
  explicit DorefaWeight(OpKernelConstruction* ctx) : DorefaKernel(ctx) {
    int bits = 0;
    OP_REQUIRES_OK(ctx, ctx->GetAttr("bits", &bits));
    OP_REQUIRES(ctx, bits < 32,
                errors::InvalidArgument("dorefa: `bits` must be from 2 to 31, got ", bits));
    levels_ = static_cast<float>((int64_t{1} << bits) - 1);
  }

  void Compute(OpKernelContext* ctx) override {
    CheckShape(ctx, 1, "t");
    if (!ctx->status().ok()) return;
    const int64_t n = ctx->input(0).NumElements();
    const float* const x = ctx->input(0).flat<float>().data();
    const float* const t = ctx->input(1).flat<float>().data();
    std::vector<float> maxima(BlocksOf(n));
    std::vector<double> squares(BlocksOf(n));
    ForBlocks(ctx, n, [&](int64_t first, int64_t count, int64_t block) {
      maxima[block] = loops_->maximum(t + first, count);
      squares[block] = loops_->squares(x + first, count);
    });
    const float maximum = maxima.empty() ? 0.f : *std::max_element(maxima.begin(), maxima.end());
    Tensor *y = nullptr, *largest = nullptr, *l2_loss = nullptr;
    OP_REQUIRES_OK(ctx, ctx->allocate_output(1, ::tensorflow::TensorShape(), &largest));
    OP_REQUIRES_OK(ctx, ctx->allocate_output(2, ::tensorflow::TensorShape(), &l2_loss));
    OP_REQUIRES_OK(ctx, ctx->forward_input_or_allocate_output({1}, 0, ctx->input(0).shape(), &y));
    largest->scalar<float>()() = maximum;
    l2_loss->scalar<float>()() = std::accumulate(squares.begin(), squares.end(), 0.) / 2;
    float* to = y->flat<float>().data();
    const float divisor = maximum == 0.f ? 1.f : maximum;
    ForBlocks(ctx, n, [&](int64_t first, int64_t count, int64_t) {
      loops_->quantize(t + first, count, divisor, levels_, 1.f / levels_, to + first);
    });
  }

 private:
  float levels_;
};

class DorefaWeightGrad : public DorefaKernel {
 public:
  using DorefaKernel::DorefaKernel;

  void Compute(OpKernelContext* ctx) override {
    CheckShape(ctx, 1, "t");
    CheckScalar(ctx, 2, "maximum");
    CheckShape(ctx, 3, "gy");
    CheckScalar(ctx, 4, "gl2_loss");
    if (!ctx->status().ok()) return;
    const int64_t n = ctx->input(0).NumElements();
    const float* const x = ctx->input(0).flat<float>().data();
    const float* const t = ctx->input(1).flat<float>().data();
    const float* const gy = ctx->input(3).flat<float>().data();
    const float maximum = ctx->input(2).scalar<float>()();
    std::vector<MaximumSums> blocks(BlocksOf(n));
    ForBlocks(ctx, n, [&](int64_t first, int64_t count, int64_t block) {
      blocks[block] = loops_->sums(t + first, gy + first, count, maximum);
    });
    MaximumSums sums = {0, 0};
    for (const MaximumSums& block : blocks) {
      sums.products += block.products;
      sums.count += block.count;
    }
    GradientTerms terms = {maximum, maximum, 0.f, ctx->input(4).scalar<float>()()};
    if (!std::isfinite(sums.products)) {
      terms.divisor = std::numeric_limits<float>::quiet_NaN();
    } else if (maximum == 0.f) {
      terms.divisor = std::numeric_limits<float>::infinity();
    } else {
      terms.share = -sums.products / maximum / maximum / sums.count;
    }
    Tensor* output = nullptr;
    OP_REQUIRES_OK(ctx,
                   ctx->forward_input_or_allocate_output({3}, 0, ctx->input(0).shape(), &output));
    float* gx = output->flat<float>().data();
    ForBlocks(ctx, n, [&](int64_t first, int64_t count, int64_t) {
      loops_->gradient(x + first, t + first, gy + first, count, terms, gx + first);
    });
  }
};

REGISTER_KERNEL_BUILDER(Name("SspqDorefaWeight").Device(::tensorflow::DEVICE_CPU), DorefaWeight);
REGISTER_KERNEL_BUILDER(Name("SspqDorefaWeightGrad").Device(::tensorflow::DEVICE_CPU),
                        DorefaWeightGrad);

}  // namespace
}  // namespace sspq

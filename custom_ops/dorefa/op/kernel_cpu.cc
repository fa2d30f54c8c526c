// The TensorFlow side: checks run-time shapes, allocates, and runs the loops over blocks of values
// on TensorFlow's own thread pool.
#include <algorithm>
#include <cmath>
#include <limits>
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
    const Tensor& input = ctx->input(0);
    const int64_t n = input.NumElements();
    const float* t = input.flat<float>().data();
    std::vector<float> maxima(BlocksOf(n));
    ForBlocks(ctx, n, [&](int64_t first, int64_t count, int64_t block) {
      maxima[block] = loops_->maximum(t + first, count);
    });
    const float maximum = maxima.empty() ? 0.f : *std::max_element(maxima.begin(), maxima.end());
    Tensor *output = nullptr, *largest = nullptr;
    OP_REQUIRES_OK(ctx, ctx->allocate_output(1, ::tensorflow::TensorShape(), &largest));
    largest->scalar<float>()() = maximum;
    OP_REQUIRES_OK(ctx, ctx->forward_input_or_allocate_output({0}, 0, input.shape(), &output));
    float* y = output->flat<float>().data();
    const float divisor = maximum == 0.f ? 1.f : maximum;
    ForBlocks(ctx, n, [&](int64_t first, int64_t count, int64_t) {
      loops_->quantize(t + first, count, divisor, levels_, 1.f / levels_, y + first);
    });
  }

 private:
  float levels_;
};

class DorefaWeightGrad : public DorefaKernel {
 public:
  using DorefaKernel::DorefaKernel;

  void Compute(OpKernelContext* ctx) override {
    const Tensor &input = ctx->input(0), &incoming = ctx->input(2);
    OP_REQUIRES(ctx, ctx->input(1).dims() == 0,
                errors::InvalidArgument("dorefa: `maximum` must be one value, got shape ",
                                        ctx->input(1).shape().DebugString()));
    OP_REQUIRES(ctx, incoming.shape() == input.shape(),
                errors::InvalidArgument("dorefa: `gy` must have the shape of `t` ",
                                        input.shape().DebugString(), ", got ",
                                        incoming.shape().DebugString()));
    const int64_t n = input.NumElements();
    const float maximum = ctx->input(1).scalar<float>()();
    const float *const t = input.flat<float>().data(), *const gy = incoming.flat<float>().data();
    std::vector<MaximumSums> blocks(BlocksOf(n));
    ForBlocks(ctx, n, [&](int64_t first, int64_t count, int64_t block) {
      blocks[block] = loops_->sums(t + first, gy + first, count, maximum);
    });
    MaximumSums sums = {0, 0};
    for (const MaximumSums& block : blocks) {
      sums.products += block.products;
      sums.count += block.count;
    }
    float divisor = maximum, share = 0;
    if (!std::isfinite(sums.products)) {
      divisor = std::numeric_limits<float>::quiet_NaN();
    } else if (maximum == 0.f) {
      divisor = std::numeric_limits<float>::infinity();
    } else {
      share = -sums.products / maximum / maximum / sums.count;
    }
    Tensor* output = nullptr;
    OP_REQUIRES_OK(ctx, ctx->forward_input_or_allocate_output({2}, 0, input.shape(), &output));
    float* gt = output->flat<float>().data();
    ForBlocks(ctx, n, [&](int64_t first, int64_t count, int64_t) {
      loops_->gradient(t + first, gy + first, count, maximum, divisor, share, gt + first);
    });
  }
};

REGISTER_KERNEL_BUILDER(Name("SspqDorefaWeight").Device(::tensorflow::DEVICE_CPU), DorefaWeight);
REGISTER_KERNEL_BUILDER(Name("SspqDorefaWeightGrad").Device(::tensorflow::DEVICE_CPU),
                        DorefaWeightGrad);

}  // namespace
}  // namespace sspq

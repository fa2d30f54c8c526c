// The TensorFlow side: checks run-time shapes, allocates, and runs the pieces of work on
// TensorFlow's own thread pool.
#include <algorithm>
#include <atomic>
#include <string>
#include <vector>

#include "custom_ops/batch_norm/cpu/loops.h"
#include "custom_ops/batch_norm/op/norm.h"
#include "custom_ops/conv/cpu/conv.h"
#include "custom_ops/cpu/versions.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/util/work_sharder.h"

namespace sspq {
namespace {

using ::tensorflow::int32;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Status;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;
namespace errors = ::tensorflow::errors;

// Calls work(i) for every i in [0, count), on all threads; `cost` is in cycles for one. Each thread
// takes the next as soon as it is free: the cores are seldom equally fast.
template <typename Work>
void Run(OpKernelContext* ctx, int64_t count, int64_t cost, const Work& work) {
  const auto& pool = *ctx->device()->tensorflow_cpu_worker_threads();
  std::atomic<int64_t> next{0};
  ::tensorflow::Shard(pool.num_threads, pool.workers, count, std::max<int64_t>(1, cost),
                      [&](int64_t, int64_t) {
                        for (int64_t i = next++; i < count; i = next++) work(i);
                      });
}

Status GetSame(OpKernelConstruction* ctx, bool* same) {
  std::string padding;
  TF_RETURN_IF_ERROR(ctx->GetAttr("padding", &padding));
  *same = padding == "SAME";
  return Status();
}

class ConvKernel : public ::tensorflow::OpKernel {
 public:
  explicit ConvKernel(OpKernelConstruction* ctx) : OpKernel(ctx) {
    OP_REQUIRES_OK(ctx, ctx->GetAttr("strides", &strides_));
    OP_REQUIRES(ctx,
                strides_.size() == 4 && strides_[0] == 1 && strides_[3] == 1 && strides_[1] > 0 &&
                    strides_[2] > 0,
                errors::InvalidArgument(
                    "conv: `strides` must be four, 1 for batch and channels and at least 1 for "
                    "height and width"));
    const std::string wrong = ChooseVersion(&version_);
    OP_REQUIRES(ctx, wrong.empty(), errors::InvalidArgument("conv: ", wrong));
    loops_ = &ProductLoopsOf(version_);
  }

 protected:
  // The convolution of an input and a kernel of these sizes.
  void SetShape(OpKernelContext* ctx, const TensorShape& x, const TensorShape& w, bool same,
                ConvShape* s) const {
    OP_REQUIRES(
        ctx, x.dims() == 4 && w.dims() == 4 && w.dim_size(2) == x.dim_size(3),
        errors::InvalidArgument(
            "conv: the input must be [N, H, W, C] and the kernel [height, width, C, F], got ",
            x.DebugString(), " and ", w.DebugString()));
    *s = ConvShape{x.dim_size(0),
                   x.dim_size(1),
                   x.dim_size(2),
                   x.dim_size(3),
                   w.dim_size(0),
                   w.dim_size(1),
                   w.dim_size(3),
                   strides_[1],
                   strides_[2],
                   0,
                   0,
                   0,
                   0};
    s->Pad(same);
  }

  void CheckGradient(OpKernelContext* ctx, const ConvShape& s, const Tensor& gy) const {
    const TensorShape y({s.batch, s.out_h, s.out_w, s.features});
    OP_REQUIRES(ctx, gy.shape() == y,
                errors::InvalidArgument("conv: `gy` must have the output's shape ", y.DebugString(),
                                        ", got ", gy.shape().DebugString()));
  }

  // work(piece) for all pieces of a product.
  template <typename Work>
  void Product(OpKernelContext* ctx, int64_t rows, const Panels& panels, const Work& work) const {
    const int threads = ctx->device()->tensorflow_cpu_worker_threads()->num_threads;
    Run(ctx, panels.count(), panels.depth() * panels.wide(), [&](int64_t p) { panels.Fill(p); });
    const ProductPieces pieces(rows, panels, threads);
    Run(ctx, pieces.count(), pieces.cost(), [&](int64_t i) { work(pieces.at(i)); });
  }

  TensorShape Sizes(OpKernelContext* ctx, int input) const {
    TensorShape shape;
    if (!::tensorflow::TensorShapeUtils::IsVector(ctx->input(input).shape())) {
      ctx->SetStatus(errors::InvalidArgument("conv: input ", input,
                                             " must be a vector of sizes, got ",
                                             ctx->input(input).shape().DebugString()));
      return shape;
    }
    ctx->SetStatus(
        ::tensorflow::TensorShapeUtils::MakeShape(ctx->input(input).vec<int32>(), &shape));
    return shape;
  }

  Version version_ = Version::kBaseline;
  std::vector<int32> strides_;
  const ProductLoops* loops_;
};

class BackpropFilter : public ConvKernel {
 public:
  explicit BackpropFilter(OpKernelConstruction* ctx) : ConvKernel(ctx) {
    OP_REQUIRES_OK(ctx, GetSame(ctx, &same_));
  }

  void Compute(OpKernelContext* ctx) override {
    const TensorShape w = Sizes(ctx, 1);
    if (!ctx->status().ok()) return;
    ConvShape shape;
    SetShape(ctx, ctx->input(0).shape(), w, same_, &shape);
    if (!ctx->status().ok()) return;
    CheckGradient(ctx, shape, ctx->input(2));
    if (!ctx->status().ok()) return;
    Tensor* gw = nullptr;
    OP_REQUIRES_OK(ctx, ctx->allocate_output(0, w, &gw));
    float* const to = gw->flat<float>().data();
    const int64_t values = gw->NumElements();
    if (values == 0 || shape.rows() == 0) {
      std::fill(to, to + values, 0.f);
      return;
    }
    KernelGradient gradient(*loops_, shape, ctx->input(0).flat<float>().data(),
                            ctx->input(2).flat<float>().data(), to);
    Run(ctx, gradient.pieces(), gradient.cost(), [&](int64_t piece) { gradient.Run(piece); });
    const int64_t block = 1 << 12;
    Run(ctx, (values + block - 1) / block, 4 * block,
        [&](int64_t b) { gradient.Finish(b * block, std::min((b + 1) * block, values)); });
  }

 private:
  bool same_;
};

class BackpropInput : public ConvKernel {
 public:
  using ConvKernel::ConvKernel;

  void Compute(OpKernelContext* ctx) override {
    const TensorShape x = Sizes(ctx, 0);
    if (!ctx->status().ok()) return;
    const Tensor &w = ctx->input(1), &gy = ctx->input(2);
    ConvShape shape;
    SetShape(ctx, x, w.shape(), true, &shape);
    if (!ctx->status().ok()) return;
    CheckGradient(ctx, shape, gy);
    if (!ctx->status().ok()) return;
    OP_REQUIRES(
        ctx, shape.pointwise(),
        errors::InvalidArgument("conv: the kernel must be 1x1, got ", w.shape().DebugString()));
    Tensor* gx = nullptr;
    OP_REQUIRES_OK(ctx, ctx->allocate_output(0, x, &gx));
    if (gx->NumElements() == 0) return;
    const float* const from = gy.flat<float>().data();
    float* const to = gx->flat<float>().data();
    const Panels panels(*loops_, w.flat<float>().data(), shape.features, shape.channels, true);
    Product(ctx, shape.rows(), panels, [&](const ProductPieces::Piece& piece) {
      if (piece.first_panel == 0) ZeroBetween(shape, piece.first_row, piece.rows, to);
      MultiplyPanels(
          *loops_, piece.rows,
          [&](int64_t r) { return from + (piece.first_row + r) * shape.features; }, panels,
          piece.first_panel, piece.last_panel,
          [&](int64_t r) { return to + shape.PixelOf(piece.first_row + r); });
    });
  }
};

// The convolution with batch normalization and what follows it.
class ConvNorm : public ConvKernel {
 public:
  explicit ConvNorm(OpKernelConstruction* ctx) : ConvKernel(ctx) {
    OP_REQUIRES_OK(ctx, ctx->GetAttr("epsilon", &epsilon_));
    OP_REQUIRES_OK(ctx, GetActivation(ctx, &activation_));
    OP_REQUIRES_OK(ctx, GetSame(ctx, &same_));
    std::vector<int32> dilations;
    OP_REQUIRES_OK(ctx, ctx->GetAttr("dilations", &dilations));
    OP_REQUIRES(ctx, dilations == std::vector<int32>(4, 1),
                errors::InvalidArgument("conv: `dilations` must be four times 1"));
    norm_ = &BatchNormLoopsOf(version_);
  }

  void Compute(OpKernelContext* ctx) override {
    const Tensor &x = ctx->input(0), &w = ctx->input(1);
    ConvShape shape;
    SetShape(ctx, x.shape(), w.shape(), same_, &shape);
    if (!ctx->status().ok()) return;
    for (int i = 2; i < 6; ++i) {
      OP_REQUIRES(ctx, ctx->input(i).shape() == TensorShape({shape.features}),
                  errors::InvalidArgument("conv: input ", i, " must have one value for each of ",
                                          shape.features, " features, got shape ",
                                          ctx->input(i).shape().DebugString()));
    }
    const TensorShape result({shape.batch, shape.out_h, shape.out_w, shape.features});
    const float* plus = nullptr;
    if (ctx->num_inputs() > 6) {
      OP_REQUIRES(ctx, ctx->input(6).shape() == result,
                  errors::InvalidArgument("conv: `plus` must have the output's shape ",
                                          result.DebugString(), ", got ",
                                          ctx->input(6).shape().DebugString()));
      plus = ctx->input(6).flat<float>().data();
    }
    Tensor* y = nullptr;
    OP_REQUIRES_OK(ctx, ctx->allocate_output(0, result, &y));
    if (y->NumElements() == 0) return;
    const auto factor = NormFactor(ctx->input(2), ctx->input(5), epsilon_);
    const float* const mean = ctx->input(4).flat<float>().data();
    const float* const beta = ctx->input(3).flat<float>().data();
    const float* const from = x.flat<float>().data();
    float* const to = y->flat<float>().data();
    const int64_t features = shape.features, patch = shape.patch();
    const Panels panels(*loops_, w.flat<float>().data(), patch, features, false);
    Product(ctx, shape.rows(), panels, [&](const ProductPieces::Piece& piece) {
      const auto y_row = [&](int64_t r) { return to + (piece.first_row + r) * features; };
      if (shape.pointwise()) {
        MultiplyPanels(
            *loops_, piece.rows,
            [&](int64_t r) { return from + shape.PixelOf(piece.first_row + r); }, panels,
            piece.first_panel, piece.last_panel, y_row);
      } else {
        const AlignedRoom<float> patches(piece.rows * patch);
        CopyPatches(shape, from, piece.first_row, piece.rows, 0, patch, patches.data());
        MultiplyPanels(
            *loops_, piece.rows, [&](int64_t r) { return patches.data() + r * patch; }, panels,
            piece.first_panel, piece.last_panel, y_row);
      }
      // While the piece is in the second cache.
      const int64_t first = panels.first(piece.first_panel);
      const int64_t last = std::min(panels.first(piece.last_panel), features);
      const Affine map = {mean + first, factor.data() + first, beta + first};
      const bool whole = last - first == features;
      for (int64_t r = 0; r < piece.rows; r += whole ? piece.rows : 1) {
        float* const at = y_row(r) + first;
        norm_->normalize(at, whole ? piece.rows : 1, last - first, map,
                         plus == nullptr ? nullptr : plus + (at - to), activation_, at);
      }
    });
  }

 private:
  bool same_;
  float epsilon_;
  Activation activation_;
  const BatchNormLoops* norm_;
};

REGISTER_KERNEL_BUILDER(Name("SspqConvNorm").Device(::tensorflow::DEVICE_CPU), ConvNorm);
REGISTER_KERNEL_BUILDER(Name("SspqConvBackpropFilter").Device(::tensorflow::DEVICE_CPU),
                        BackpropFilter);
REGISTER_KERNEL_BUILDER(Name("SspqConvBackpropInput").Device(::tensorflow::DEVICE_CPU),
                        BackpropInput);

}  // namespace
}  // namespace sspq

// The gradient of MaxPool in NHWC. Its loops are simple enough for the compiler to vectorise.
#include <algorithm>
#include <string>
#include <vector>

#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/util/work_sharder.h"

namespace sspq {
namespace {

using ::tensorflow::int32;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;
using ::tensorflow::shape_inference::InferenceContext;
namespace errors = ::tensorflow::errors;

// Rough cycles per value of a window, for TensorFlow's decision whether to use threads.
constexpr int64_t kCost = 2;

REGISTER_OP("SspqMaxPoolGrad")
    .Input("x: float")
    .Input("gy: float")
    .Output("gx: float")
    .Attr("ksize: list(int)")
    .Attr("strides: list(int)")
    .Attr("padding: {'SAME', 'VALID'}")
    .SetShapeFn([](InferenceContext* c) {
      c->set_output(0, c->input(0));
      return ::tensorflow::Status();
    })
    .Doc(R"doc(
The gradient of MaxPool in NHWC, with windows of one image and channel: MaxPoolGrad.

The gradient to a window's maximum goes to the first value, row by row, that is as large.
)doc");

// Where the windows of one axis lie.
struct Axis {
  int64_t size, window, stride, count, pad;

  Axis(int64_t size, int64_t window, int64_t stride, bool same)
      : size(size),
        window(window),
        stride(stride),
        count(same ? (size + stride - 1) / stride
                   : std::max(size - window + stride, int64_t{0}) / stride),
        pad(same ? std::max((count - 1) * stride + window - size, int64_t{0}) / 2 : 0) {}

  int64_t first(int64_t i) const { return std::max(i * stride - pad, int64_t{0}); }
  int64_t last(int64_t i) const { return std::min(i * stride - pad + window, size); }
};

// All of one image. `best` and `place` have room for a value of each channel.
// A version for each, chosen as the library is loaded: four times as fast as the last.
#if defined(__x86_64__) && !defined(__clang__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
void ImageGradient(const Axis& h, const Axis& w, int64_t channels, const float* x, const float* gy,
                   float* gx, float* best, int32* place) {
  std::fill(gx, gx + h.size * w.size * channels, 0.f);
  for (int64_t i = 0; i < h.count; ++i) {
    for (int64_t j = 0; j < w.count; ++j, gy += channels) {
      const int64_t start = (h.first(i) * w.size + w.first(j)) * channels;
      std::copy(x + start, x + start + channels, best);
      std::fill(place, place + channels, 0);
      int32 number = 0;
      for (int64_t r = h.first(i); r < h.last(i); ++r) {
        for (int64_t s = w.first(j); s < w.last(j); ++s, ++number) {
          const float* const from = x + (r * w.size + s) * channels;
#pragma GCC ivdep
          for (int64_t c = 0; c < channels; ++c) {
            place[c] = best[c] < from[c] ? number : place[c];
            best[c] = best[c] < from[c] ? from[c] : best[c];
          }
        }
      }
      number = 0;
      for (int64_t r = h.first(i); r < h.last(i); ++r) {
        for (int64_t s = w.first(j); s < w.last(j); ++s, ++number) {
          float* const to = gx + (r * w.size + s) * channels;
#pragma GCC ivdep
          for (int64_t c = 0; c < channels; ++c) to[c] += place[c] == number ? gy[c] : 0.f;
        }
      }
    }
  }
}

class MaxPoolGrad : public ::tensorflow::OpKernel {
 public:
  explicit MaxPoolGrad(OpKernelConstruction* ctx) : OpKernel(ctx) {
    std::string padding;
    OP_REQUIRES_OK(ctx, ctx->GetAttr("ksize", &ksize_));
    OP_REQUIRES_OK(ctx, ctx->GetAttr("strides", &strides_));
    OP_REQUIRES_OK(ctx, ctx->GetAttr("padding", &padding));
    same_ = padding == "SAME";
    for (const auto* values : {&ksize_, &strides_}) {
      OP_REQUIRES(ctx,
                  values->size() == 4 && values->at(0) == 1 && values->at(3) == 1 &&
                      values->at(1) > 0 && values->at(2) > 0,
                  errors::InvalidArgument("max_pool: `ksize` and `strides` must be four, 1 for "
                                          "batch and channels and at least 1 for height and "
                                          "width"));
    }
  }

  void Compute(OpKernelContext* ctx) override {
    const Tensor &x = ctx->input(0), &gy = ctx->input(1);
    OP_REQUIRES(ctx, x.dims() == 4,
                errors::InvalidArgument("max_pool: `x` must be [N, H, W, C], got ",
                                        x.shape().DebugString()));
    const Axis h(x.dim_size(1), ksize_[1], strides_[1], same_);
    const Axis w(x.dim_size(2), ksize_[2], strides_[2], same_);
    const int64_t channels = x.dim_size(3);
    const TensorShape y({x.dim_size(0), h.count, w.count, channels});
    OP_REQUIRES(ctx, gy.shape() == y,
                errors::InvalidArgument("max_pool: `gy` must have the output's shape ",
                                        y.DebugString(), ", got ", gy.shape().DebugString()));
    Tensor* gx = nullptr;
    OP_REQUIRES_OK(ctx, ctx->allocate_output(0, x.shape(), &gx));
    if (gx->NumElements() == 0) return;
    const float *from = x.flat<float>().data(), *incoming = gy.flat<float>().data();
    float* const to = gx->flat<float>().data();
    const int64_t in = h.size * w.size * channels, out = h.count * w.count * channels;
    const auto& pool = *ctx->device()->tensorflow_cpu_worker_threads();
    ::tensorflow::Shard(pool.num_threads, pool.workers, x.dim_size(0),
                        kCost * out * h.window * w.window, [&](int64_t begin, int64_t end) {
                          std::vector<float> best(channels);
                          std::vector<int32> place(channels);
                          for (int64_t n = begin; n < end; ++n) {
                            ImageGradient(h, w, channels, from + n * in, incoming + n * out,
                                          to + n * in, best.data(), place.data());
                          }
                        });
  }

 private:
  std::vector<int32> ksize_, strides_;
  bool same_;
};

REGISTER_KERNEL_BUILDER(Name("SspqMaxPoolGrad").Device(::tensorflow::DEVICE_CPU), MaxPoolGrad);

}  // namespace
}  // namespace sspq

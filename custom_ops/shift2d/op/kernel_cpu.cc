// The TensorFlow side of the CPU kernels: checks run-time shapes, allocates, and runs the work
// items on TensorFlow's own thread pool.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "custom_ops/cpu/versions.h"
#include "custom_ops/shift2d/cpu/shift2d_cpu.h"
#include "custom_ops/shift2d/op/kernel.h"
#include "tensorflow/core/util/work_sharder.h"

namespace sspq {
namespace {

using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;

// Rough cycles per element, for TensorFlow's decision how finely to cut.
constexpr int64_t kForwardCost = 4;
constexpr int64_t kBackwardCost = 12;
constexpr int64_t kFinishCost = 2;

// Runs work(begin, end) over [0, items), `elements` touched in all.
template <typename Work>
void Run(OpKernelContext* ctx, int64_t items, int64_t elements, int64_t cost, const Work& work) {
  if (items == 0) return;
  const auto& pool = *ctx->device()->tensorflow_cpu_worker_threads();
  ::tensorflow::Shard(pool.num_threads, pool.workers, items,
                      std::max<int64_t>(1, cost * elements / items), work);
}

class Shift2DCpuKernel : public Shift2DKernel {
 public:
  explicit Shift2DCpuKernel(OpKernelConstruction* ctx) : Shift2DKernel(ctx) {
    const std::string wrong = ChooseVersion(&version_);
    OP_REQUIRES(ctx, wrong.empty(), ::tensorflow::errors::InvalidArgument("shift2d: ", wrong));
    const char* const trace = std::getenv("SSPQ_SHIFT2D_TRACE");
    trace_ = trace != nullptr && std::strcmp(trace, "1") == 0;
  }

 protected:
  // Prints what works a call off.
  template <typename T>
  void Trace(Pass pass, const Tensor& x, const Shift2DCpu<T>& kernel) const {
    if (!trace_) return;
    std::fprintf(stderr, "shift2d %s %s %s %s strides %dx%d, %s: %s\n", PassName(pass),
                 ::tensorflow::DataTypeString(x.dtype()).c_str(), attrs_.layout_name(),
                 x.shape().DebugString().c_str(), static_cast<int>(attrs_.stride_h),
                 static_cast<int>(attrs_.stride_w), VersionName(version_), kernel.Paths().c_str());
  }

  Version version_ = Version::kBaseline;
  bool trace_ = false;
};

template <typename T>
class Shift2DForward : public Shift2DCpuKernel {
 public:
  using Shift2DCpuKernel::Shift2DCpuKernel;

  void Compute(OpKernelContext* ctx) override {
    const Tensor& x = ctx->input(0);
    const Tensor& shift = ctx->input(1);
    Geometry g;
    OP_REQUIRES_OK(ctx, ReadGeometry(ctx, &g));
    Tensor* y = nullptr;
    OP_REQUIRES_OK(ctx, ctx->allocate_output(0, OutputShape(g), &y));
    if (y->NumElements() == 0) return;
    const Shift2DCpu<T> kernel(g, shift.flat<T>().data(), version_, Pass::kForward);
    Trace(Pass::kForward, x, kernel);
    const T* from = x.flat<T>().data();
    T* to = y->flat<T>().data();
    Run(ctx, kernel.forward_items(), y->NumElements(), kForwardCost,
        [&](int64_t begin, int64_t end) { kernel.Forward(from, to, begin, end); });
  }
};

template <typename T>
class Shift2DBackward : public Shift2DCpuKernel {
 public:
  using Shift2DCpuKernel::Shift2DCpuKernel;

  void Compute(OpKernelContext* ctx) override {
    const Tensor& x = ctx->input(0);
    const Tensor& shift = ctx->input(1);
    const Tensor& gy = ctx->input(2);
    Geometry g;
    OP_REQUIRES_OK(ctx, ReadGeometry(ctx, &g));
    Tensor *gx = nullptr, *gshift = nullptr;
    OP_REQUIRES_OK(ctx, ctx->allocate_output(0, x.shape(), &gx));
    OP_REQUIRES_OK(ctx, ctx->allocate_output(1, shift.shape(), &gshift));
    const Shift2DCpu<T> kernel(g, shift.flat<T>().data(), version_, Pass::kBackward);
    Trace(Pass::kBackward, x, kernel);
    AlignedRoom<double> partial(kernel.partial_size());
    const T* x_data = x.flat<T>().data();
    const T* gy_data = gy.flat<T>().data();
    T* gx_data = gx->flat<T>().data();
    const int64_t items = gy.NumElements() == 0 ? 0 : kernel.backward_items();
    if (items == 0) std::fill_n(partial.data(), kernel.partial_size(), 0.0);
    Run(ctx, items, x.NumElements() + gy.NumElements(), kBackwardCost,
        [&](int64_t begin, int64_t end) {
          kernel.Backward(x_data, gy_data, gx_data, partial.data(), begin, end);
        });
    T* gshift_data = gshift->flat<T>().data();
    Run(ctx, g.channels, kernel.partial_size(), kFinishCost, [&](int64_t begin, int64_t end) {
      kernel.Finish(partial.data(), attrs_.normalize, begin, end, gshift_data);
    });
  }
};

SSPQ_REGISTER_SHIFT2D(DEVICE_CPU, float, Shift2DForward, Shift2DBackward);
SSPQ_REGISTER_SHIFT2D(DEVICE_CPU, double, Shift2DForward, Shift2DBackward);

}  // namespace
}  // namespace sspq

// Runs the CPU kernels of shift2d without TensorFlow, for sanitizers, which do not work inside a
// Python process, and for machines that TensorFlow 1.15 does not support.
//
//     shift2d_driver [cases]
//
// Random sizes, strides, paddings and shifts, each in both types and layouts: every version of the
// kernels that this machine runs, with 1, 2 and 8 threads, must give the bits of the reference
// version, write every element and nothing else. Prints a line and returns 0 if so.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "custom_ops/shift2d/cc/kernels/shift2d_cpu.h"

namespace {

using sspq::CpuVersion;
using sspq::Geometry;
using sspq::Shift2DCpu;

std::mt19937 random_bits(1);

int64_t Draw(int64_t least, int64_t most) {
  return std::uniform_int_distribution<int64_t>(least, most)(random_bits);
}

double DrawReal(double least, double most) {
  return std::uniform_real_distribution<double>(least, most)(random_bits);
}

// Runs work(begin, end) over [0, items), cut for `threads` threads.
template <typename Work>
void Share(int64_t items, int threads, const Work& work) {
  std::vector<std::thread> pool;
  for (int t = 0; t < threads; ++t) {
    const int64_t begin = items * t / threads, end = items * (t + 1) / threads;
    if (begin < end) pool.emplace_back([=] { work(begin, end); });
  }
  for (std::thread& thread : pool) thread.join();
}

template <typename T>
struct Result {
  std::vector<T> y, gx, gshift;

  bool Same(const Result& other) const {
    return Same(y, other.y) && Same(gx, other.gx) && Same(gshift, other.gshift);
  }

  // Bits, except that any NaN equals any NaN.
  static bool Same(const std::vector<T>& a, const std::vector<T>& b) {
    for (size_t k = 0; k < a.size(); ++k) {
      if (std::memcmp(&a[k], &b[k], sizeof(T)) != 0 && !(std::isnan(a[k]) && std::isnan(b[k]))) {
        return false;
      }
    }
    return a.size() == b.size();
  }
};

template <typename T>
Result<T> Compute(const Geometry& g, const std::vector<T>& x, const std::vector<T>& shift,
                  const std::vector<T>& gy, const CpuVersion& version, int threads) {
  const T poison = T(-12345);  // what nobody computes
  Result<T> r;
  r.y.assign(gy.size(), poison);
  r.gx.assign(x.size(), poison);
  r.gshift.assign(shift.size(), poison);
  const Shift2DCpu<T> forward(g, shift.data(), version, false);
  Share(forward.forward_items(), threads,
        [&](int64_t begin, int64_t end) { forward.Forward(x.data(), r.y.data(), begin, end); });
  const Shift2DCpu<T> kernel(g, shift.data(), version, true);
  std::vector<double> partial(kernel.partial_size(), poison);
  Share(kernel.backward_items(), threads, [&](int64_t begin, int64_t end) {
    kernel.Backward(x.data(), gy.data(), r.gx.data(), partial.data(), begin, end);
  });
  Share(g.channels, threads, [&](int64_t begin, int64_t end) {
    kernel.Finish(partial.data(), false, begin, end, r.gshift.data());
  });
  std::vector<T> alone(x.size(), poison);
  Share(kernel.input_gradient_items(), threads, [&](int64_t begin, int64_t end) {
    kernel.InputGradient(gy.data(), alone.data(), begin, end);
  });
  if (!r.Same(r.gx, alone)) r.gx.clear();  // equals nothing
  return r;
}

Geometry DrawGeometry() {
  Geometry g;
  const bool wide = Draw(0, 9) == 0;
  g.batch = Draw(1, 4);
  g.channels = wide ? Draw(1, 4) : Draw(1, 40);
  const int64_t most = wide ? 150 : Draw(0, 3) == 0 ? 34 : 20;
  const int64_t same = Draw(1, 3);
  auto axis = [&] {
    const int64_t stride = Draw(0, 5) == 0 ? Draw(1, 20) : Draw(0, 2) == 0 ? same : 1;
    return sspq::MakeAxis(Draw(1, most), stride, Draw(0, 3) == 0 ? Draw(1, 4) : 0);
  };
  g.h = axis();
  g.w = axis();
  return g;
}

template <typename T>
std::vector<T> DrawShift(int64_t channels) {
  std::vector<T> shift(2 * channels);
  const double reach = Draw(0, 1) ? 0.99 : Draw(0, 1) ? 3 : 30;
  // One such channel is enough for other code to run on many.
  const bool integers = Draw(0, 1), nans = Draw(0, 3) == 0, huge = Draw(0, 3) == 0;
  for (T& s : shift) {
    s = static_cast<T>(DrawReal(-reach, reach));
    if (integers && Draw(0, 5) == 0) s = std::floor(s);
    if (nans && Draw(0, 29) == 0) s = std::numeric_limits<T>::quiet_NaN();
    if (huge && Draw(0, 29) == 0) s = T(-1e30);
  }
  return shift;
}

template <typename T>
std::vector<T> DrawValues(int64_t size) {
  std::vector<T> values(size);
  for (T& v : values) v = static_cast<T>(DrawReal(-1, 1));
  if (Draw(0, 4) > 0) return values;
  const T infinity = std::numeric_limits<T>::infinity();
  for (T wild : {infinity, -infinity, std::numeric_limits<T>::quiet_NaN(), T(-0.0)}) {
    for (int64_t k = 0; k < size; k += Draw(1, 200)) values[k] = wild;
  }
  return values;
}

template <typename T>
bool Check(Geometry g, bool nchw, const char* type) {
  g.nchw = nchw;
  const auto shift = DrawShift<T>(g.channels);
  const auto x = DrawValues<T>(g.batch * g.channels * g.h.in * g.w.in);
  const auto gy = DrawValues<T>(g.batch * g.channels * g.h.out * g.w.out);
  const auto expected = Compute(g, x, shift, gy, sspq::kReferenceVersion, 1);
  for (const CpuVersion* version : sspq::RunnableCpuVersions()) {
    for (int threads : {1, 2, 8}) {
      if (Compute(g, x, shift, gy, *version, threads).Same(expected)) continue;
      std::printf(
          "%s differs from reference: %s %s, %d threads, batch %d, channels %d, "
          "H %d stride %d pad %d, W %d stride %d pad %d\n",
          version->name, type, nchw ? "NCHW" : "NHWC", threads, int(g.batch), int(g.channels),
          int(g.h.in), int(g.h.stride), int(g.h.pad), int(g.w.in), int(g.w.stride), int(g.w.pad));
      return false;
    }
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  const int cases = argc > 1 ? std::atoi(argv[1]) : 300;
  int bad = 0;
  for (int k = 0; k < cases; ++k) {
    const Geometry g = DrawGeometry();
    for (bool nchw : {true, false}) {
      bad += !Check<float>(g, nchw, "float");
      bad += !Check<double>(g, nchw, "double");
    }
  }
  std::string names;
  for (const CpuVersion* version : sspq::RunnableCpuVersions()) {
    names += std::string(" ") + version->name;
  }
  std::printf("%d cases, %d bad, versions:%s\n", cases, bad, names.c_str());
  return bad != 0;
}

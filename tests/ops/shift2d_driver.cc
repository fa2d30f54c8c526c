// Runs the CPU kernels of shift2d without TensorFlow, for sanitizers, which do not work inside a
// Python process, and for machines that TensorFlow 1.15 does not support.
//
//     shift2d_driver [cases]
//
// A few corner cases, then random sizes, strides, paddings and shifts, each in both types and
// layouts: every version of the kernels that this machine runs, with 1, 2 and 8 threads and with
// the parts of the work in reverse order, must give the bits of the reference version, write every
// element and nothing else; and the cases must reach every path. Prints a line and returns 0 if so.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "custom_ops/shift2d/cpu/shift2d_cpu.h"

namespace {

using sspq::Geometry;
using sspq::Pass;
using sspq::Shift2DCpu;
using sspq::Version;

std::mt19937 random_bits(1);

int64_t Draw(int64_t least, int64_t most) {
  return std::uniform_int_distribution<int64_t>(least, most)(random_bits);
}

double DrawReal(double least, double most) {
  return std::uniform_real_distribution<double>(least, most)(random_bits);
}

// As a number of threads: two parts, one after the other, the last one first. What one part writes
// into the other is then not written again.
constexpr int kReverse = -2;

// Runs work(begin, end) over [0, items), cut for `threads` threads.
template <typename Work>
void Share(int64_t items, int threads, const Work& work) {
  if (threads == kReverse) {
    if (items / 2 < items) work(items / 2, items);
    if (items / 2 > 0) work(0, items / 2);
    return;
  }
  std::vector<std::thread> pool;
  for (int t = 0; t < threads; ++t) {
    const int64_t begin = items * t / threads, end = items * (t + 1) / threads;
    if (begin < end) pool.emplace_back([=] { work(begin, end); });
  }
  for (std::thread& thread : pool) thread.join();
}

// Paths that were taken.
std::set<std::pair<Pass, std::string>> reached;

template <typename T>
void Reach(Pass pass, const Shift2DCpu<T>& kernel) {
  const std::string paths = kernel.Paths();
  for (const sspq::PathRow& row : sspq::kPaths) {
    const std::string name = sspq::PathName(row.path);
    if (row.pass == pass && paths.find(name) != std::string::npos) reached.insert({pass, name});
  }
}

template <typename T>
struct Result {
  std::vector<T> y, gx, gshift;

  bool Same(const Result& other) const {
    return Same(y, other.y) && Same(gx, other.gx) && Same(gshift, other.gshift);
  }

  // Bits, except that any NaN equals any NaN.
  static bool Same(const std::vector<T>& a, const std::vector<T>& b) {
    if (a.size() != b.size()) return false;
    for (size_t k = 0; k < a.size(); ++k) {
      if (std::memcmp(&a[k], &b[k], sizeof(T)) != 0 && !(std::isnan(a[k]) && std::isnan(b[k]))) {
        return false;
      }
    }
    return true;
  }
};

template <typename T>
Result<T> Compute(const Geometry& g, const std::vector<T>& x, const std::vector<T>& shift,
                  const std::vector<T>& gy, Version version, int threads) {
  const T poison = T(-12345);  // what nobody computes
  Result<T> r;
  r.y.assign(gy.size(), poison);
  r.gx.assign(x.size(), poison);
  r.gshift.assign(shift.size(), poison);
  const Shift2DCpu<T> forward(g, shift.data(), version, Pass::kForward);
  Reach(Pass::kForward, forward);
  Share(forward.forward_items(), threads,
        [&](int64_t begin, int64_t end) { forward.Forward(x.data(), r.y.data(), begin, end); });
  const Shift2DCpu<T> kernel(g, shift.data(), version, Pass::kBackward);
  Reach(Pass::kBackward, kernel);
  const int64_t items = gy.empty() ? 0 : kernel.backward_items();
  std::vector<double> partial(kernel.partial_size(), items == 0 ? 0 : poison);
  Share(items, threads, [&](int64_t begin, int64_t end) {
    kernel.Backward(x.data(), gy.data(), r.gx.data(), partial.data(), begin, end);
  });
  Share(g.channels, threads, [&](int64_t begin, int64_t end) {
    kernel.Finish(partial.data(), false, begin, end, r.gshift.data());
  });
  return r;
}

Geometry MakeGeometry(int64_t batch, int64_t channels, const sspq::Axis& h, const sspq::Axis& w) {
  Geometry g;
  g.batch = batch;
  g.channels = channels;
  g.h = h;
  g.w = w;
  return g;
}

// What is seldom drawn: many planes of which a vector holds several, strides beyond 32 bits,
// nothing at all; in blocks and, of 16 channels, in place.
std::vector<Geometry> Corners() {
  using sspq::MakeAxis;
  const sspq::Axis one = MakeAxis(1, 1, 0), two = MakeAxis(2, 1, 0), three = MakeAxis(3, 1, 0);
  const sspq::Axis huge = MakeAxis(20, INT32_MAX, 0), padded = MakeAxis(20, INT32_MAX, 7);
  const sspq::Axis padding = MakeAxis(0, 1, 2), strided_padding = MakeAxis(0, 2, 1);
  return {MakeGeometry(20, 20, one, one),
          MakeGeometry(20, 20, one, two),
          MakeGeometry(20, 20, three, one),
          MakeGeometry(2, 16, one, huge),
          MakeGeometry(2, 9, padded, two),
          MakeGeometry(0, 16, two, two),
          MakeGeometry(3, 0, two, two),
          MakeGeometry(3, 16, padding, two),
          MakeGeometry(3, 3, padding, two),
          MakeGeometry(3, 16, two, strided_padding),
          MakeGeometry(3, 3, two, strided_padding)};
}

Geometry DrawGeometry() {
  Geometry g;
  // Many planes that are smaller than vectors; few that are wide; or any.
  const bool tiny = Draw(0, 7) == 0, wide = !tiny && Draw(0, 9) == 0;
  g.batch = tiny ? Draw(1, 20) : Draw(1, 4);
  // NHWC images of whole lines of channels are worked off in place.
  g.channels = Draw(0, 1) ? 16 * Draw(1, wide ? 1 : 3) : Draw(1, wide ? 4 : 40);
  const int64_t most = tiny ? 3 : wide ? 150 : Draw(0, 3) == 0 ? 34 : 20;
  const int64_t same = Draw(1, 3);
  const int empty = Draw(0, 40);
  if (empty == 0) g.batch = 0;
  if (empty == 1) g.channels = 0;
  auto axis = [&] {
    const int64_t stride = Draw(0, 5) == 0 ? Draw(1, 20) : Draw(0, 2) == 0 ? same : 1;
    const int64_t huge = Draw(0, 30) == 0 ? Draw(1 << 27, INT32_MAX) : stride;
    return sspq::MakeAxis(empty == 2 ? 0 : Draw(1, most), huge, Draw(0, 3) == 0 ? Draw(1, 4) : 0);
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
  const auto expected = Compute(g, x, shift, gy, Version::kReference, 1);
  for (Version version : sspq::RunnableVersions()) {
    for (int threads : {1, 2, 8, kReverse}) {
      if (Compute(g, x, shift, gy, version, threads).Same(expected)) continue;
      std::printf(
          "%s differs from reference: %s %s, %d threads, batch %d, channels %d, "
          "H %d stride %d pad %d, W %d stride %d pad %d\n",
          VersionName(version), type, nchw ? "NCHW" : "NHWC", threads, int(g.batch),
          int(g.channels), int(g.h.in), int(g.h.stride), int(g.h.pad), int(g.w.in), int(g.w.stride),
          int(g.w.pad));
      return false;
    }
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  const int cases = argc > 1 ? std::atoi(argv[1]) : 300;
  int bad = 0;
  const std::vector<Geometry> corners = Corners();
  for (int k = 0; k < cases; ++k) {
    const Geometry g = k < static_cast<int>(corners.size()) ? corners[k] : DrawGeometry();
    for (bool nchw : {true, false}) {
      bad += !Check<float>(g, nchw, "float");
      bad += !Check<double>(g, nchw, "double");
    }
  }
  std::string names;
  for (Version version : sspq::RunnableVersions()) {
    names += std::string(" ") + sspq::VersionName(version);
  }
  int missed = 0;
  for (const sspq::PathRow& row : sspq::kPaths) {
    if (reached.count({row.pass, sspq::PathName(row.path)}) > 0) continue;
    ++missed;
    std::printf("no case reached %s, %s\n", sspq::PathName(row.path), sspq::PassName(row.pass));
  }
  std::printf("%d cases, %d bad, %d paths missed, versions:%s\n", cases, bad, missed,
              names.c_str());
  return bad + missed != 0;
}

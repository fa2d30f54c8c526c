// Times the CPU kernels of shift2d alone, on buffers that are used again and again, beside copies
// of as many bytes and beside a loop that works every pixel out on its own. Run by shift2d.py.
//
//     shift2d_kernels THREADS ROUNDS BATCH CHANNELS SIZE STRIDE REACH
//
// Prints, for both layouts, a line `layout candidate seconds...` with the time of every round.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "custom_ops/cpu/aligned.h"
#include "custom_ops/shift2d/cpu/shift2d_cpu.h"

namespace {

using sspq::AlignedVector;
using sspq::Geometry;
using sspq::Pass;
using sspq::Shift2DCpu;

// Threads that wait in a loop, so that no time goes to waking them.
class Pool {
 public:
  explicit Pool(int threads) : threads_(threads) {
    for (int t = 1; t < threads; ++t) {
      pool_.emplace_back([this, t] {
        for (int turn = 1;; ++turn) {
          while (turn_.load(std::memory_order_acquire) < turn) {
          }
          if (work_ == nullptr) return;
          (*work_)(t);
          done_.fetch_add(1, std::memory_order_release);
        }
      });
    }
  }

  ~Pool() {
    work_ = nullptr;
    turn_.fetch_add(1, std::memory_order_release);
    for (std::thread& thread : pool_) thread.join();
  }

  void Run(const std::function<void(int)>& work) {
    work_ = &work;
    done_.store(0, std::memory_order_relaxed);
    turn_.fetch_add(1, std::memory_order_release);
    work(0);
    while (done_.load(std::memory_order_acquire) < threads_ - 1) {
    }
  }

  // work(begin, end) over [0, items).
  void Share(int64_t items, const std::function<void(int64_t, int64_t)>& work) {
    Run([&](int t) { work(items * t / threads_, items * (t + 1) / threads_); });
  }

 private:
  const int threads_;
  std::atomic<int> turn_{0}, done_{0};
  const std::function<void(int)>* work_ = nullptr;
  std::vector<std::thread> pool_;
};

// One output value at a time from its number in the tensor: where it lies, floor and fraction of
// its shift, four tests of bounds. This is the scheme of the CUDA kernel that was published with
// the method, one thread there being one turn of the loop here.
void ForwardByPixel(const Geometry& g, const float* x, const float* shift, int64_t begin,
                    int64_t end, float* y) {
  const int channels = g.channels, in_h = g.h.in, in_w = g.w.in, out_h = g.h.out, out_w = g.w.out;
  for (int64_t k = begin; k < end; ++k) {
    int n, c, i, j;
    if (g.nchw) {
      j = k % out_w;
      i = k / out_w % out_h;
      c = k / out_w / out_h % channels;
      n = k / out_w / out_h / channels;
    } else {
      c = k % channels;
      j = k / channels % out_w;
      i = k / channels / out_w % out_h;
      n = k / channels / out_w / out_h;
    }
    const float sx = shift[c], sy = shift[channels + c];
    const int fx = std::floor(sx), fy = std::floor(sy);
    const float dx = sx - fx, dy = sy - fy;
    const int r = i * g.h.stride - g.h.pad + fy, q = j * g.w.stride - g.w.pad + fx;
    auto at = [&](int row, int column) {
      if (row < 0 || row >= in_h || column < 0 || column >= in_w) return 0.f;
      return g.nchw ? x[((int64_t(n) * channels + c) * in_h + row) * in_w + column]
                    : x[((int64_t(n) * in_h + row) * in_w + column) * channels + c];
    };
    y[k] = (1 - dy) * ((1 - dx) * at(r, q) + dx * at(r, q + 1)) +
           dy * ((1 - dx) * at(r + 1, q) + dx * at(r + 1, q + 1));
  }
}

AlignedVector<float> Uniform(int64_t size, float reach, int seed) {
  std::mt19937 bits(seed);
  std::uniform_real_distribution<float> real(-reach, reach);
  AlignedVector<float> values(size);
  for (float& v : values) v = real(bits);
  return values;
}

double Seconds(const std::function<void()>& work, int repeat) {
  const auto start = std::chrono::steady_clock::now();
  for (int k = 0; k < repeat; ++k) work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / repeat;
}

void Measure(Geometry g, float reach, int threads, int rounds) {
  const int64_t in = g.batch * g.channels * g.h.in * g.w.in;
  const int64_t out = g.batch * g.channels * g.h.out * g.w.out;
  const auto shift = Uniform(2 * g.channels, reach, 0), x = Uniform(in, 1, 1);
  const auto gy = Uniform(out, 1, 2);
  AlignedVector<float> y(out), gx(in), by_pixel(out), from(in + out), to(in + out),
      gshift(2 * g.channels);
  Pool pool(threads);
  sspq::Version version;
  const std::string wrong = sspq::ChooseVersion(&version);
  if (!wrong.empty()) {
    std::fprintf(stderr, "%s\n", wrong.c_str());
    std::exit(2);
  }

  // Copies that read and write together as many bytes as the kernels do.
  auto copy = [&](int64_t values) {
    pool.Share(values / 2, [&](int64_t begin, int64_t end) {
      std::memcpy(&to[begin], &from[begin], (end - begin) * sizeof(float));
    });
  };
  std::vector<std::pair<std::string, std::function<void()>>> candidates = {
      {"copy_forward", [&] { copy(in + out); }},
      {"copy_backward", [&] { copy(2 * in + out); }},
      {"forward",
       [&] {
         const Shift2DCpu<float> kernel(g, shift.data(), version, Pass::kForward);
         pool.Share(kernel.forward_items(), [&](int64_t begin, int64_t end) {
           kernel.Forward(x.data(), y.data(), begin, end);
         });
       }},
      {"backward",
       [&] {
         const Shift2DCpu<float> kernel(g, shift.data(), version, Pass::kBackward);
         sspq::AlignedRoom<double> partial(kernel.partial_size());
         pool.Share(kernel.backward_items(), [&](int64_t begin, int64_t end) {
           kernel.Backward(x.data(), gy.data(), gx.data(), partial.data(), begin, end);
         });
         pool.Share(g.channels, [&](int64_t begin, int64_t end) {
           kernel.Finish(partial.data(), false, begin, end, gshift.data());
         });
       }},
      {"by_pixel", [&] {
         pool.Share(out, [&](int64_t begin, int64_t end) {
           ForwardByPixel(g, x.data(), shift.data(), begin, end, by_pixel.data());
         });
       }}};
  std::map<std::string, std::vector<double>> seconds;
  std::map<std::string, int> repeat;
  for (auto& c : candidates) {
    Seconds(c.second, 1);
    repeat[c.first] = std::max(1, static_cast<int>(0.005 / Seconds(c.second, 1)));
  }
  for (int round = 0; round < rounds; ++round) {
    for (auto& c : candidates) seconds[c.first].push_back(Seconds(c.second, repeat[c.first]));
  }
  for (int64_t k = 0; k < out; ++k) {
    if (std::fabs(y[k] - by_pixel[k]) < 1e-5f) continue;
    std::fprintf(stderr, "the two disagree: %g and %g\n", y[k], by_pixel[k]);
    std::exit(1);
  }
  for (auto& c : candidates) {
    std::printf("%s %s", g.nchw ? "NCHW" : "NHWC", c.first.c_str());
    for (double s : seconds[c.first]) std::printf(" %.9f", s);
    std::printf("\n");
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 8) return std::fprintf(stderr, "see the head of this file\n"), 2;
  const int threads = std::atoi(argv[1]), rounds = std::atoi(argv[2]);
  Geometry g;
  g.batch = std::atoi(argv[3]);
  g.channels = std::atoi(argv[4]);
  g.h = g.w = sspq::MakeAxis(std::atoi(argv[5]), std::atoi(argv[6]), 0);
  for (bool nchw : {false, true}) {
    g.nchw = nchw;
    Measure(g, std::atof(argv[7]), threads, rounds);
  }
}

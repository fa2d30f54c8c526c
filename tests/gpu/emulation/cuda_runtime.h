// As much of CUDA as the kernels of shift2d use, run on the host by a plain C++ compiler.
//
// A block's threads take turns: each runs until it ends or waits at __syncthreads. Blocks and
// threads start in any order that a seed asks for, so that a result which depends on the order
// shows. All of it belongs to one translation unit.
#ifndef SSPQ_EMULATED_CUDA_RUNTIME_H_
#define SSPQ_EMULATED_CUDA_RUNTIME_H_

#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <numeric>
#include <random>
#include <vector>

#include "cuda_runtime_api.h"

#define __global__
#define __host__
#define __device__
#define __shared__ static
#define __launch_bounds__(...)

struct Index {
  unsigned x;
};
static Index blockIdx, threadIdx;

namespace emulation {

static unsigned seed = 0;  // 0: in order

class Block {
 public:
  // False if some threads ended while others waited for them.
  bool Run(const std::function<void()>& body, int threads, const std::vector<unsigned>& order) {
    body_ = &body;
    fibers_.resize(threads);
    ended_.assign(threads, false);
    stacks_.resize(threads * kStack);
    for (int t = 0; t < threads; ++t) {
      getcontext(&fibers_[t]);
      fibers_[t].uc_stack.ss_sp = &stacks_[t * kStack];
      fibers_[t].uc_stack.ss_size = kStack;
      fibers_[t].uc_link = &scheduler_;
      makecontext(&fibers_[t], &Block::Enter, 0);
    }
    for (int left = threads; left > 0;) {
      const int before = left;
      for (unsigned t : order) {
        threadIdx.x = t;
        swapcontext(&scheduler_, &fibers_[t]);
        left -= ended_[t];
      }
      if (left > 0 && left != before) return false;
    }
    return true;
  }

  void Wait() { swapcontext(&fibers_[threadIdx.x], &scheduler_); }

 private:
  static constexpr size_t kStack = 16384;

  static void Enter();

  const std::function<void()>* body_;
  ucontext_t scheduler_;
  std::vector<ucontext_t> fibers_;
  std::vector<char> ended_;
  std::vector<char> stacks_;
};

static Block block;

inline void Block::Enter() {
  (*block.body_)();
  block.ended_[threadIdx.x] = true;
}

inline std::vector<unsigned> Order(int64_t count, unsigned salt) {
  std::vector<unsigned> order(count);
  std::iota(order.begin(), order.end(), 0u);
  if (seed != 0) std::shuffle(order.begin(), order.end(), std::mt19937(seed + salt));
  return order;
}

}  // namespace emulation

inline void __syncthreads() { emulation::block.Wait(); }

namespace sspq {
namespace gpu {

template <typename... Parameters, typename... Arguments>
cudaError_t Launch(void (*kernel)(Parameters...), int64_t blocks, int threads, cudaStream_t,
                   const Arguments&... arguments) {
  if (blocks <= 0) return cudaErrorInvalidConfiguration;
  const std::function<void()> body = [&] { kernel(arguments...); };
  for (unsigned b : emulation::Order(blocks, 0)) {
    blockIdx.x = b;
    if (!emulation::block.Run(body, threads, emulation::Order(threads, 1 + b))) {
      return cudaErrorLaunchFailure;
    }
  }
  return cudaSuccess;
}

}  // namespace gpu
}  // namespace sspq

#endif  // SSPQ_EMULATED_CUDA_RUNTIME_H_

// Fills in one version's loops. Included by one file per instruction set, with SSPQ_CPU_VERSION
// set. Every value is worked out on its own and sums have the same terms in the same order, so the
// versions give the same bits. `ivdep`: an output may be its input (then each value is read before
// it is written), and overlaps nothing else.
#ifndef SSPQ_DOREFA_LOOPS_VERSION_H_
#define SSPQ_DOREFA_LOOPS_VERSION_H_

#include <cstring>

#include "custom_ops/dorefa/cpu/loops.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {
namespace {

// The bits of |v|, in the order of the values, with NaNs behind infinity. A maximum of integers is
// vectorised without leave to reorder floating-point operations.
inline int32_t MagnitudeBits(float v) {
  int32_t bits;
  std::memcpy(&bits, &v, sizeof bits);
  return bits & 0x7fffffff;
}
constexpr int32_t kInfinityBits = 0x7f800000;

float Maximum(const float* t, int64_t n) {
  int32_t largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    const int32_t bits = MagnitudeBits(t[i]);
    const int32_t number = bits > kInfinityBits ? 0 : bits;
    largest = number > largest ? number : largest;
  }
  float maximum;
  std::memcpy(&maximum, &largest, sizeof maximum);
  return maximum;
}

void Quantize(const float* t, int64_t n, float divisor, float levels, float step, float* q) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    q[i] = __builtin_rintf((t[i] / divisor * 0.5f + 0.5f) * levels) * step * 2.f - 1.f;
  }
}

// Sums are those of every 16th value, for all versions the same, added up at the end:
// add(value, sum) adds one value's terms.
constexpr int kSums = 16;

template <typename Add>
inline void ForSums(int64_t n, const Add& add) {
  int64_t i = 0;
  for (; i + kSums <= n; i += kSums) {
    for (int k = 0; k < kSums; ++k) add(i + k, k);
  }
  for (int k = 0; i + k < n; ++k) add(i + k, k);
}

double Squares(const float* x, int64_t n) {
  double squares[kSums] = {};
  ForSums(n, [&](int64_t i, int k) { squares[k] += static_cast<double>(x[i]) * x[i]; });
  double sum = 0;
  for (double part : squares) sum += part;
  return sum;
}

MaximumSums Sums(const float* t, const float* gy, int64_t n, float maximum) {
  double products[kSums] = {};
  int32_t counts[kSums] = {};
  const int32_t maximum_bits = MagnitudeBits(maximum);
  ForSums(n, [&](int64_t i, int k) {
    products[k] += static_cast<double>(gy[i]) * t[i];
    counts[k] += MagnitudeBits(t[i]) == maximum_bits;
  });
  MaximumSums sums = {0, 0};
  for (int k = 0; k < kSums; ++k) {
    sums.products += products[k];
    sums.count += counts[k];
  }
  return sums;
}

template <bool kDecay>
void GradientAs(const float* x, const float* t, const float* gy, int64_t n, float maximum,
                float divisor, float share, float decay, float* gx) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    const float signed_share = t[i] < 0.f ? -share : share;
    const float gt = gy[i] / divisor + (__builtin_fabsf(t[i]) == maximum ? signed_share : 0.f);
    const float through_tanh = gt * (1.f - t[i] * t[i]);
    gx[i] = kDecay ? through_tanh + decay * x[i] : through_tanh;
  }
}

void Gradient(const float* x, const float* t, const float* gy, int64_t n,
              const GradientTerms& terms, float* gx) {
  const auto loop = terms.decay == 0.f ? GradientAs<false> : GradientAs<true>;
  loop(x, t, gy, n, terms.maximum, terms.divisor, terms.share, terms.decay, gx);
}

}  // namespace

extern const DorefaLoops kDorefaLoops;
const DorefaLoops kDorefaLoops = {Maximum, Squares, Quantize, Sums, Gradient};

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_DOREFA_LOOPS_VERSION_H_

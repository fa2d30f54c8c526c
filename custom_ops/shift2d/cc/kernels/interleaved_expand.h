// The adjoint of shift2d on NHWC images at a stride of 2 or more, in blocks of channels: every
// pixel takes what the one output gives that read it.
#ifndef SSPQ_SHIFT2D_INTERLEAVED_EXPAND_H_
#define SSPQ_SHIFT2D_INTERLEAVED_EXPAND_H_

#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/interleaved_ahead.h"
#include "custom_ops/shift2d/cc/kernels/interleaved_rows.h"
#include "custom_ops/shift2d/cc/kernels/interleaved_strided.h"
#include "custom_ops/shift2d/cc/kernels/simd.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// One phase of one row, every phases_w-th pixel, for a block. Terms add zero, which turns -0 into
// the 0 that a sum of two would give.
template <typename T, int L, typename Row>
__attribute__((noinline)) void ExpandPhase(const ExpandMap<T>& m, int64_t block, int64_t channel,
                                           const T* in, int64_t row, int64_t phase_h,
                                           int64_t phase_w, T* gx) {
  typedef Vec<T, L> V;
  auto gather = [&](int u, int v) __attribute__((always_inline)) {
    const int64_t index = ((phase_h * m.taps_h + u) * m.phases_w + phase_w) * m.taps_w + v;
    return Row(m, index, channel, in, row);
  };
  auto weight = [&](const T* w, int64_t phase, int count, int tap) __attribute__((always_inline)) {
    return Load<T, L>(w + (phase * count + tap) * m.channels + channel);
  };
  const int64_t step = m.phases_w * m.channels;
  const int64_t width = (m.out_w - phase_w + m.phases_w - 1) / m.phases_w;
  const V w_y0 = weight(m.weight_y, phase_h, m.taps_h, 0);
  const V w_x0 = weight(m.weight_x, phase_w, m.taps_w, 0);
  const Row first = gather(0, 0);
  ReadAhead<T> outputs(gx + m.out_w * m.channels + phase_w * width * (64 / sizeof(T)), block,
                       m.out_w, 1);
  gx += phase_w * m.channels + channel;
  if (m.taps_h * m.taps_w == 1) {
    const int64_t inside = first.begin() < width ? first.begin() : width;
    const int64_t outside = first.end() < width ? first.end() : width;
    auto put = [&](V v) __attribute__((always_inline)) {
      outputs.Step();
      Store<T, L>(gx, w_y0 * (w_x0 * v + T(0)) + T(0));
      gx += step;
    };
    int64_t b = 0;
    for (; b < inside; ++b) put(first.Anywhere(b));
    for (; b < outside; ++b) put(first.Inside(b));
    for (; b < width; ++b) put(first.Anywhere(b));
  } else if (m.taps_w == 2) {  // a stride along H only
    const V w_x1 = weight(m.weight_x, phase_w, 2, 1);
    const Row second = gather(0, 1);
    for (int64_t b = 0; b < width; ++b, gx += step) {
      Store<T, L>(gx, w_y0 * (w_x0 * first.Anywhere(b) + w_x1 * second.Anywhere(b)) + T(0));
    }
  } else {  // a stride along W only
    const V w_y1 = weight(m.weight_y, phase_h, 2, 1);
    const Row second = gather(1, 0);
    for (int64_t b = 0; b < width; ++b, gx += step) {
      Store<T, L>(
          gx, w_y0 * (w_x0 * first.Anywhere(b) + T(0)) + w_y1 * (w_x0 * second.Anywhere(b) + T(0)));
    }
  }
}

template <typename T>
struct ExpandBand {
  template <int L>
  SSPQ_INLINE void Run(int64_t b, int64_t c) const {
    for (int64_t a = begin; a < end; ++a) {
      const int64_t row = a / m.phases_h, phase_h = a % m.phases_h;
      T* const gx = out + a * m.out_w * m.channels;
      for (int64_t phase_w = 0; phase_w < m.phases_w; ++phase_w) {
        if (m.windows) {
          ExpandPhase<T, L, WindowRow<T, L>>(m, b, c, in, row, phase_h, phase_w, gx);
        } else {
          ExpandPhase<T, L, GatheredRow<T, L>>(m, b, c, in, row, phase_h, phase_w, gx);
        }
      }
    }
  }

  const ExpandMap<T>& m;
  const T* const in;
  const int64_t begin, end;
  T* const out;
};

template <typename T>
void ExpandRows(const ExpandMap<T>& m, const T* in, int64_t begin, int64_t end, T* out) {
  if (m.windows && m.taps_h * m.taps_w == 1) return ExpandStrided(m, in, begin, end, out);
  ForEachBlock<T>(m.channels, ExpandBand<T>{m, in, begin, end, out});
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_INTERLEAVED_EXPAND_H_

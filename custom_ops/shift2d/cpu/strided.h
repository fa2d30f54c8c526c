// kWindow at a stride, forward: pixel by pixel, all channels of one in the order of memory. Little
// is read twice, so that a pixel keeps nothing for the next, and what is read and written makes up
// a few long streams, which the processor fetches in advance by itself.
#ifndef SSPQ_SHIFT2D_CPU_STRIDED_H_
#define SSPQ_SHIFT2D_CPU_STRIDED_H_

#include "custom_ops/cpu/vectors.h"
#include "custom_ops/shift2d/cpu/loops.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// The three by three pixels of a window, zero where they are outside.
struct WindowPixels {
  SSPQ_INLINE WindowPixels(const PixelMap& m, const float* in, int64_t row, int64_t column) {
    for (int u = 0; u < 3; ++u) {
      const bool inside = row + u >= 0 && row + u < m.in_h;
      for (int v = 0; v < 3; ++v) {
        const int64_t q = column + v;
        at[u][v] =
            inside && q >= 0 && q < m.in_w ? in + ((row + u) * m.in_w + q) * m.pitch : m.zeros;
      }
    }
  }

  const float* at[3][3];
};

void StridedForward(const PixelMap& m, const float* in, int64_t begin, int64_t end, float* out) {
  constexpr int kAhead = 1024;  // values; the blocks of two lines of pixels are far apart
  const LineWindow window = *m.windows;
  float* y = out + begin * m.out_w * m.pitch;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t row = i * m.stride_h + window.row;
    int64_t column = window.column;
    for (int64_t j = 0; j < m.out_w; ++j, column += m.stride_w, y += m.pitch) {
      const WindowPixels pixels(m, in, row, column);
      for (int64_t c = 0; c < m.lines * kLineChannels; c += kLanes) {
        const M below = Load(m.rows + c) != window.row,
                right = Load(m.columns + c) != window.column;
        const V lo_x = Load(m.lo_x + c), hi_x = Load(m.hi_x + c);
        for (int u = 1; u < 3; ++u) {
          for (int v = 0; v < 2; ++v) Prefetch(pixels.at[u][v] + c + kAhead);
        }
        V sample[2];
        for (int u = 0; u < 2; ++u) {
          V own[3];
          for (int v = 0; v < 3; ++v) {
            own[v] = IfThenElse(below, Load(pixels.at[u + 1][v] + c), Load(pixels.at[u][v] + c));
          }
          sample[u] =
              lo_x * IfThenElse(right, own[1], own[0]) + hi_x * IfThenElse(right, own[2], own[1]);
        }
        Store(Load(m.lo_y + c) * sample[0] + Load(m.hi_y + c) * sample[1], y + c);
      }
    }
  }
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CPU_STRIDED_H_

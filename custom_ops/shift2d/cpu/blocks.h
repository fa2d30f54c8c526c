// Lines of channels in blocks of their own, [height, width, kLineChannels], as oneDNN's layout
// nChw16c has them: what the loops work on where images are not in such an order themselves.
#ifndef SSPQ_SHIFT2D_CPU_BLOCKS_H_
#define SSPQ_SHIFT2D_CPU_BLOCKS_H_

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include <algorithm>
#include <cstdint>

#include "custom_ops/shift2d/core/geometry.h"
#include "custom_ops/shift2d/cpu/paths.h"

namespace sspq {

// A line of one image of `size` pixels: values of channel k of the line and pixel p.
template <typename T>
struct LineView {
  LineView(T* images, const Geometry& g, int64_t size, int64_t n, int64_t line)
      : count(std::min<int64_t>(kLineChannels, g.channels - line * kLineChannels)),
        size(size),
        from_channel(g.nchw ? size : 1),
        from_pixel(g.nchw ? 1 : g.channels),
        data(images + n * size * g.channels + line * kLineChannels * from_channel) {}

  T& At(int64_t k, int64_t p) const { return data[k * from_channel + p * from_pixel]; }

  const int64_t count, size, from_channel, from_pixel;
  T* const data;
};

// Four by four values; rows lie `from_step` and `to_step` values apart.
inline void TransposeFour(const float* from, int64_t from_step, float* to, int64_t to_step) {
#if defined(__SSE2__)
  __m128 a = _mm_loadu_ps(from), b = _mm_loadu_ps(from + from_step);
  __m128 c = _mm_loadu_ps(from + 2 * from_step), d = _mm_loadu_ps(from + 3 * from_step);
  _MM_TRANSPOSE4_PS(a, b, c, d);
  _mm_storeu_ps(to, a);
  _mm_storeu_ps(to + to_step, b);
  _mm_storeu_ps(to + 2 * to_step, c);
  _mm_storeu_ps(to + 3 * to_step, d);
#else
  for (int k = 0; k < 4; ++k) {
    for (int p = 0; p < 4; ++p) to[p * to_step + k] = from[k * from_step + p];
  }
#endif
}

// Copies a line of an image into a block, with zeros for channels that it lacks.
inline void ToBlock(const LineView<const float>& from, float* block) {
  int64_t p = 0;
  if (from.count == kLineChannels && from.from_pixel == 1) {
    for (; p + 4 <= from.size; p += 4) {
      for (int64_t k = 0; k < kLineChannels; k += 4) {
        TransposeFour(&from.At(k, p), from.from_channel, block + p * kLineChannels + k,
                      kLineChannels);
      }
    }
  }
  for (; p < from.size; ++p) {
    for (int64_t k = 0; k < kLineChannels; ++k) {
      block[p * kLineChannels + k] = k < from.count ? from.At(k, p) : 0;
    }
  }
}

// And back.
inline void FromBlock(const float* block, const LineView<float>& to) {
  int64_t p = 0;
  if (to.count == kLineChannels && to.from_pixel == 1) {
    for (; p + 4 <= to.size; p += 4) {
      for (int64_t k = 0; k < kLineChannels; k += 4) {
        TransposeFour(block + p * kLineChannels + k, kLineChannels, &to.At(k, p), to.from_channel);
      }
    }
  }
  for (; p < to.size; ++p) {
    for (int64_t k = 0; k < to.count; ++k) to.At(k, p) = block[p * kLineChannels + k];
  }
}

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CPU_BLOCKS_H_

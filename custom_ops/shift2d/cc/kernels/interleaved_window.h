// shift2d on NHWC images at stride 1 where the channels read from a window of two by two pixels: in
// tiles of a few pixels, for which all channels are worked off in the order of memory, block by
// block. A block at a time along a whole row would leave the cache between pixels: where these are
// a power of two apart, few sets of the cache take all of a block's lines.
#ifndef SSPQ_SHIFT2D_INTERLEAVED_WINDOW_H_
#define SSPQ_SHIFT2D_INTERLEAVED_WINDOW_H_

#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/simd.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// N rows of pixels that follow each other, zero where they are outside the image.
template <typename T, int N>
struct PixelRows {
  SSPQ_INLINE PixelRows(const PixelMap<T>& m, const T* in, int64_t first) {
    for (int n = 0; n < N; ++n) {
      const int64_t r = first + n;
      const bool inside = r >= 0 && r < m.in_h;
      row[n] = inside ? in + r * m.in_w * m.channels : m.zeros;
      step[n] = inside ? m.channels : 0;
    }
  }

  const T* row[N];
  int64_t step[N];
};

// What a block of channels reads of N rows, going from pixel to pixel: its own of two rows each and
// of two columns, so N - 1 values.
template <typename T, int L, int N>
class WindowWalk {
 public:
  typedef Vec<T, L> V;
  typedef Mask<T, L> M;

  SSPQ_INLINE WindowWalk(const PixelMap<T>& m, const PixelRows<T, N>& rows, int64_t channel,
                         int64_t first)
      : rows_(rows), channel_(channel), width_(m.in_w), next_(first + m.distances->column) {
    const T* const masks = static_cast<const T*>(m.masks) + m.distances->mask + channel;
    below_ = LoadMask<T, L>(masks);
    right_ = LoadMask<T, L>(masks + m.channels);
    used_ = LoadMask<T, L>(static_cast<const T*>(m.used) + channel);
    Column<false>(left_);
  }

  template <bool kInside>
  SSPQ_INLINE void Next(V* values) {
    V right[N - 1];
    Column<kInside>(right);
    for (int n = 0; n < N - 1; ++n) {
      values[n] = Keep<T, L>(Replace<T, L>(left_[n], right_, right[n]), used_);
      left_[n] = right[n];
    }
  }

 private:
  template <bool kInside>
  SSPQ_INLINE void Column(V* values) {
    if (kInside || (next_ >= 0 && next_ < width_)) {
      V all[N];
      for (int n = 0; n < N; ++n) {
        all[n] = Load<T, L>(rows_.row[n] + next_ * rows_.step[n] + channel_);
      }
      for (int n = 0; n < N - 1; ++n) values[n] = Replace<T, L>(all[n], below_, all[n + 1]);
    } else {
      for (int n = 0; n < N - 1; ++n) values[n] = V{};
    }
    ++next_;
  }

  const PixelRows<T, N> rows_;
  const int64_t channel_, width_;
  int64_t next_;
  M below_, right_, used_;
  V left_[N - 1];
};

constexpr int kTilePixels = 8;

// Calls body.Tile<L, kInside>(channel, first, last) for tiles of output pixels that make up a row
// and, tile by tile, for all blocks of channels.
template <typename T, typename Body>
struct WindowTiles {
  template <int L>
  SSPQ_INLINE void Blocks(int64_t channel, int64_t end) const {
    if (first + column >= 0 && last + column + 2 <= width) {
      for (; channel < end; channel += L) body.template Tile<L, true>(channel, first, last);
    } else {
      for (; channel < end; channel += L) body.template Tile<L, false>(channel, first, last);
    }
  }

  const Body& body;
  const int64_t column, width, first, last;
};

template <typename T, typename Body>
SSPQ_INLINE void ForEachTile(const PixelMap<T>& m, const Body& body) {
  constexpr int kWide = MostLanes<T>(), kNarrow = NarrowerBlock<T>(kWide);
  const int64_t wide = m.channels / kWide * kWide, narrow = m.channels / kNarrow * kNarrow;
  for (int64_t j = 0; j < m.out_w; j += kTilePixels) {
    const int64_t last = j + kTilePixels < m.out_w ? j + kTilePixels : m.out_w;
    const WindowTiles<T, Body> tiles = {body, m.distances->column, m.in_w, j, last};
    tiles.template Blocks<kWide>(0, wide);
    tiles.template Blocks<kNarrow>(wide, narrow);
    tiles.template Blocks<1>(narrow, m.channels);
  }
}

// R rows of output.
template <typename T, int R>
struct SampleRowsOfTiles {
  template <int L, bool kInside>
  SSPQ_INLINE void Tile(int64_t channel, int64_t first, int64_t last) const {
    typedef Vec<T, L> V;
    const V lo_x = Load<T, L>(m.lo_x + channel), hi_x = Load<T, L>(m.hi_x + channel);
    const V lo_y = Load<T, L>(m.lo_y + channel), hi_y = Load<T, L>(m.hi_y + channel);
    WindowWalk<T, L, R + 2> walk(m, rows, channel, first);
    V left[R + 1], right[R + 1], sample[R + 1];
    walk.template Next<kInside>(left);
    const int64_t in_row = m.in_w * m.channels, row = m.out_w * m.channels;
    const int64_t at = first * m.channels + channel;
    T* y = out + at;
    const T* next = ahead + at;
    for (int64_t j = first; j < last; ++j, y += m.channels, next += m.channels) {
      for (int n = 0; n < R; ++n) {
        Prefetch(next + n * in_row, 0);
        Prefetch(y + (n + R) * row, 0);
      }
      walk.template Next<kInside>(right);
      for (int n = 0; n <= R; ++n) {
        sample[n] = lo_x * left[n] + hi_x * right[n];
        left[n] = right[n];
      }
      for (int n = 0; n < R; ++n) {
        Store<T, L>(y + n * row, lo_y * sample[n] + hi_y * sample[n + 1]);
      }
    }
  }

  const PixelMap<T>& m;
  const PixelRows<T, R + 2> rows;
  const T* const ahead;
  T* const out;
};

// Rows i, i + 1, ... of the output, R of them.
template <typename T, int R>
__attribute__((noinline)) void SampleWindowRows(const PixelMap<T>& m, const T* in, int64_t i,
                                                T* out) {
  const int64_t r = i + m.distances->row;
  const T* const ahead = in + (r + 2 * R + 2) * m.in_w * m.channels;  // what comes after the next R
  const PixelRows<T, R + 2> rows(m, in, r);
  ForEachTile(m, SampleRowsOfTiles<T, R>{m, rows, ahead, out + i * m.out_w * m.channels});
}

template <typename T>
void SampleWindows(const PixelMap<T>& m, const T* in, int64_t begin, int64_t end, T* out) {
  int64_t i = begin;
  for (; i + 2 <= end; i += 2) SampleWindowRows<T, 2>(m, in, i, out);
  if (i < end) SampleWindowRows<T, 1>(m, in, i, out);
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_INTERLEAVED_WINDOW_H_

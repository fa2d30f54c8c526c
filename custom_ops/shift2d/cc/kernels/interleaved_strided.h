// shift2d on NHWC images at larger strides where the channels read from a window of two by two
// pixels: pixel by pixel, all channels of one in the order of memory. Little is read twice, so that
// a pixel keeps nothing for the next, and what is read and written makes up a few long streams,
// which the processor fetches in advance by itself.
#ifndef SSPQ_SHIFT2D_INTERLEAVED_STRIDED_H_
#define SSPQ_SHIFT2D_INTERLEAVED_STRIDED_H_

#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/simd.h"
#include "custom_ops/shift2d/cc/kernels/simd_sums.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// N by N pixels of an image, zero where they are outside.
template <typename T, int N>
struct Neighbours {
  SSPQ_INLINE Neighbours(const PixelReads<T>& m, const T* in, int64_t row, int64_t column) {
    for (int n = 0; n < N; ++n) {
      const bool inside = row + n >= 0 && row + n < m.in_h;
      for (int d = 0; d < N; ++d) {
        const int64_t q = column + d;
        at[n][d] =
            inside && q >= 0 && q < m.in_w ? in + ((row + n) * m.in_w + q) * m.channels : m.zeros;
      }
    }
  }

  const T* at[N][N];
};

// What a block of channels takes from a window: its own of the two rows and of the two columns.
template <typename T, int L>
class WindowPick {
 public:
  typedef Vec<T, L> V;
  typedef Mask<T, L> M;

  SSPQ_INLINE WindowPick(const PixelReads<T>& m, int64_t index, int64_t channel) {
    const T* const masks = static_cast<const T*>(m.masks) + m.distances[index].mask + channel;
    below_ = LoadMask<T, L>(masks);
    right_ = LoadMask<T, L>(masks + m.channels);
    used_ = LoadMask<T, L>(static_cast<const T*>(m.used) + index * m.channels + channel);
  }

  SSPQ_INLINE V Row(V upper, V lower) const { return Replace<T, L>(upper, below_, lower); }
  SSPQ_INLINE V Column(V left, V right) const {
    return Keep<T, L>(Replace<T, L>(left, right_, right), used_);
  }

 private:
  M below_, right_, used_;
};

// What two rows, one above the other, give for one pixel: the two values that are blended along W.
template <typename T, int L>
struct WindowPair {
  SSPQ_INLINE WindowPair(const PixelMap<T>& m, const Neighbours<T, 3>& from, int64_t channel) {
    const WindowPick<T, L> pick(m, 0, channel);
    for (int u = 0; u < 2; ++u) {
      Vec<T, L> column[3];
      for (int d = 0; d < 3; ++d) {
        column[d] =
            pick.Row(Load<T, L>(from.at[u][d] + channel), Load<T, L>(from.at[u + 1][d] + channel));
      }
      left[u] = pick.Column(column[0], column[1]);
      right[u] = pick.Column(column[1], column[2]);
      sample[u] = Load<T, L>(m.lo_x + channel) * left[u] + Load<T, L>(m.hi_x + channel) * right[u];
    }
  }

  Vec<T, L> left[2], right[2], sample[2];
};

// ---- sampling

template <typename T>
struct SamplePixel {
  template <int L>
  SSPQ_INLINE void Run(int64_t, int64_t c) const {
    for (int n = 1; n < 3; ++n) {
      for (int d = 0; d < 2; ++d) Prefetch(from.at[n][d] + c, 4096);
    }
    const WindowPair<T, L> pair(m, from, c);
    Store<T, L>(y + c,
                Load<T, L>(m.lo_y + c) * pair.sample[0] + Load<T, L>(m.hi_y + c) * pair.sample[1]);
  }

  const PixelMap<T>& m;
  const Neighbours<T, 3> from;
  T* const y;
};

template <typename T>
void SampleStrided(const PixelMap<T>& m, const T* in, int64_t begin, int64_t end, T* out) {
  T* y = out + begin * m.out_w * m.channels;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t row = i * m.stride_h + m.distances->row;
    int64_t column = m.distances->column;
    for (int64_t j = 0; j < m.out_w; ++j, column += m.stride_w, y += m.channels) {
      ForEachBlock<T>(m.channels, SamplePixel<T>{m, Neighbours<T, 3>(m, in, row, column), y});
    }
  }
}

// ---- the gradient to the shift, where no shift is an integer

template <typename T>
struct CorrelatePixel {
  template <int L>
  SSPQ_INLINE void Run(int64_t, int64_t c) const {
    typedef Vec<T, L> V;
    const WindowPair<T, L> pair(m, from, c);
    const V g = Load<T, L>(gy + c), lo_y = Load<T, L>(m.lo_y + c), hi_y = Load<T, L>(m.hi_y + c);
    const V term_x =
        g * (lo_y * (pair.right[0] - pair.left[0]) + hi_y * (pair.right[1] - pair.left[1]));
    Add<L>(term_x, run + c);
    Add<L>(g * (pair.sample[1] - pair.sample[0]), run + m.channels + c);
  }

  template <int L>
  static SSPQ_INLINE void Add(Vec<T, L> term, T* to) {
    Store<T, L>(to, Load<T, L>(to) + term);
  }

  const PixelMap<T>& m;
  const Neighbours<T, 3> from;
  const T* const gy;
  T* const run;
};

// Adds a run to the sums and clears it.
template <typename T>
struct AddRun {
  template <int L>
  SSPQ_INLINE void Run(int64_t, int64_t c) const {
    Sums<T, L> sums;
    sums.Load(to + c);
    sums.Add(Load<T, L>(run + c));
    sums.Store(to + c);
    Store<T, L>(run + c, Vec<T, L>{});
  }

  T* const run;
  double* const to;
};

// `run` has room for 2 * channels values.
template <typename T>
void CorrelateStrided(const PixelMap<T>& m, const T* x, const T* gy, int64_t begin, int64_t end,
                      T* run, double* sums_x, double* sums_y) {
  const T* g = gy + begin * m.out_w * m.channels;
  for (int64_t c = 0; c < 2 * m.channels; ++c) run[c] = T(0);
  for (int64_t i = begin; i < end; ++i) {
    const int64_t row = i * m.stride_h + m.distances->row;
    int64_t column = m.distances->column;
    for (int64_t j = 0; j < m.out_w; ++j, column += m.stride_w, g += m.channels) {
      ForEachBlock<T>(m.channels,
                      CorrelatePixel<T>{m, Neighbours<T, 3>(m, x, row, column), g, run});
      if ((j + 1) % kSumRun != 0 && j + 1 < m.out_w) continue;
      ForEachBlock<T>(m.channels, AddRun<T>{run, sums_x});
      ForEachBlock<T>(m.channels, AddRun<T>{run + m.channels, sums_y});
    }
  }
}

// ---- the gradient to x

// Terms add zero, which turns -0 into the 0 that a sum of two would give.
template <typename T>
struct ExpandPixel {
  template <int L>
  SSPQ_INLINE void Run(int64_t, int64_t c) const {
    const WindowPick<T, L> pick(m, index, c);
    Vec<T, L> column[2];
    for (int d = 0; d < 2; ++d) {
      column[d] = pick.Row(Load<T, L>(from.at[0][d] + c), Load<T, L>(from.at[1][d] + c));
    }
    const Vec<T, L> v = pick.Column(column[0], column[1]);
    Prefetch(gx + c, 4096);  // there is more to write than to read
    Store<T, L>(gx + c, Load<T, L>(weight_y + c) * (Load<T, L>(weight_x + c) * v + T(0)) + T(0));
  }

  const ExpandMap<T>& m;
  const int64_t index;
  const Neighbours<T, 2> from;
  const T *const weight_y, *const weight_x;
  T* const gx;
};

// Both strides are 2 or more, so that one output reads a pixel.
template <typename T>
void ExpandStrided(const ExpandMap<T>& m, const T* in, int64_t begin, int64_t end, T* out) {
  T* gx = out + begin * m.out_w * m.channels;
  for (int64_t a = begin; a < end; ++a) {
    const int64_t row = a / m.phases_h, phase_h = a % m.phases_h;
    const T* const weight_y = m.weight_y + phase_h * m.channels;
    int64_t column = 0, phase_w = 0;
    for (int64_t b = 0; b < m.out_w; ++b, gx += m.channels) {
      const int64_t index = phase_h * m.phases_w + phase_w;
      const PixelDistances& d = m.distances[index];
      ForEachBlock<T>(
          m.channels,
          ExpandPixel<T>{m, index, Neighbours<T, 2>(m, in, row + d.row, column + d.column),
                         weight_y, m.weight_x + phase_w * m.channels, gx});
      if (++phase_w == m.phases_w) {
        phase_w = 0;
        ++column;
      }
    }
  }
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_INTERLEAVED_STRIDED_H_

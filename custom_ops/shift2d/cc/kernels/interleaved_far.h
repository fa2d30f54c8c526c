// shift2d on NHWC images where shifts reach further than a pixel, for a block whose channels read
// from a window of a few rows and columns. In strips of pixels and chunks of rows: the rows that a
// chunk reads are sampled along W, each channel at its own column, into a buffer that stays in the
// first cache; from there every channel takes its own two rows.
#ifndef SSPQ_SHIFT2D_INTERLEAVED_FAR_H_
#define SSPQ_SHIFT2D_INTERLEAVED_FAR_H_

#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/interleaved_ahead.h"
#include "custom_ops/shift2d/cc/kernels/interleaved_window.h"
#include "custom_ops/shift2d/cc/kernels/simd.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// Vectors that take each lane from one of N others: the one that `values` tells, less `first`.
// Lanes that are not `used` take none and are zero.
template <typename T, int L, int N>
class LanePick {
 public:
  SSPQ_INLINE LanePick(const void* values, int64_t first, const void* used) {
    const Mask<T, L> value = LoadMask<T, L>(values), reads = LoadMask<T, L>(used);
    Unrolled<N>::Run([&](int n) __attribute__((always_inline)) {
      lanes_[n] = reads & (value == static_cast<typename Lanes<T, L>::I>(first + n));
    });
  }

  // From p, p + step and so on, all of which must be readable, with any content.
  SSPQ_INLINE Vec<T, L> operator()(const T* p, int64_t step) const {
    Vec<T, L> v = {};
    Unrolled<N>::Run([&](int n) __attribute__((always_inline)) {
      v = Replace<T, L>(v, lanes_[n], Load<T, L>(p + n * step));
    });
    return v;
  }

 private:
  Mask<T, L> lanes_[N];
};

// Calls body.Run<N>() with N = PickedFor(count): code is made for a few numbers only.
SSPQ_INLINE int64_t PickedFor(int64_t count) { return count <= 4 ? 4 : count <= 6 ? 6 : kFarReach; }
template <typename Body>
SSPQ_INLINE void RunForCount(int64_t count, const Body& body) {
  if (count <= 4) return body.template Run<4>();
  if (count <= 6) return body.template Run<6>();
  body.template Run<kFarReach>();
}

// A strip of a block. In the buffer there are kValues for every pixel: 1 for samples, 2 for samples
// and, beside them, slopes.
template <typename T, int L, int kValues>
struct FarStrip {
  // From row to row of the buffer.
  static constexpr int64_t kPitch = kFarStrip * L;

  const PixelMap<T>& m;
  const FarWindow window;
  const int64_t channel, begin, pixels;
  T *const buffer, *const columns;

  SSPQ_INLINE const void* OfBlock(const void* lanes) const {
    return static_cast<const T*>(lanes) + channel;
  }
};

// Samples input rows [begin, end) along W, the first to row `at` of the buffer. For every pixel it
// asks for a line from `ahead` on.
template <typename T, int L, int kValues>
struct FillRows {
  typedef Vec<T, L> V;

  template <int N>
  __attribute__((noinline)) void Run() const {
    const PixelMap<T>& m = s.m;
    const LanePick<T, L, N> pick(s.OfBlock(m.columns), s.window.column, s.OfBlock(m.used));
    const V lo_x = Load<T, L>(m.lo_x + s.channel), hi_x = Load<T, L>(m.hi_x + s.channel);
    const int64_t step = m.stride_w * L, size = s.pixels * kValues * L, channels = m.channels;
    // Columns [first, first + count) are read, of which [inside, outside) are there.
    const int64_t first = s.begin * m.stride_w + s.window.column;
    const int64_t count = (s.pixels - 1) * m.stride_w + N + 1;
    const int64_t inside = first >= 0 ? 0 : -first < count ? -first : count;
    const int64_t most = m.in_w - first < count ? m.in_w - first : count;
    const int64_t outside = most > inside ? most : inside;
    const bool stride_one = m.stride_w == 1;
    T* const columns = s.columns;
    for (int64_t k = 0; k < inside; ++k) Store<T, L>(columns + k * L, V{});
    for (int64_t k = outside; k < count; ++k) Store<T, L>(columns + k * L, V{});
    const T* next = ahead;
    T* to = s.buffer + at * s.kPitch;
    for (int64_t r = begin; r < end; ++r, to += s.kPitch) {
      if (r < 0 || r >= m.in_h) {
        for (int64_t k = 0; k < size; k += L) Store<T, L>(to + k, V{});
        continue;
      }
      // Without the gaps of other blocks, and with zeros outside.
      const T* from = in + (r * m.in_w + first + inside) * channels + s.channel;
      for (int64_t k = inside * L; k < outside * L; k += L, from += channels) {
        Store<T, L>(columns + k, Load<T, L>(from));
      }
      const T* p = columns;
      V left = pick(p, L);
      for (int64_t k = 0; k < size; k += kValues * L, p += step) {
        if (!stride_one) left = pick(p, L);
        Prefetch(next, 0);
        next += 64 / sizeof(T);
        const V right = pick(p + L, L);
        Store<T, L>(to + k, lo_x * left + hi_x * right);
        if (kValues == 2) Store<T, L>(to + k + L, right - left);
        left = right;
      }
    }
  }

  const FarStrip<T, L, kValues>& s;
  const T *const in, *const ahead;
  const int64_t begin, end, at;
};

// Calls visit(i, chunk) for chunks of output rows [begin, end), `chunk` from i on, with what these
// read in the buffer, from its first row on. Rows that are read again are moved there, or through
// `kept` from one call to the next.
template <typename T, int L, int kValues, typename Visit>
SSPQ_INLINE void ForEachChunk(const FarStrip<T, L, kValues>& s, const T* in, bool start,
                              int64_t begin, int64_t end, const T* ahead, T* kept,
                              const Visit& visit) {
  const int64_t stride = s.m.stride_h, window = s.window.rows + 1;
  const int64_t rows = (kFarRows - 1 - PickedFor(s.window.rows)) / stride + 1;
  const int64_t keep = window > stride ? window - stride : 0;
  const int64_t size = s.pixels * kValues * L;
  auto move = [&](T * to, int64_t to_pitch, const T* from, int64_t from_pitch)
      __attribute__((always_inline)) {
    for (int64_t r = 0; r < keep; ++r) {
      for (int64_t k = 0; k < size; k += L) {
        Store<T, L>(to + r * to_pitch + k, Load<T, L>(from + r * from_pitch + k));
      }
    }
  };
  if (!start) move(s.buffer, s.kPitch, kept, size);
  int64_t have = start ? 0 : keep;
  for (int64_t i = begin; i < end; i += rows) {
    const int64_t chunk = i + rows < end ? rows : end - i;
    const int64_t first = i * stride + s.window.row, last = first + (chunk - 1) * stride + window;
    RunForCount(s.window.columns, FillRows<T, L, kValues>{s, in, ahead, first + have, last, have});
    ahead += (last - first - have) * s.pixels * (64 / sizeof(T));
    visit(i, chunk);
    const T* const rest = s.buffer + chunk * stride * s.kPitch;
    if (i + chunk < end) {
      move(s.buffer, s.kPitch, rest, s.kPitch);
    } else if (end < s.m.out_h) {
      move(kept, size, rest, s.kPitch);
    }
    have = keep;
  }
}

// ---- sampling

// Blends the rows of a chunk along H. Pixel by pixel from top to bottom, so that the sample above
// stays in a register.
template <typename T, int L>
struct BlendChunk {
  typedef Vec<T, L> V;

  template <int N>
  __attribute__((noinline)) void Run() const {
    const PixelMap<T>& m = s.m;
    const LanePick<T, L, N> pick(s.OfBlock(m.rows), s.window.row, s.OfBlock(m.used));
    const V lo_y = Load<T, L>(m.lo_y + s.channel), hi_y = Load<T, L>(m.hi_y + s.channel);
    constexpr int64_t kPitch = FarStrip<T, L, 1>::kPitch;
    const int64_t row = m.out_w * m.channels, step = m.stride_h * kPitch;
    const bool stride_one = m.stride_h == 1;
    const T* next = ahead;
    for (int64_t k = 0; k < s.pixels; ++k) {
      const T* p = s.buffer + k * L;
      T* y = out + k * m.channels;
      V above = pick(p, kPitch);
      for (int64_t i = 0; i < rows; ++i, p += step, y += row) {
        if (!stride_one) above = pick(p, kPitch);
        Prefetch(next, 0);
        next += 64 / sizeof(T);
        const V sample = pick(p + kPitch, kPitch);
        Store<T, L>(y, lo_y * above + hi_y * sample);
        above = sample;
      }
    }
  }

  const FarStrip<T, L, 1>& s;
  const int64_t rows;
  const T* const ahead;
  T* const out;
};

// Output rows [begin, end) of a block.
template <typename T, int L>
SSPQ_INLINE void SampleFar(const PixelMap<T>& m, int64_t block, int64_t channel, const T* in,
                           bool start, int64_t begin, int64_t end, T* room, T* out) {
  const int64_t input_rows = (end - begin) * m.stride_h;
  const T* input = Share(NextInput(m, in, end), block, input_rows * m.in_w);
  const T* output = Share(out + end * m.out_w * m.channels, block, (end - begin) * m.out_w);
  T* const columns = room + kFarRows * kFarStrip * L;
  T* kept = columns + FarColumns(m) + channel * m.out_w * kFarReach;
  for (int64_t j = 0; j < m.out_w; j += kFarStrip) {
    const int64_t pixels = j + kFarStrip < m.out_w ? kFarStrip : m.out_w - j;
    const FarStrip<T, L, 1> strip = {m,      m.far[channel / kFarGroup], channel, j, pixels, room,
                                     columns};
    ForEachChunk(strip, in, start, begin, end, input, kept, [&](int64_t i, int64_t rows) {
      T* const y = out + (i * m.out_w + j) * m.channels + channel;
      RunForCount(strip.window.rows, BlendChunk<T, L>{strip, rows, output, y});
      output += rows * pixels * (64 / sizeof(T));
    });
    input += input_rows * pixels * m.stride_w * (64 / sizeof(T));
    kept += pixels * kFarReach * L;
  }
}

// ---- the gradient to the shift, where no shift is an integer

// Adds the terms of a chunk, pixel by pixel like BlendChunk, to the runs of its rows, each [2, L]
// and run_step values from the next.
template <typename T, int L>
struct CorrelateChunk {
  typedef Vec<T, L> V;

  template <int N>
  __attribute__((noinline)) void Run() const {
    const PixelMap<T>& m = s.m;
    const LanePick<T, L, N> pick(s.OfBlock(m.rows), s.window.row, s.OfBlock(m.used));
    const V lo_y = Load<T, L>(m.lo_y + s.channel), hi_y = Load<T, L>(m.hi_y + s.channel);
    constexpr int64_t kPitch = FarStrip<T, L, 2>::kPitch;
    const int64_t row = m.out_w * m.channels, step = m.stride_h * kPitch;
    const bool stride_one = m.stride_h == 1;
    for (int64_t k = 0; k < s.pixels; ++k) {
      const T* p = s.buffer + k * 2 * L;
      const T* g = gy + k * m.channels;
      T* run = runs;
      V sample_above = pick(p, kPitch), slope_above = pick(p + L, kPitch);
      for (int64_t i = 0; i < rows; ++i, p += step, g += row, run += run_step) {
        if (!stride_one) {
          sample_above = pick(p, kPitch);
          slope_above = pick(p + L, kPitch);
        }
        const V sample = pick(p + kPitch, kPitch), slope = pick(p + kPitch + L, kPitch);
        const V gradient = Load<T, L>(g);
        const V x = gradient * (lo_y * slope_above + hi_y * slope);
        const V y = gradient * (sample - sample_above);
        Store<T, L>(run, Load<T, L>(run) + x);
        Store<T, L>(run + L, Load<T, L>(run + L) + y);
        sample_above = sample;
        slope_above = slope;
      }
    }
  }

  const FarStrip<T, L, 2>& s;
  const int64_t rows, run_step;
  const T* const gy;
  T* const runs;
};

template <typename T, int L>
SSPQ_INLINE void CorrelateFar(const PixelMap<T>& m, int64_t block, int64_t channel, const T* x,
                              const T* gy, bool start, int64_t begin, int64_t end, T* room,
                              double* sums_x, double* sums_y) {
  static_assert(kFarStrip / 2 == kSumRun, "a strip is one run");
  const int64_t width = m.out_w, row_runs = RunsOf(width), count = (end - begin) * row_runs;
  const int64_t input_rows = (end - begin) * m.stride_h;
  const T* input = Share(NextInput(m, x, end), block, input_rows * m.in_w);
  T* const columns = room + kFarRows * kFarStrip * L;
  T* kept = columns + FarColumns(m) + channel * width * 2 * kFarReach;
  T* const runs = room + FarRoom(m, 2);
  for (int64_t k = 0; k < 2 * count; ++k) Store<T, L>(runs + k * L, Vec<T, L>{});
  for (int64_t j = 0; j < width; j += kSumRun) {
    const int64_t pixels = j + kSumRun < width ? kSumRun : width - j;
    const FarStrip<T, L, 2> strip = {m,      m.far[channel / kFarGroup], channel, j, pixels, room,
                                     columns};
    ForEachChunk(strip, x, start, begin, end, input, kept, [&](int64_t i, int64_t rows) {
      const T* const g = gy + (i * width + j) * m.channels + channel;
      T* const run = runs + ((i - begin) * row_runs + j / kSumRun) * 2 * L;
      RunForCount(strip.window.rows, CorrelateChunk<T, L>{strip, rows, row_runs * 2 * L, g, run});
    });
    input += input_rows * pixels * m.stride_w * (64 / sizeof(T));
    kept += pixels * 2 * kFarReach * L;
  }
  AddRuns<T>{runs, count, L, sums_x + channel, sums_y + channel}.template Run<L>(0, 0);
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_INTERLEAVED_FAR_H_

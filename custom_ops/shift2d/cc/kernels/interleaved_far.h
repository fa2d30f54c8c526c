// shift2d on NHWC images where shifts reach further than a pixel, for a block whose channels read
// from a window of a few rows and columns. In chunks of rows: walks along the rows sample them
// along W, each channel at its own column, into a buffer that stays in the first cache; from there,
// walks down the columns take every channel's own rows.
#ifndef SSPQ_SHIFT2D_INTERLEAVED_FAR_H_
#define SSPQ_SHIFT2D_INTERLEAVED_FAR_H_

#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/interleaved_ahead.h"
#include "custom_ops/shift2d/cc/kernels/interleaved_shifter.h"
#include "custom_ops/shift2d/cc/kernels/interleaved_window.h"
#include "custom_ops/shift2d/cc/kernels/simd.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// A block, and the room it is worked off in, with N vectors for every pixel of the buffer.
template <typename T, int L, int N>
struct FarBlock {
  SSPQ_INLINE FarBlock(const PixelMap<T>& map, int64_t first_channel, T* room)
      : m(map),
        window(map.far[first_channel / kFarGroup]),
        channel(first_channel),
        pitch(FarPitch(map, N)),
        buffer(room),
        state(room + FarBuffer(map, N) + channel * map.out_w * kFarReach * N),
        runs(room + FarRoom(map, N)) {}

  SSPQ_INLINE const void* OfBlock(const void* lanes) const {
    return static_cast<const T*>(lanes) + channel;
  }
  SSPQ_INLINE Vec<T, L> OfBlock(const T* values) const { return Load<T, L>(values + channel); }

  // Sums are kept in runs, [rows, RunsOf(out_w), 2, L]: cleared; and added up.
  SSPQ_INLINE int64_t RowRuns() const { return RunsOf(m.out_w) * 2 * L; }
  SSPQ_INLINE T* NoRuns(int64_t rows) const {
    for (int64_t k = 0; k < rows * RowRuns(); k += L) Store<T, L>(runs + k, Vec<T, L>{});
    return runs;
  }
  SSPQ_INLINE void AddTo(double* sums_x, double* sums_y, int64_t rows) const {
    const AddRuns<T> add = {runs, rows * RunsOf(m.out_w), L, sums_x + channel, sums_y + channel};
    add.template Run<L>(0, 0);
  }

  const PixelMap<T>& m;
  const FarWindow window;
  const int64_t channel, pitch;
  T* const buffer;
  T* const state;  // what the walks down the columns leave for the next chunk
  T* const runs;
};

// ---- what walks do with the pairs they visit

// Blends them, `step` values from one to the next. With each it asks for kLines of what comes next.
template <typename T, int L, int kLines>
struct Blend {
  static constexpr int kAhead = kLines * (64 / sizeof(T));

  SSPQ_INLINE void Put(int k, Several<T, L, 1> first, Several<T, L, 1> second) {
    for (int n = 0; n < kLines; ++n) Prefetch(ahead + k * kAhead, 64 * n);
    Store<T, L>(to + k * step, lo * first.of[0] + hi * second.of[0]);
  }
  SSPQ_INLINE void Advance(int count) {
    to += count * step;
    ahead += count * kAhead;
  }

  const Vec<T, L> lo, hi;
  const int64_t step;
  const T* ahead;
  T* to;
};

// Samples with, beside them, slopes.
template <typename T, int L, int kLines>
struct BlendAndSubtract : Blend<T, L, kLines> {
  typedef Blend<T, L, kLines> Base;
  SSPQ_INLINE BlendAndSubtract(const Base& blend) : Base(blend) {}
  SSPQ_INLINE void Put(int k, Several<T, L, 1> left, Several<T, L, 1> right) {
    Base::Put(k, left, right);
    Store<T, L>(this->to + k * this->step + L, right.of[0] - left.of[0]);
  }
};

// Adds the products of the gradient to y and the derivatives to the runs of their rows.
template <typename T, int L>
struct Correlate {
  SSPQ_INLINE void Put(int k, Several<T, L, 2> above, Several<T, L, 2> below) {
    const Vec<T, L> gradient = Load<T, L>(gy + k * step);
    T* const to = run + k * run_step;
    const Vec<T, L> x = gradient * (lo * above.of[1] + hi * below.of[1]);
    const Vec<T, L> y = gradient * (below.of[0] - above.of[0]);
    Store<T, L>(to, Load<T, L>(to) + x);
    Store<T, L>(to + L, Load<T, L>(to + L) + y);
  }
  SSPQ_INLINE void Advance(int count) {
    gy += count * step;
    run += count * run_step;
  }

  const Vec<T, L> lo, hi;
  const int64_t step, run_step;
  const T* gy;
  T* run;
};

// For both gradients: blends samples of the gradient to y, and subtracts the products of x and the
// derivatives from the runs.
template <typename T, int L>
struct BlendAndCorrelate {
  SSPQ_INLINE void Put(int k, Several<T, L, 2> above, Several<T, L, 2> below) {
    for (int n = 0; n < 2; ++n) Prefetch(ahead[n] + k * (64 / sizeof(T)), 0);
    Store<T, L>(gx + k * step, lo * above.of[0] + hi * below.of[0]);
    const Vec<T, L> value = Load<T, L>(x + k * step);
    T* const to = run + k * run_step;
    Store<T, L>(to, Load<T, L>(to) - value * (lo * above.of[1] + hi * below.of[1]));
    Store<T, L>(to + L, Load<T, L>(to + L) - value * (below.of[0] - above.of[0]));
  }
  SSPQ_INLINE void Advance(int count) {
    x += count * step;
    gx += count * step;
    run += count * run_step;
    for (int n = 0; n < 2; ++n) ahead[n] += count * (64 / sizeof(T));
  }

  const Vec<T, L> lo, hi;
  const int64_t step, run_step;
  const T* ahead[2];
  const T* x;
  T* gx;
  T* run;
};

// ---- chunks

// Samples rows [begin, end) of the input along W.
template <typename T, int L, int N, template <typename, int, int> class Visit>
struct AlongRows {
  template <int kReach, int kStride>
  __attribute__((noinline)) void Run() const {
    typedef PairWalk<T, L, 1, kReach, kStride> Walk;
    const PixelMap<T>& m = s.m;
    Walk walk(s.OfBlock(m.columns), s.window.column);
    typedef Blend<T, L, kStride> Base;
    Visit<T, L, kStride> visit = Base{s.OfBlock(m.lo_x), s.OfBlock(m.hi_x), N * L, ahead, nullptr};
    for (int64_t r = begin; r < end; ++r) {
      Line<T, L, 1> line(in + r * m.in_w * m.channels + s.channel, m.channels, m.in_w,
                         WalkBegin(0, kStride) + s.window.column);
      visit.to = s.buffer + (r - begin) * s.pitch;
      walk.Start(&line);
      walk.Run(&line, m.out_w, &visit);
    }
  }

  const FarBlock<T, L, N>& s;
  const T *const in, *const ahead;
  const int64_t begin, end;
};

// Walks down the columns of the buffer, whose first row is input row `first`, for output rows
// [begin, end), with a visitor that visits.Column(k, &visitor) makes column k's.
template <typename T, int L, int N, typename Visits>
struct DownColumns {
  template <int kReach, int kStride>
  __attribute__((noinline)) void Run() const {
    typedef PairWalk<T, L, N, kReach, kStride> Walk;
    const PixelMap<T>& m = s.m;
    Walk walk(s.OfBlock(m.rows), s.window.row);
    const int64_t top = WalkBegin(begin, kStride) + s.window.row + (start ? 0 : kReach);
    const T* column = s.buffer - first * s.pitch;
    T* state = s.state;
    auto visit = visits.Begin();
    for (int64_t k = 0; k < m.out_w; ++k, column += N * L, state += Walk::kState) {
      Line<T, L, N> line(column, s.pitch, m.in_h, top);
      if (start) {
        walk.Start(&line);
      } else {
        walk.Restore(state);
      }
      visits.Column(k, &visit);
      walk.Run(&line, end - begin, &visit);
      if (end < m.out_h) walk.Save(state);
    }
  }

  const FarBlock<T, L, N>& s;
  const bool start;
  const int64_t begin, end, first;
  const Visits& visits;
};

// Works off output rows [begin, end) of a block in chunks: what the walks down the columns have not
// come to yet goes into the buffer, as Visit does that, and they go on. visits(i) are for those of
// the chunk from output row i on. For every pixel read, a line from `ahead` on is asked for.
template <template <typename, int, int> class Visit, typename T, int L, int N, typename Visits>
SSPQ_INLINE void ForEachChunk(const FarBlock<T, L, N>& s, const T* in, const T* ahead, bool start,
                              int64_t begin, int64_t end, const Visits& visits) {
  const PixelMap<T>& m = s.m;
  typedef decltype(visits(begin)) Columns;
  constexpr int kMost = Columns::kMostStride;
  const int64_t stride = m.stride_h, most = FarRows(m, N), reach = WalkReach(s.window.rows);
  for (int64_t i = begin; i < end; start = false) {
    // As the walks do: the first row they have not come to, and the one after `rows` outputs.
    const int64_t top = WalkBegin(i, stride) + s.window.row;
    const int64_t next = start ? top : top + reach, first = next > 0 ? next : 0;
    int64_t rows = end - i;
    if (m.in_h - first > most) {
      const int64_t fit = (first + most - top - reach) / stride;
      rows = fit < rows ? fit : rows;
    }
    const int64_t below = top + reach + rows * stride, last = below < m.in_h ? below : m.in_h;
    RunForWalk<kMost>(s.window.columns, m.stride_w,
                      AlongRows<T, L, N, Visit>{s, in, ahead, first, last});
    if (last > first) ahead += (last - first) * m.out_w * m.stride_w * (64 / sizeof(T));
    const Columns of_chunk = visits(i);
    RunForWalk<kMost>(s.window.rows, stride,
                      DownColumns<T, L, N, Columns>{s, start, i, i + rows, first, of_chunk});
    i += rows;
  }
}

// ---- sampling

template <typename T, int L>
struct BlendColumns {
  typedef Blend<T, L, 1> Visit;
  static constexpr int kMostStride = kMostFarStride;

  SSPQ_INLINE Visit Begin() const {
    return {s.OfBlock(s.m.lo_y), s.OfBlock(s.m.hi_y), s.m.out_w * s.m.channels, ahead, nullptr};
  }
  SSPQ_INLINE void Column(int64_t k, Visit* visit) const { visit->to = out + k * s.m.channels; }

  const FarBlock<T, L, 1>& s;
  const T* const ahead;
  T* const out;
};

// Output rows [begin, end) of a block.
template <typename T, int L>
SSPQ_INLINE void SampleFar(const PixelMap<T>& m, int64_t block, int64_t channel, const T* in,
                           bool start, int64_t begin, int64_t end, T* room, T* out) {
  const FarBlock<T, L, 1> s(m, channel, room);
  const int64_t row = m.out_w * m.channels, lines = m.out_w * (64 / sizeof(T));
  const T* const input = Share(NextInput(m, in, end), block, (end - begin) * m.stride_h * m.in_w);
  const T* const output = Share(out + end * row, block, (end - begin) * m.out_w);
  ForEachChunk<Blend>(
      s, in, input, start, begin, end, [&](int64_t i) __attribute__((always_inline)) {
        return BlendColumns<T, L>{s, output + (i - begin) * lines, out + i * row + channel};
      });
}

// ---- both gradients at stride 1, where no shift is an integer; `m` is the adjoint map

template <typename T, int L>
struct BackwardColumns {
  typedef BlendAndCorrelate<T, L> Visit;
  static constexpr int kMostStride = 1;

  SSPQ_INLINE Visit Begin() const {
    const int64_t row = s.m.out_w * s.m.channels;
    return {s.OfBlock(s.m.lo_y),
            s.OfBlock(s.m.hi_y),
            row,
            s.RowRuns(),
            {ahead_x, ahead_gx},
            nullptr,
            nullptr,
            nullptr};
  }
  SSPQ_INLINE void Column(int64_t k, Visit* visit) const {
    visit->x = x + k * s.m.channels;
    visit->gx = gx + k * s.m.channels;
    visit->run = runs + k / kSumRun * 2 * L;
  }

  const FarBlock<T, L, 2>& s;
  const T *const ahead_x, *const ahead_gx, *const x;
  T *const gx, *const runs;
};

template <typename T, int L>
SSPQ_INLINE void BackwardFar(const PixelMap<T>& m, int64_t block, int64_t channel, const T* gy,
                             const T* x, bool start, int64_t begin, int64_t end, T* room, T* gx,
                             double* sums_x, double* sums_y) {
  const FarBlock<T, L, 2> s(m, channel, room);
  const int64_t row = m.out_w * m.channels, lines = m.out_w * (64 / sizeof(T));
  const int64_t pixels = (end - begin) * m.out_w;
  const T* const next_gy = Share(NextInput(m, gy, end), block, pixels);
  const T* const next_x = Share(x + end * row, block, pixels);
  const T* const next_gx = Share(gx + end * row, block, pixels);
  T* const runs = s.NoRuns(end - begin);
  ForEachChunk<BlendAndSubtract>(
      s, gy, next_gy, start, begin, end, [&](int64_t i) __attribute__((always_inline)) {
        const int64_t at = i * row + channel, done = (i - begin) * lines;
        T* const first_run = runs + (i - begin) * s.RowRuns();
        return BackwardColumns<T, L>{s, next_x + done, next_gx + done, x + at, gx + at, first_run};
      });
  s.AddTo(sums_x, sums_y, end - begin);
}

// ---- the gradient to the shift alone, where no shift is an integer

template <typename T, int L>
struct CorrelateColumns {
  typedef Correlate<T, L> Visit;
  static constexpr int kMostStride = kMostFarStride;

  SSPQ_INLINE Visit Begin() const {
    const int64_t row = s.m.out_w * s.m.channels;
    return {s.OfBlock(s.m.lo_y), s.OfBlock(s.m.hi_y), row, s.RowRuns(), nullptr, nullptr};
  }
  SSPQ_INLINE void Column(int64_t k, Visit* visit) const {
    visit->gy = gy + k * s.m.channels;
    visit->run = runs + k / kSumRun * 2 * L;
  }

  const FarBlock<T, L, 2>& s;
  const T* const gy;
  T* const runs;
};

template <typename T, int L>
SSPQ_INLINE void CorrelateFar(const PixelMap<T>& m, int64_t block, int64_t channel, const T* x,
                              const T* gy, bool start, int64_t begin, int64_t end, T* room,
                              double* sums_x, double* sums_y) {
  const FarBlock<T, L, 2> s(m, channel, room);
  const int64_t row = m.out_w * m.channels;
  const T* const next_x = Share(NextInput(m, x, end), block, (end - begin) * m.stride_h * m.in_w);
  T* const runs = s.NoRuns(end - begin);
  ForEachChunk<BlendAndSubtract>(
      s, x, next_x, start, begin, end, [&](int64_t i) __attribute__((always_inline)) {
        T* const first_run = runs + (i - begin) * s.RowRuns();
        return CorrelateColumns<T, L>{s, gy + i * row + channel, first_run};
      });
  s.AddTo(sums_x, sums_y, end - begin);
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_INTERLEAVED_FAR_H_

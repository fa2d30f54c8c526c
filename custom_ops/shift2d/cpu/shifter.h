// kShifter: for a vector of channels that read from a window of a few rows and columns. In chunks
// of rows: walks along the rows sample them along W, each channel at its own column, into a buffer
// that stays in the first cache; from there, walks down the columns take every channel's own rows.
#ifndef SSPQ_SHIFT2D_CPU_SHIFTER_H_
#define SSPQ_SHIFT2D_CPU_SHIFTER_H_

#include "custom_ops/shift2d/cpu/pair_walk.h"
#include "custom_ops/shift2d/cpu/run_sums.h"
#include "custom_ops/shift2d/cpu/strips.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// A vector of channels, and the room it is worked off in, with N vectors for every pixel of the
// buffer.
template <int N>
struct ShifterVector {
  SSPQ_INLINE ShifterVector(const PixelMap& map, int64_t first_channel, float* room)
      : m(map),
        window(map.windows[first_channel / kLineChannels]),
        channel(first_channel),
        pitch(ShifterPitch(map, N)),
        buffer(room),
        row(buffer + ShifterBuffer(map, N)),
        state(row + map.in_w * kLineChannels + channel * map.out_w * kReach * N),
        runs(room + ShifterSampleRoom(map, N)) {}

  SSPQ_INLINE V Own(const float* values) const { return Load(values + channel); }
  SSPQ_INLINE M Rows() const { return Load(m.rows + channel) - window.row; }
  SSPQ_INLINE M Columns() const { return Load(m.columns + channel) - window.column; }

  // Sums are kept in runs, [rows, RunsOf(out_w), 2, kLanes].
  SSPQ_INLINE int64_t RowRuns() const { return RunsOf(m.out_w) * 2 * kLanes; }

  const PixelMap& m;
  const LineWindow window;
  const int64_t channel, pitch;
  float *const buffer, *const row;
  float* const state;  // what the walks down the columns leave for the next chunk
  float* const runs;
};

// Where the share of a vector begins in what comes next, when each asks for as many vectors.
template <int N>
SSPQ_INLINE const float* Share(const ShifterVector<N>& s, const float* next, int64_t vectors) {
  return next + s.channel * vectors;
}

// ---- what walks do with the pairs they visit

// Blends them, `step` values from one to the next. With each it asks for kAhead vectors of what
// comes next.
template <int kAhead>
struct Blend {
  SSPQ_INLINE void Put(int k, Place<1> first, Place<1> second) {
    for (int n = 0; n < kAhead; ++n) Prefetch(ahead + (k * kAhead + n) * kLanes);
    Store(lo * first.of[0] + hi * second.of[0], to + k * step);
  }
  SSPQ_INLINE void Advance(int count) {
    to += count * step;
    ahead += count * kAhead * kLanes;
  }

  const V lo, hi;
  const int64_t step;
  const float* ahead;
  float* to;
};

// Samples with, beside them, slopes.
template <int kAhead>
struct BlendAndSubtract : Blend<kAhead> {
  typedef Blend<kAhead> Base;
  SSPQ_INLINE BlendAndSubtract(const Base& blend) : Base(blend) {}
  SSPQ_INLINE void Put(int k, Place<1> left, Place<1> right) {
    Base::Put(k, left, right);
    Store(right.of[0] - left.of[0], this->to + k * this->step + kLanes);
  }
};

// For both gradients: blends samples of the gradient to y, and subtracts the products of x and the
// derivatives from the runs.
struct BlendAndCorrelate {
  SSPQ_INLINE void Put(int k, Place<2> above, Place<2> below) {
    for (int n = 0; n < 2; ++n) Prefetch(ahead[n] + k * kLanes);
    Store(lo * above.of[0] + hi * below.of[0], gx + k * step);
    const V value = Load(x + k * step);
    float* const to = run + k * run_step;
    Store(Load(to) - value * (lo * above.of[1] + hi * below.of[1]), to);
    Store(Load(to + kLanes) - value * (below.of[0] - above.of[0]), to + kLanes);
  }
  SSPQ_INLINE void Advance(int count) {
    x += count * step;
    gx += count * step;
    run += count * run_step;
    for (int n = 0; n < 2; ++n) ahead[n] += count * kLanes;
  }

  const V lo, hi;
  const int64_t step, run_step;
  const float* ahead[2];
  const float* x;
  float *gx, *run;
};

// ---- chunks

// Row r of the input, with zeros between its pixels where the map says so.
template <int N>
SSPQ_INLINE PlaceLine<1> InputRow(const ShifterVector<N>& s, const float* in, int64_t r,
                                  int64_t first) {
  const PixelMap& m = s.m;
  const bool inside = r % m.zeros_h == 0;
  const float* const row = in + r / m.zeros_h * ReadWidth(m) * m.pitch + s.channel;
  if (m.zeros_w == 1) return PlaceLine<1>(row, m.pitch, inside ? m.in_w : 0, first);
  for (int64_t k = 0; inside && k < ReadWidth(m); ++k) {
    Store(Load(row + k * m.pitch), s.row + k * m.zeros_w * kLanes);
  }
  return PlaceLine<1>(s.row, kLanes, inside ? m.in_w : 0, first);
}

// Samples rows [begin, end) of the input along W.
template <template <int> class Visit, int kStride, int N>
__attribute__((noinline)) void AlongRows(const ShifterVector<N>& s, const float* in,
                                         const float* ahead, int64_t begin, int64_t end) {
  const PixelMap& m = s.m;
  PairWalk<1, kStride> walk(s.Columns());
  Visit<kStride> visit = Blend<kStride>{s.Own(m.lo_x), s.Own(m.hi_x), N * kLanes, ahead, nullptr};
  for (int64_t r = begin; r < end; ++r) {
    PlaceLine<1> line = InputRow(s, in, r, WalkBegin(0, kStride) + s.window.column);
    visit.to = s.buffer + (r - begin) * s.pitch;
    walk.Start(&line);
    walk.Run(&line, m.out_w, true, &visit);
  }
}

// Walks down the columns of the buffer, whose first row is input row `first`, for output rows
// [begin, end), with a visitor that columns.Set(k, &visitor) makes column k's.
template <int kStride, int N, typename Columns>
__attribute__((noinline)) void DownColumns(const ShifterVector<N>& s, bool start, int64_t begin,
                                           int64_t end, int64_t first, const Columns& columns) {
  typedef PairWalk<N, kStride> Walk;
  const PixelMap& m = s.m;
  Walk walk(s.Rows());
  const int64_t top = WalkBegin(begin, kStride) + s.window.row + (start ? 0 : kReach);
  const float* column = s.buffer - first * s.pitch;
  float* state = s.state;
  auto visit = columns.Begin();
  for (int64_t k = 0; k < m.out_w; ++k, column += N * kLanes, state += Walk::kState) {
    PlaceLine<N> line(column, s.pitch, m.in_h, top);
    if (start) {
      walk.Start(&line);
    } else {
      walk.Restore(state);
    }
    columns.Set(k, &visit);
    walk.Run(&line, end - begin, end == m.out_h, &visit);
    if (end < m.out_h) walk.Save(state);
  }
}

// Works off output rows [begin, end) of a vector in chunks: what the walks down the columns have
// not come to yet goes into the buffer, as Visit does that, and they go on. columns(i) are for
// those of the chunk from output row i on.
template <template <int> class Visit, int kMostStride, int N, typename Columns>
SSPQ_INLINE void ForEachChunk(const ShifterVector<N>& s, const float* in, bool start, int64_t begin,
                              int64_t end, const Columns& columns) {
  const PixelMap& m = s.m;
  const int64_t stride = m.stride_h, most = ShifterRows(m, N);
  const float* ahead =
      Share(s, NextInput(m, in, end), (end - begin) * stride * m.out_w * m.stride_w);
  for (int64_t k = 0; m.zeros_w > 1 && k < m.in_w; ++k) Store(V{}, s.row + k * kLanes);
  for (int64_t i = begin; i < end; start = false) {
    // As the walks do: the first row they have not come to, and the one after `rows` outputs.
    const int64_t top = WalkBegin(i, stride) + s.window.row;
    const int64_t next = start ? top : top + kReach, first = next > 0 ? next : 0;
    int64_t rows = end - i;
    if (m.in_h - first > most) {
      const int64_t fit = (first + most - top - kReach) / stride;
      rows = fit < rows ? fit : rows;
    }
    const int64_t below = top + kReach + rows * stride, last = below < m.in_h ? below : m.in_h;
    if (m.stride_w == 1) {
      AlongRows<Visit, 1>(s, in, ahead, first, last);
    } else {
      AlongRows<Visit, kMostStride>(s, in, ahead, first, last);
    }
    if (last > first) ahead += (last - first) * m.out_w * m.stride_w * kLanes;
    if (stride == 1) {
      DownColumns<1>(s, start, i, i + rows, first, columns(i));
    } else {
      DownColumns<kMostStride>(s, start, i, i + rows, first, columns(i));
    }
    i += rows;
  }
}

// ---- forward

struct ForwardColumns {
  SSPQ_INLINE Blend<1> Begin() const {
    return {s.Own(s.m.lo_y), s.Own(s.m.hi_y), s.m.out_w * s.m.pitch, ahead, nullptr};
  }
  SSPQ_INLINE void Set(int64_t k, Blend<1>* visit) const { visit->to = out + k * s.m.pitch; }

  const ShifterVector<1>& s;
  const float* const ahead;
  float* const out;
};

void ShifterForward(const PixelMap& m, int64_t line, const float* in, bool start, int64_t begin,
                    int64_t end, float* room, float* out) {
  static_assert(kShifterStride == 2, "larger strides have no code");
  const int64_t first = line * kLineChannels;
  for (int64_t c = first; c < first + kLineChannels; c += kLanes) {
    const ShifterVector<1> s(m, c, room);
    const float* const next = Share(s, out + end * m.out_w * m.pitch, (end - begin) * m.out_w);
    ForEachChunk<Blend, kShifterStride>(
        s, in, start, begin, end, [&](int64_t i) __attribute__((always_inline)) {
          return ForwardColumns{s, next + (i - begin) * m.out_w * kLanes,
                                out + i * m.out_w * m.pitch + c};
        });
  }
}

// ---- both gradients; `m` is the adjoint map

struct BackwardColumns {
  SSPQ_INLINE BlendAndCorrelate Begin() const {
    const int64_t row = s.m.out_w * s.m.pitch;
    return {s.Own(s.m.lo_y),     s.Own(s.m.hi_y), row,     s.RowRuns(),
            {ahead_x, ahead_gx}, nullptr,         nullptr, nullptr};
  }
  SSPQ_INLINE void Set(int64_t k, BlendAndCorrelate* visit) const {
    visit->x = x + k * s.m.pitch;
    visit->gx = gx + k * s.m.pitch;
    visit->run = runs + k / kSumRun * 2 * kLanes;
  }

  const ShifterVector<2>& s;
  const float *const ahead_x, *const ahead_gx, *const x;
  float *const gx, *const runs;
};

void ShifterBackward(const PixelMap& m, int64_t line, const float* gy, const float* x, bool start,
                     int64_t begin, int64_t end, float* room, float* gx, double* sum_x,
                     double* sum_y) {
  const int64_t first = line * kLineChannels, row = m.out_w * m.pitch;
  for (int64_t c = first; c < first + kLineChannels; c += kLanes) {
    const ShifterVector<2> s(m, c, room);
    const float* const next_x = Share(s, x + end * row, (end - begin) * m.out_w);
    const float* const next_gx = Share(s, gx + end * row, (end - begin) * m.out_w);
    for (int64_t k = 0; k < (end - begin) * s.RowRuns(); k += kLanes) Store(V{}, s.runs + k);
    ForEachChunk<BlendAndSubtract, 1>(
        s, gy, start, begin, end, [&](int64_t i) __attribute__((always_inline)) {
          float* const runs = s.runs + (i - begin) * s.RowRuns();
          const int64_t done = (i - begin) * m.out_w * kLanes, at = i * row + c;
          return BackwardColumns{s, next_x + done, next_gx + done, x + at, gx + at, runs};
        });
    AddRuns(s.runs, (end - begin) * RunsOf(m.out_w), kLanes, sum_x + c, sum_y + c);
  }
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CPU_SHIFTER_H_

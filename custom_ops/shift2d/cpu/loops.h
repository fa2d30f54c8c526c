// The interface of the vectorised loops of shift2d, which are compiled once for every instruction
// set.
//
// What crosses this interface is plain data: a file compiled for AVX-512 must not contain a copy of
// any function that the linker might pick for a machine without it. So the planning, the buffers
// and everything of the standard library stay on the caller's side.
#ifndef SSPQ_SHIFT2D_CPU_LOOPS_H_
#define SSPQ_SHIFT2D_CPU_LOOPS_H_

#include <cstdint>

#include "custom_ops/shift2d/cpu/paths.h"

namespace sspq {

// Converting to float64 takes as long as all else, so kSumRun float32 terms of a row at a time are
// added as such: with a rounding each, as the terms themselves have several. All beyond is float64.
constexpr int kSumRun = 8;
static inline int64_t RunsOf(int64_t width) { return (width + kSumRun - 1) / kSumRun; }

// The rows and columns from the least to the greatest that a line of channels reads for pixel 0.
// One more of each is read for the pixel below and to the right.
struct LineWindow {
  int32_t row, rows, column, columns;
};

// A sampling of images [in_h, in_w, channels]: channel c of output (i, j) is blended from rows
// i * stride_h + rows[c] and the next, and from columns j * stride_w + columns[c] and the next,
// with these weights; zero outside. Of the adjoint map at a stride, the input is the gradient to y
// with zeros between its pixels: row r is its row r / zeros_h where that leaves no rest.
struct PixelMap {
  int64_t in_h, in_w, out_h, out_w;
  int64_t stride_h, stride_w, zeros_h, zeros_w;
  int64_t pitch;  // values from a pixel to the next, in input and output
  int64_t lines;
  const LineWindow* windows;  // by line
  // By channel.
  const int32_t *rows, *columns;
  const float *lo_y, *hi_y, *lo_x, *hi_x;
  const float* zeros;  // [in_w, channels]: a row outside
};

// The width of an input row in memory.
static inline int64_t ReadWidth(const PixelMap& m) { return (m.in_w + m.zeros_w - 1) / m.zeros_w; }

// The map of one line, in a block.
static inline PixelMap BlockMap(PixelMap m, int64_t line) {
  const int64_t first = line * kLineChannels;
  m.pitch = kLineChannels;
  m.lines = 1;
  m.windows += line;
  m.rows += first;
  m.columns += first;
  m.lo_y += first;
  m.hi_y += first;
  m.lo_x += first;
  m.hi_x += first;
  return m;
}

// float32 values that the loops need to work in, for up to `rows` output rows at a time.
static inline int64_t WindowRoom(const PixelMap& m, int64_t rows) {
  return rows * RunsOf(m.out_w) * 2 * m.lines * kLineChannels;
}
// The shifter's: `values` for every pixel of a buffer whose rows are an odd number of cache lines
// apart, else they would share few sets of the cache. As many rows as the first cache holds; of
// wide images, which it does not hold, as many as walks need.
static inline int64_t ShifterPitch(const PixelMap& m, int64_t values) {
  return kLineChannels * (m.out_w * values | 1);
}
static inline int64_t ShifterRows(const PixelMap& m, int64_t values) {
  constexpr int64_t kValues = 8 * 1024, kLeast = 2 * kShifterOffsets;
  const int64_t rows = kValues / ShifterPitch(m, values);
  return rows > kLeast ? rows : kLeast;
}
static inline int64_t ShifterBuffer(const PixelMap& m, int64_t values) {
  return ShifterRows(m, values) * ShifterPitch(m, values);
}
// The buffer, a row with its zeros, and what walks down the columns leave from call to call.
static inline int64_t ShifterSampleRoom(const PixelMap& m, int64_t values) {
  const int64_t state = m.lines * kLineChannels * m.out_w * kShifterOffsets * values;
  return ShifterBuffer(m, values) + m.in_w * kLineChannels + state;
}
static inline int64_t ShifterRoom(const PixelMap& m, int64_t rows) {
  return ShifterSampleRoom(m, 2) + rows * RunsOf(m.out_w) * 2 * kLineChannels;
}

struct Shift2DLoops {
  // Output rows [begin, end) of one image, by kWindow and by kStrided.
  void (*window_forward)(const PixelMap& m, const float* in, int64_t begin, int64_t end,
                         float* out);
  void (*strided_forward)(const PixelMap& m, const float* in, int64_t begin, int64_t end,
                          float* out);
  // One line of them, by kShifter. `start` is false if the rows before `begin` were sampled by the
  // call before, with the same `room`.
  void (*shifter_forward)(const PixelMap& m, int64_t line, const float* in, bool start,
                          int64_t begin, int64_t end, float* room, float* out);
  // Both gradients, where `m` is the adjoint map, from gy to gx: rows [begin, end) of gx and, added
  // to the sums by channel, what the same rows of x give to the gradient to the shift.
  void (*window_backward)(const PixelMap& m, const float* gy, const float* x, int64_t begin,
                          int64_t end, float* room, float* gx, double* sum_x, double* sum_y);
  void (*shifter_backward)(const PixelMap& m, int64_t line, const float* gy, const float* x,
                           bool start, int64_t begin, int64_t end, float* room, float* gx,
                           double* sum_x, double* sum_y);
};

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CPU_LOOPS_H_

// The interface of the vectorised inner loops of shift2d on the CPU, which are compiled once for
// every instruction set.
//
// What crosses this interface is plain data: a file compiled for AVX-512 must not contain a copy of
// any function that the linker might pick for a machine without it. So the planning, the buffers
// and everything of the standard library stay on the caller's side.
#ifndef SSPQ_SHIFT2D_CPU_VERSIONS_H_
#define SSPQ_SHIFT2D_CPU_VERSIONS_H_

#include <cstdint>

namespace sspq {

// ---- sums

// Converting to float64 takes as long as all else, so kSumRun float32 terms at a time are added as
// such: with a rounding each, as the terms themselves have several. All beyond is float64.
constexpr int kSumRun = 8;
static inline int64_t RunsOf(int64_t width) { return (width + kSumRun - 1) / kSumRun; }
// Small planes have sums of their own for the places within a group of pixels.
constexpr int kFlatGroup = 16;

// ---- NCHW

// One axis of a map from planes to planes. Sampling: out[k] = lo * in[start + k * stride] +
// hi * in[the next one]. Its adjoint at a stride of 2 or more (`expand`): in[k] goes to
// out[start + k * stride] with weight lo and to the next one with weight hi; others are zero.
struct AxisShape {
  int64_t in, out, stride;
  bool expand;
};

// What differs between channels.
template <typename T>
struct AxisTap {
  int64_t start;
  // Tap t of -1, 0, 1 lies on the image for k in [begin[t + 1], end[t + 1]): on the input when
  // sampling, on the output when expanding. Where none does, outputs are lo times zero: zero, or
  // NaN for a channel whose shift is not finite.
  int32_t begin[3], end[3];
  // Expanding: output 0 is `phase` pixels after the one where input `first` goes.
  int32_t first, phase;
  T lo, hi;
  int32_t integer;
};

struct PlaneShape {
  AxisShape v, h;
};

// Planes are read with whole vectors: this many values before and after them must be readable, with
// any content.
static inline int64_t PlaneSlack(const AxisShape& h) {
  const int64_t lanes = 16, width = h.out > lanes ? h.out : lanes;
  if (h.expand) return h.out / h.stride + lanes + 2;
  return h.stride <= 3 ? h.stride * width + 4 : lanes;  // larger strides gather
}

// The float64 that shift_gradient_planes needs to work in.
static inline int64_t ColumnSums(int64_t out_width) { return 2 * (out_width + 16); }

// ---- NCHW, small planes at stride 1

// A plane's pixels in the order of memory. `rows` has a bit for every pixel (i, j), kFlatRun to a
// word: whether row i + r is inside, for r from -height - kFlatReach to height + kFlatReach - 1;
// `columns` likewise for column j + q. There is one row i more than the plane has, for what is read
// below its last; all bits beyond are 0.
constexpr int kMostFlat = 16, kFlatRun = 64, kFlatReach = 3;

struct FlatShape {
  int64_t height, width, runs;
  const uint64_t *rows, *columns;
};

// What one channel reads: pixel (i, j) of the output is a blend of pixels (i + row, j + column) and
// their neighbours to the right and below. Far shifts are clamped to what rows and columns hold.
// `inside` has, for every kFlatGroup pixels, the bits of those whose four are inside: (0, 0), (0,
// 1), (1, 0), (1, 1), also for the row below the last. `in_a` and `in_b`, where CpuKernels asks for
// them, are masks for every pixel of these: whether the column of the left one and of the right one
// is inside.
template <typename T>
struct FlatTap {
  const uint16_t* inside;
  const void *in_a, *in_b;
  int32_t row, column;
  bool integer_y, integer_x;
  T lo_y, hi_y, lo_x, hi_x;
};

static inline int64_t FlatSlack(int64_t height, int64_t width) {
  return (height + kFlatReach + 2) * width + kFlatReach + 1 + 3 * kFlatGroup;
}

// ---- NHWC

// What channels read for one pixel: the one at a distance of their own. Where no two channels read
// further apart than to the next pixel, as is so when no shift is larger than one, two masks tell
// which channels read the lower row and the right column of a window of two by two; else every
// channel reads for itself.
struct PixelDistances {
  int64_t row, column;            // the least of all channels: the first pixel of the window
  int64_t last_row, last_column;  // the greatest
  int64_t mask;                   // where [2, channels] masks begin, or -1
};

// All distances of one map. Masks and distances are int32 for float, int64 for double.
template <typename T>
struct PixelReads {
  int64_t in_h, in_w, channels;
  bool windows;  // all have masks
  const PixelDistances* distances;
  const void* masks;
  const void *rows, *columns;  // [distances, channels]
  const void* used;            // a mask each: not all channels read everywhere
  const T* zeros;              // [channels]: a pixel outside
};

// What a group of channels reads for one pixel where that is few rows and columns: `rows` from
// `row` on, and likewise columns. Also for the next pixel to the right and below, one more is read.
constexpr int kFarGroup = 16, kFarReach = 8, kMostFarStride = 3;

struct FarWindow {
  int32_t row, rows, column, columns;  // 0 rows: there are too many, or a channel reads nothing
};

// Sampling. There is one distance a channel, as of all else.
template <typename T>
struct PixelMap : PixelReads<T> {
  const FarWindow* far;  // by group of channels; null where all is near, or too far
  bool integer;          // some channel's shift is an exact integer along some axis
  bool all_used;         // all channels read
  const T* zero_row;     // [in_w, channels]: a row outside, if InStrips()
  int64_t out_h, out_w, stride_h, stride_w;
  const T *lo_y, *hi_y, *lo_x, *hi_x;
  const void *integer_y, *integer_x;  // masks: where the shift is an integer
};

// FarWindows are worked off by way of a buffer of FarRows, with `values` for every pixel of a
// group. Its rows are an odd number of cache lines apart: else they would share few sets of the
// cache.
template <typename T>
static inline int64_t FarPitch(const PixelMap<T>& m, int64_t values) {
  return kFarGroup * (m.out_w * values | 1);
}
// As many as the first cache holds; of wide images, which it does not hold, as many as walks need.
template <typename T>
static inline int64_t FarRows(const PixelMap<T>& m, int64_t values) {
  constexpr int64_t kValues = 8 * 1024, kLeast = 2 * kFarReach;
  const int64_t rows = kValues / FarPitch(m, values);
  return rows > kLeast ? rows : kLeast;
}
template <typename T>
static inline int64_t FarBuffer(const PixelMap<T>& m, int64_t values) {
  return FarRows(m, values) * FarPitch(m, values);
}
// The buffer, and what walks down the columns leave from chunk to chunk.
template <typename T>
static inline int64_t FarRoom(const PixelMap<T>& m, int64_t values) {
  if (m.far == nullptr) return 0;
  return FarBuffer(m, values) + m.channels * m.out_w * kFarReach * values;
}

// Whether a map is worked off in strips.
template <typename T>
static inline bool InStrips(const PixelMap<T>& m) {
  return m.windows && m.stride_h == 1 && m.stride_w == 1;
}

// The adjoint where some stride is 2 or more. Output k of an axis has phase k % phases and reads,
// for each of `taps` taps, input k / phases + a distance that depends on phase, tap and channel.
// Distances are [phases_h, taps_h, phases_w, taps_w].
template <typename T>
struct ExpandMap : PixelReads<T> {
  int64_t out_h, out_w, phases_h, phases_w;
  int32_t taps_h, taps_w;
  const T *weight_y, *weight_x;  // [phases, taps, channels]
};

// ---- one version

template <typename T>
struct CpuKernels {
  // `count` planes of channels that follow each other; taps are by channel.
  void (*map_planes)(const PlaneShape& s, const AxisTap<T>* v, const AxisTap<T>* h, const T* in,
                     T* out, int64_t count);
  // Adds the sums of gy * dy/dsx and gy * dy/dsy, by channel; `s` is the map from x to y.
  void (*shift_gradient_planes)(const PlaneShape& s, const AxisTap<T>* v, const AxisTap<T>* h,
                                const T* x, const T* gy, int64_t count, double* columns,
                                double* sum_x, double* sum_y);
  // The same for small planes at stride 1. Sums take those of up to kMostFlat rows and columns,
  // maps those of up to widest_flat_map.
  int64_t widest_flat_map;
  bool flat_masks;
  void (*map_flat)(const FlatShape& s, const FlatTap<T>* taps, const T* in, T* out, int64_t count);
  void (*shift_gradient_flat)(const FlatShape& s, const FlatTap<T>* taps, const T* x, const T* gy,
                              int64_t count, double* sum_x, double* sum_y);
  // The adjoint map, from gy to gx, where no shift is an integer; also adds what it gives to the
  // sums of shift_gradient_flat.
  void (*backward_flat)(const FlatShape& s, const FlatTap<T>* taps, const T* gy, const T* x, T* gx,
                        int64_t count, double* sum_x, double* sum_y);
  // Output rows [begin, end) of one image. `above` is room to work in, as much as PixelPlan tells;
  // `start` is false if the rows before `begin` were sampled by the call before, with the same
  // `above`.
  void (*sample_rows)(const PixelMap<T>& m, const T* in, bool start, int64_t begin, int64_t end,
                      T* above, T* out);
  // The same for the adjoint map at stride 1, from gy to gx, where no shift is an integer; also
  // adds what the input's rows [begin, end) give to the sums of shift_gradient_rows, by channel.
  void (*backward_rows)(const PixelMap<T>& m, const T* gy, const T* x, bool start, int64_t begin,
                        int64_t end, T* room, T* gx, double* sum_x, double* sum_y);
  void (*expand_rows)(const ExpandMap<T>& m, const T* in, int64_t begin, int64_t end, T* out);
  // Adds the sums over output rows [begin, end), by channel.
  void (*shift_gradient_rows)(const PixelMap<T>& m, const T* x, const T* gy, bool start,
                              int64_t begin, int64_t end, T* above, double* sum_x, double* sum_y);
};

struct CpuVersion {
  const char* name;
  CpuKernels<float> of_float;
  CpuKernels<double> of_double;
};

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CPU_VERSIONS_H_

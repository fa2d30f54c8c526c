// shift2d on NHWC images, where the channels of one pixel lie side by side.
//
// Two ways through the same formula. Shifts within one pixel (every offset -1 or 0, which is what
// trained networks mostly have) read a 3x3 window: each channel blends two of three neighbouring
// pixels, chosen by a mask, and all loops over channels vectorise. Any other shift goes through
// per-channel tables of offsets. Both evaluate rows first and in the order of the planar kernel,
// so that NCHW and NHWC give the same bits.
#ifndef SSPQ_SHIFT2D_INTERLEAVED_H_
#define SSPQ_SHIFT2D_INTERLEAVED_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "custom_ops/shift2d/cc/kernels/geometry.h"

namespace sspq {

// ---- Any shift: tables ---------------------------------------------------------------------

// Output k * phases + p of channel c reads, for each of `taps` taps, input k * step + offset with
// `weight`. Sampling has two taps and one phase; the adjoint at stride s >= 2 has one tap and s
// phases, of which all but two read nothing.
template <typename T>
struct AxisTable {
  int64_t in = 0, out = 0, phases = 1, step = 1, channels = 0;
  int taps = 2;
  std::vector<int64_t> offset[2];
  std::vector<T> weight[2];
  std::vector<int64_t> least, most;  // offsets over all channels and taps, by phase

  static AxisTable Forward(const Axis& a, const std::vector<Tap<T>>& channel_taps) {
    AxisTable table(a.in, a.out, 2, 1, a.stride, channel_taps.size());
    for (size_t c = 0; c < channel_taps.size(); ++c) {
      const Tap<T>& t = channel_taps[c];
      table.Set(0, 0, c, t.offset - a.pad, t.lo);
      table.Set(1, 0, c, t.offset - a.pad + 1, t.hi);
    }
    table.FindReach();
    return table;
  }

  static AxisTable Adjoint(const Axis& a, const std::vector<Tap<T>>& channel_taps) {
    const bool strided = a.stride > 1;
    AxisTable table(a.out, a.in, strided ? 1 : 2, a.stride, 1, channel_taps.size());
    for (size_t c = 0; c < channel_taps.size(); ++c) {
      const Tap<T>& t = channel_taps[c];
      if (!strided) {
        table.Set(0, 0, c, a.pad - t.offset - 1, t.hi);
        table.Set(1, 0, c, a.pad - t.offset, t.lo);
        continue;
      }
      for (int64_t p = 0; p < table.tables(); ++p) {
        const int64_t from = FloorDiv(p + a.pad - t.offset, a.stride);
        const int64_t phase = p + a.pad - t.offset - from * a.stride;
        // Nothing read this pixel: an offset outside, so that not even a NaN is multiplied by zero.
        table.Set(0, p, c, phase <= 1 ? from : -a.in - a.out - 1, phase == 0 ? t.lo : t.hi);
      }
    }
    table.FindReach();
    return table;
  }

  // Phases beyond the last output do not occur.
  int64_t tables() const { return std::max<int64_t>(1, std::min(phases, out)); }
  const int64_t* offsets(int tap, int64_t phase) const {
    return offset[tap].data() + phase * channels;
  }
  const T* weights(int tap, int64_t phase) const { return weight[tap].data() + phase * channels; }

 private:
  AxisTable(int64_t in, int64_t out, int taps, int64_t phases, int64_t step, int64_t channels)
      : in(in), out(out), phases(phases), step(step), channels(channels), taps(taps) {
    for (int t = 0; t < taps; ++t) {
      offset[t].resize(tables() * channels);
      weight[t].resize(tables() * channels);
    }
  }

  void Set(int tap, int64_t phase, int64_t c, int64_t off, T w) {
    offset[tap][phase * channels + c] = off;
    weight[tap][phase * channels + c] = w;
  }

  void FindReach() {
    least.assign(tables(), 0);
    most.assign(tables(), 0);
    for (int64_t p = 0; p < tables() && channels > 0; ++p) {
      const int64_t *first = offsets(0, p), *last = offsets(taps - 1, p);
      least[p] = *std::min_element(first, first + channels);
      most[p] = *std::max_element(last, last + channels);
    }
  }
};

// Rows [begin, end) of one output image, by tables. A tap without weight adds nothing, whatever
// it would have read.
template <int kTapsY, int kTapsX, typename T>
void SampleByTable(const T* in, const AxisTable<T>& ty, const AxisTable<T>& tx, int64_t begin,
                   int64_t end, T* out) {
  const int64_t channels = ty.channels;
  for (int64_t a = begin; a < end; ++a) {
    const int64_t py = a % ty.phases, row = a / ty.phases * ty.step;
    const bool rows_inside = row + ty.least[py] >= 0 && row + ty.most[py] < ty.in;
    for (int64_t b = 0; b < tx.out; ++b) {
      const int64_t px = b % tx.phases, col = b / tx.phases * tx.step;
      T* y = out + (a * tx.out + b) * channels;
      const bool inside = rows_inside && col + tx.least[px] >= 0 && col + tx.most[px] < tx.in;
      for (int64_t c = 0; c < channels; ++c) {
        T rows[2] = {T(0), T(0)};
        for (int u = 0; u < kTapsY; ++u) {
          const int64_t r = row + ty.offsets(u, py)[c];
          for (int v = 0; v < kTapsX; ++v) {
            const int64_t q = col + tx.offsets(v, px)[c];
            const T w = tx.weights(v, px)[c];
            T value = T(0);
            if (inside || (r >= 0 && r < ty.in && q >= 0 && q < tx.in)) {
              value = in[(r * tx.in + q) * channels + c];
            }
            const T term = w * value;
            rows[u] = kTapsX == 2 && v == 0 ? term : rows[u] + term;
          }
          rows[u] *= ty.weights(u, py)[c];
        }
        y[c] = rows[0] + rows[1];  // one tap adds 0, so that -0 becomes 0
      }
    }
  }
}

template <typename T>
void SampleByTable(const T* in, const AxisTable<T>& ty, const AxisTable<T>& tx, int64_t begin,
                   int64_t end, T* out) {
  const bool two_y = ty.taps == 2, two_x = tx.taps == 2;
  if (two_y && two_x) return SampleByTable<2, 2>(in, ty, tx, begin, end, out);
  if (two_y) return SampleByTable<2, 1>(in, ty, tx, begin, end, out);
  if (two_x) return SampleByTable<1, 2>(in, ty, tx, begin, end, out);
  return SampleByTable<1, 1>(in, ty, tx, begin, end, out);
}

// ---- Shifts within one pixel: a masked window -----------------------------------------------

// Per-channel weights along one axis for offsets of -1 (`below` set) or 0.
template <typename T>
struct WindowAxis {
  int64_t in = 0, out = 0, stride = 1, start = 0;
  std::vector<T> lo, hi, below;

  static WindowAxis Forward(const Axis& a, const std::vector<Tap<T>>& taps) {
    WindowAxis w(a.in, a.out, a.stride, -a.pad);
    for (const Tap<T>& t : taps) w.Add(t.lo, t.hi, t.offset == -1);
    return w;
  }

  // At stride 1: the shift and the two weights reversed.
  static WindowAxis Adjoint(const Axis& a, const std::vector<Tap<T>>& taps) {
    WindowAxis w(a.out, a.in, 1, a.pad);
    for (const Tap<T>& t : taps) w.Add(t.hi, t.lo, t.offset == 0);
    return w;
  }

 private:
  WindowAxis(int64_t in, int64_t out, int64_t stride, int64_t start)
      : in(in), out(out), stride(stride), start(start) {}
  void Add(T l, T h, bool is_below) {
    lo.push_back(l);
    hi.push_back(h);
    below.push_back(is_below ? T(-1) : T(1));  // a sign, so that the mask is one comparison
  }
};

template <typename T>
inline T Pick(T below, T a, T b) {
  return below < T(0) ? a : b;
}

// Three row buffers that hold the sampled rows r - 1, r and r + 1 of one image.
template <typename T>
class WindowRows {
 public:
  explicit WindowRows(int64_t size) : data_(3 * size, T(0)), zeros_(size, T(0)), size_(size) {}

  // A row of zeros, which stands for a pixel outside too: it is at least as long as one.
  const T* zeros() const { return zeros_.data(); }

  void NewImage() { held_[0] = held_[1] = held_[2] = -1; }

  template <typename Compute>
  const T* Get(int64_t r, int64_t rows, Compute compute) {
    if (r < 0 || r >= rows) return zeros_.data();
    const int slot = r % 3;
    T* row = data_.data() + slot * size_;
    if (held_[slot] != r) {
      compute(r, row);
      held_[slot] = r;
    }
    return row;
  }

 private:
  std::vector<T> data_;
  std::vector<T> zeros_;
  const int64_t size_;
  int64_t held_[3] = {-1, -1, -1};
};

// Calls visit(j, left, middle, right) with the pixels around output j; `zeros` stands for those
// outside the row.
template <typename T, typename Visit>
void VisitRow(const T* row, const WindowAxis<T>& w, int64_t channels, const T* zeros, Visit visit) {
  for (int64_t j = 0; j < w.out; ++j) {
    const int64_t q = w.start + j * w.stride;
    auto pixel = [&](int64_t p) { return p < 0 || p >= w.in ? zeros : row + p * channels; };
    visit(j, pixel(q - 1), pixel(q), pixel(q + 1));
  }
}

template <typename T>
void SamplePixel(const T* __restrict left, const T* __restrict middle, const T* __restrict right,
                 const WindowAxis<T>& w, int64_t channels, T* __restrict out) {
  const T* __restrict lo = w.lo.data();
  const T* __restrict hi = w.hi.data();
  const T* __restrict below = w.below.data();
  for (int64_t c = 0; c < channels; ++c) {
    const T l = left[c], m = middle[c], r = right[c];
    out[c] = lo[c] * Pick(below[c], l, m) + hi[c] * Pick(below[c], m, r);
  }
}

template <typename T>
void DifferencePixel(const T* __restrict left, const T* __restrict middle,
                     const T* __restrict right, const WindowAxis<T>& w, int64_t channels,
                     T* __restrict out) {
  const T* __restrict below = w.below.data();
  for (int64_t c = 0; c < channels; ++c) {
    const T l = left[c], m = middle[c], r = right[c];
    out[c] = Pick(below[c], m, r) - Pick(below[c], l, m);
  }
}

template <typename T>
void SampleWindowRow(const T* row, const WindowAxis<T>& w, int64_t channels, const T* zeros,
                     T* out) {
  VisitRow(row, w, channels, zeros, [&](int64_t j, const T* left, const T* middle, const T* right) {
    SamplePixel(left, middle, right, w, channels, out + j * channels);
  });
}

// Rows [begin, end) of one output image.
template <typename T>
void SampleByWindow(const T* in, const WindowAxis<T>& wy, const WindowAxis<T>& wx, int64_t channels,
                    int64_t begin, int64_t end, WindowRows<T>* rows, T* out) {
  const T* zeros = rows->zeros();
  const int64_t size = wx.out * channels;
  auto sample = [&](int64_t r, T* buffer) {
    SampleWindowRow(in + r * wx.in * channels, wx, channels, zeros, buffer);
  };
  for (int64_t i = begin; i < end; ++i) {
    const int64_t r = wy.start + i * wy.stride;
    const T* above = rows->Get(r - 1, wy.in, sample);
    const T* here = rows->Get(r, wy.in, sample);
    const T* under = rows->Get(r + 1, wy.in, sample);
    T* y = out + i * size;
    for (int64_t j = 0; j < wx.out; ++j) {
      SamplePixel(above + j * channels, here + j * channels, under + j * channels, wy, channels,
                  y + j * channels);
    }
  }
}

// ---- Gradient to the shift -------------------------------------------------------------------

// Adds the sums over output rows [begin, end) of one image to sum_x and sum_y, by channel.
template <typename T>
void ShiftGradientByWindow(const T* x, const T* gy, const WindowAxis<T>& wy,
                           const WindowAxis<T>& wx, int64_t channels, int64_t begin, int64_t end,
                           WindowRows<T>* samples, WindowRows<T>* slopes, double* __restrict sum_x,
                           double* __restrict sum_y) {
  const T* zeros = samples->zeros();
  auto sample = [&](int64_t r, T* buffer) {
    SampleWindowRow(x + r * wx.in * channels, wx, channels, zeros, buffer);
  };
  auto slope = [&](int64_t r, T* buffer) {
    VisitRow(x + r * wx.in * channels, wx, channels, zeros,
             [&](int64_t j, const T* left, const T* middle, const T* right) {
               DifferencePixel(left, middle, right, wx, channels, buffer + j * channels);
             });
  };
  const T* __restrict lo = wy.lo.data();
  const T* __restrict hi = wy.hi.data();
  const T* __restrict below = wy.below.data();
  for (int64_t i = begin; i < end; ++i) {
    const int64_t r = wy.start + i * wy.stride;
    const T *h[3], *d[3];
    for (int k = 0; k < 3; ++k) {
      h[k] = samples->Get(r + k - 1, wy.in, sample);
      d[k] = slopes->Get(r + k - 1, wy.in, slope);
    }
    for (int64_t j = 0; j < wx.out; ++j) {
      const int64_t at = j * channels;
      const T* __restrict g = gy + i * wx.out * channels + at;
      const T* __restrict h0 = h[0] + at, * __restrict h1 = h[1] + at, * __restrict h2 = h[2] + at;
      const T* __restrict d0 = d[0] + at, * __restrict d1 = d[1] + at, * __restrict d2 = d[2] + at;
      for (int64_t c = 0; c < channels; ++c) {
        const T ha = h0[c], hb = h1[c], hc = h2[c], da = d0[c], db = d1[c], dc = d2[c];
        const T dx = lo[c] * Pick(below[c], da, db) + hi[c] * Pick(below[c], db, dc);
        const T dy = Pick(below[c], hb, hc) - Pick(below[c], ha, hb);
        sum_x[c] += static_cast<double>(g[c] * dx);
        sum_y[c] += static_cast<double>(g[c] * dy);
      }
    }
  }
}

// The same for any shift, integers included.
template <typename T>
void ShiftGradientByTap(const T* x, const T* gy, const Geometry& g,
                        const std::vector<Tap<T>>& taps_y, const std::vector<Tap<T>>& taps_x,
                        int64_t begin, int64_t end, double* sum_x, double* sum_y) {
  const int64_t channels = g.channels;
  for (int64_t i = begin; i < end; ++i) {
    for (int64_t j = 0; j < g.w.out; ++j) {
      const T* g_pixel = gy + (i * g.w.out + j) * channels;
      for (int64_t c = 0; c < channels; ++c) {
        const Tap<T>&ty = taps_y[c], &tx = taps_x[c];
        const int64_t r = i * g.h.stride - g.h.pad + ty.offset;
        const int64_t q = j * g.w.stride - g.w.pad + tx.offset;
        auto at = [&](int64_t row, int64_t col) {
          return row < 0 || row >= g.h.in || col < 0 || col >= g.w.in
                     ? T(0)
                     : x[(row * g.w.in + col) * channels + c];
        };
        const int64_t left = tx.integer ? q - 1 : q, above = ty.integer ? r - 1 : r;
        const T scale_x = tx.integer ? T(0.5) : T(1), scale_y = ty.integer ? T(0.5) : T(1);
        const T right0 = at(r, q + 1), right1 = at(r + 1, q + 1), middle1 = at(r + 1, q);
        const T dx = ty.lo * (scale_x * (right0 - at(r, left))) +
                     ty.hi * (scale_x * (right1 - at(r + 1, left)));
        const T dy = scale_y * ((tx.lo * middle1 + tx.hi * right1) -
                                (tx.lo * at(above, q) + tx.hi * at(above, q + 1)));
        sum_x[c] += static_cast<double>(g_pixel[c] * dx);
        sum_y[c] += static_cast<double>(g_pixel[c] * dy);
      }
    }
  }
}

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_INTERLEAVED_H_

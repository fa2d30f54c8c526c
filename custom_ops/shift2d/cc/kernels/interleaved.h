// shift2d on NHWC images, in blocks of as many channels as a vector holds, row by row. The channels
// of a block may read different pixels; a few masked loads bring them together ("gathered" below),
// and from there on all channels are treated alike: blended along W with the pixel that follows,
// and along H with the row above, which a buffer keeps.
#ifndef SSPQ_SHIFT2D_INTERLEAVED_H_
#define SSPQ_SHIFT2D_INTERLEAVED_H_

#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/simd.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// The reads of one block in one row of the input.
template <typename T, int L>
class GatheredRow {
 public:
  typedef Vec<T, L> V;
  typedef Mask<T, L> M;

  // `in` is the image. Reads outside it bring zeros.
  SSPQ_INLINE GatheredRow(const PixelReads<T>& m, const BlockReads& reads, const T* in,
                          int64_t channel, int64_t row)
      : width_(m.in_w), channels_(m.channels) {
    const T* const masks = static_cast<const T*>(m.masks);
    int64_t least = 0, most = 0;
    for (int e = 0; e < reads.count; ++e) {
      const BlockRead& read = m.read[reads.first + e];
      const int64_t r = row + read.row, d = read.column;
      if (r < 0 || r >= m.in_h) continue;
      from_[count_] = in + (r * width_ + d) * channels_ + channel;
      mask_[count_] = masks + read.mask;
      column_[count_] = d;
      least = count_ == 0 || d < least ? d : least;
      most = count_ == 0 || d > most ? d : most;
      ++count_;
    }
    begin_ = -least;
    end_ = width_ - most;
    const M none = {};
    for (int e = 0; e < 4; ++e) {
      first_[e] = e < count_ ? from_[e] : from_[0];
      first_mask_[e] = e < count_ ? LoadMask<T, L>(mask_[e]) : none;
    }
    if (count_ == 0) end_ = begin_;  // nothing to read anywhere
  }

  // Columns for which all reads lie inside.
  SSPQ_INLINE int64_t begin() const { return begin_; }
  SSPQ_INLINE int64_t end() const { return end_; }

  SSPQ_INLINE V Inside(int64_t k) const {
    const int64_t at = k * channels_;
    M bits = ((M)Load<T, L>(first_[0] + at) & first_mask_[0]) |
             ((M)Load<T, L>(first_[1] + at) & first_mask_[1]) |
             ((M)Load<T, L>(first_[2] + at) & first_mask_[2]) |
             ((M)Load<T, L>(first_[3] + at) & first_mask_[3]);
    for (int e = 4; L > 4 && e < count_; ++e) {
      bits |= (M)Load<T, L>(from_[e] + at) & LoadMask<T, L>(mask_[e]);
    }
    return (V)bits;
  }

  SSPQ_INLINE V Anywhere(int64_t k) const {
    if (k >= begin_ && k < end_) return Inside(k);
    M bits = {};
    for (int e = 0; e < count_; ++e) {
      const int64_t q = k + column_[e];
      if (q < 0 || q >= width_) continue;
      bits |= (M)Load<T, L>(from_[e] + k * channels_) & LoadMask<T, L>(mask_[e]);
    }
    return (V)bits;
  }

 private:
  const int64_t width_, channels_;
  int count_ = 0;
  int64_t begin_, end_;
  // The first four in registers, which is all when no shift is larger than a pixel.
  const T* first_[4];
  M first_mask_[4];
  static constexpr int kMost = L < 4 ? 4 : L;
  const T* from_[kMost];
  const void* mask_[kMost];
  int64_t column_[kMost];
};

// Calls visit(j, before, z0, z1) with the pixels that output j of a row reads: z0 and z1 are
// blended, `before` is the one left of z0 if kBefore is set.
template <bool kStrideOne, bool kBefore, typename Row, typename Visit>
SSPQ_INLINE void VisitRow(const Row& row, int64_t width, int64_t stride, const Visit& visit) {
  typedef typename Row::V V;
  if (!kStrideOne) {
    for (int64_t j = 0; j < width; ++j) {
      const int64_t k = j * stride;
      const V z0 = row.Anywhere(k);
      visit(j, kBefore ? row.Anywhere(k - 1) : z0, z0, row.Anywhere(k + 1));
    }
    return;
  }
  V before = kBefore ? row.Anywhere(-1) : V{}, z0 = row.Anywhere(0);
  auto step = [&](int64_t j, V z1) __attribute__((always_inline)) {
    visit(j, before, z0, z1);
    before = z0;
    z0 = z1;
  };
  int64_t j = 0;
  const int64_t inside = row.begin() - 1 < width ? row.begin() - 1 : width;
  const int64_t outside = row.end() - 1 < width ? row.end() - 1 : width;
  for (; j < inside; ++j) step(j, row.Anywhere(j + 1));
  for (; j < outside; ++j) step(j, row.Inside(j + 1));
  for (; j < width; ++j) step(j, row.Anywhere(j + 1));
}

// ---- sampling ----------------------------------------------------------------------------------

template <typename T, int L, bool kStrideOne>
SSPQ_INLINE void SampleBlock(const PixelMap<T>& m, int64_t channel, const BlockReads& reads,
                             const T* in, bool start, int64_t begin, int64_t end, T* above,
                             T* out) {
  typedef Vec<T, L> V;
  const V lo_x = Load<T, L>(m.lo_x + channel), hi_x = Load<T, L>(m.hi_x + channel);
  const V lo_y = Load<T, L>(m.lo_y + channel), hi_y = Load<T, L>(m.hi_y + channel);
  above += channel * m.out_w;
  auto gather = [&](int64_t row) __attribute__((always_inline)) {
    return GatheredRow<T, L>(m, reads, in, channel, row);
  };
  auto keep = [&](int64_t j, V, V z0, V z1) __attribute__((always_inline)) {
    Store<T, L>(above + j * L, lo_x * z0 + hi_x * z1);
  };
  T* y;
  auto blend = [&](int64_t j, V, V z0, V z1) __attribute__((always_inline)) {
    const V below = lo_x * z0 + hi_x * z1;
    Store<T, L>(y, lo_y * Load<T, L>(above + j * L) + hi_y * below);
    Store<T, L>(above + j * L, below);
    y += m.channels;
  };
  for (int64_t i = begin; i < end; ++i) {
    const int64_t row = i * m.stride_h;
    if (m.stride_h != 1 || (start && i == begin)) {
      VisitRow<kStrideOne, false>(gather(row), m.out_w, m.stride_w, keep);
    }
    y = out + i * m.out_w * m.channels + channel;
    VisitRow<kStrideOne, false>(gather(row + 1), m.out_w, m.stride_w, blend);
  }
}

template <typename T, int L>
void SampleBand(const PixelMap<T>& m, int64_t index, const T* in, bool start, int64_t begin,
                int64_t end, T* above, T* out) {
  constexpr int kNarrower = Narrower<T>(L);
  const Block& block = m.blocks[index];
  const BlockReads& reads = m.reads[index];
  if (block.lanes < L) {
    SampleBand<T, kNarrower>(m, index, in, start, begin, end, above, out);
  } else if (m.stride_w == 1) {
    SampleBlock<T, L, true>(m, block.channel, reads, in, start, begin, end, above, out);
  } else {
    SampleBlock<T, L, false>(m, block.channel, reads, in, start, begin, end, above, out);
  }
}

template <typename T>
void SampleRows(const PixelMap<T>& m, const T* in, bool start, int64_t begin, int64_t end, T* above,
                T* out) {
  for (int64_t b = 0; b < m.block_count; ++b) {
    SampleBand<T, MostLanes<T>()>(m, b, in, start, begin, end, above, out);
  }
}

// ---- the adjoint at a stride of 2 or more
// --------------------------------------------------------

template <typename T, int L>
SSPQ_INLINE void ExpandBlock(const ExpandMap<T>& m, int64_t index, const T* in, int64_t begin,
                             int64_t end, T* out) {
  typedef Vec<T, L> V;
  const int64_t c = m.blocks[index].channel;
  const int taps = m.taps_h * m.taps_w;
  for (int64_t a = begin; a < end; ++a) {
    const int64_t row = a / m.phases_h, phase_h = a % m.phases_h;
    for (int64_t phase_w = 0; phase_w < m.phases_w && phase_w < m.out_w; ++phase_w) {
      const BlockReads* reads =
          m.reads + (index * m.phases_h + phase_h) * m.taps_h * m.phases_w * m.taps_w;
      auto gather = [&](int u, int v) __attribute__((always_inline)) {
        return GatheredRow<T, L>(m, reads[(u * m.phases_w + phase_w) * m.taps_w + v], in, c, row);
      };
      auto weight = [&](const T* w, int64_t phase, int count, int tap)
          __attribute__((always_inline)) {
        return Load<T, L>(w + (phase * count + tap) * m.channels + c);
      };
      T* gx = out + (a * m.out_w + phase_w) * m.channels + c;
      const int64_t step = m.phases_w * m.channels;
      const int64_t width = (m.out_w - phase_w + m.phases_w - 1) / m.phases_w;
      const V w_y0 = weight(m.weight_y, phase_h, m.taps_h, 0);
      const V w_x0 = weight(m.weight_x, phase_w, m.taps_w, 0);
      const GatheredRow<T, L> first = gather(0, 0);
      if (taps == 1) {
        for (int64_t b = 0; b < width; ++b, gx += step) {
          Store<T, L>(gx, w_y0 * (w_x0 * first.Anywhere(b) + T(0)) + T(0));
        }
      } else if (m.taps_w == 2) {  // a stride along H only
        const V w_x1 = weight(m.weight_x, phase_w, 2, 1);
        const GatheredRow<T, L> second = gather(0, 1);
        for (int64_t b = 0; b < width; ++b, gx += step) {
          Store<T, L>(gx, w_y0 * (w_x0 * first.Anywhere(b) + w_x1 * second.Anywhere(b)) + T(0));
        }
      } else {  // a stride along W only
        const V w_y1 = weight(m.weight_y, phase_h, 2, 1);
        const GatheredRow<T, L> second = gather(1, 0);
        for (int64_t b = 0; b < width; ++b, gx += step) {
          Store<T, L>(gx, w_y0 * (w_x0 * first.Anywhere(b) + T(0)) +
                              w_y1 * (w_x0 * second.Anywhere(b) + T(0)));
        }
      }
    }
  }
}

template <typename T, int L>
void ExpandBand(const ExpandMap<T>& m, int64_t index, const T* in, int64_t begin, int64_t end,
                T* out) {
  constexpr int kNarrower = Narrower<T>(L);
  if (m.blocks[index].lanes < L) return ExpandBand<T, kNarrower>(m, index, in, begin, end, out);
  ExpandBlock<T, L>(m, index, in, begin, end, out);
}

template <typename T>
void ExpandRows(const ExpandMap<T>& m, const T* in, int64_t begin, int64_t end, T* out) {
  for (int64_t b = 0; b < m.block_count; ++b) {
    ExpandBand<T, MostLanes<T>()>(m, b, in, begin, end, out);
  }
}

// ---- the gradient to the shift -----------------------------------------------------------------

template <typename T, int L, bool kStrideOne, bool kInteger>
SSPQ_INLINE void CorrelateBlock(const PixelMap<T>& m, int64_t channel, const BlockReads& reads,
                                const T* x, const T* gy, bool start, int64_t begin, int64_t end,
                                T* above, double* sums_x, double* sums_y) {
  typedef Vec<T, L> V;
  const V lo_x = Load<T, L>(m.lo_x + channel), hi_x = Load<T, L>(m.hi_x + channel);
  const V lo_y = Load<T, L>(m.lo_y + channel), hi_y = Load<T, L>(m.hi_y + channel);
  const V scale_x = Load<T, L>(m.scale_x + channel), scale_y = Load<T, L>(m.scale_y + channel);
  const Mask<T, L> integer_x = scale_x != T(1), integer_y = scale_y != T(1);
  // Samples and slopes of the row above, and samples of the row above that.
  const int64_t size = m.out_w * m.channels;
  T* const h0 = above + channel * m.out_w;
  T* const d0 = h0 + size;
  T* const h_before = d0 + size;
  auto gather = [&](int64_t row) __attribute__((always_inline)) {
    return GatheredRow<T, L>(m, reads, x, channel, row);
  };
  auto slope = [&](V before, V z0, V z1) __attribute__((always_inline)) {
    return kInteger ? scale_x * (z1 - Either<T, L>(integer_x, before, z0)) : z1 - z0;
  };
  auto push = [&](int64_t j, V h, V d) __attribute__((always_inline)) {
    if (kInteger) Store<T, L>(h_before + j * L, Load<T, L>(h0 + j * L));
    Store<T, L>(h0 + j * L, h);
    Store<T, L>(d0 + j * L, d);
  };
  auto keep = [&](int64_t j, V before, V z0, V z1) __attribute__((always_inline)) {
    push(j, lo_x * z0 + hi_x * z1, slope(before, z0, z1));
  };
  Sums<T, L> sum_x, sum_y;
  sum_x.Load(sums_x + channel);
  sum_y.Load(sums_y + channel);
  const T* g;
  auto correlate = [&](int64_t j, V before, V z0, V z1) __attribute__((always_inline)) {
    const V h = lo_x * z0 + hi_x * z1, d = slope(before, z0, z1);
    V upper = Load<T, L>(h0 + j * L);
    if (kInteger) upper = Either<T, L>(integer_y, Load<T, L>(h_before + j * L), upper);
    const V dy = kInteger ? scale_y * (h - upper) : h - upper;
    const V gradient = Load<T, L>(g);
    sum_x.Add(gradient * (lo_y * Load<T, L>(d0 + j * L) + hi_y * d));
    sum_y.Add(gradient * dy);
    push(j, h, d);
    g += m.channels;
  };
  for (int64_t i = begin; i < end; ++i) {
    const int64_t row = i * m.stride_h;
    if (m.stride_h != 1 || (start && i == begin)) {
      if (kInteger) VisitRow<kStrideOne, true>(gather(row - 1), m.out_w, m.stride_w, keep);
      VisitRow<kStrideOne, kInteger>(gather(row), m.out_w, m.stride_w, keep);
    }
    g = gy + i * m.out_w * m.channels + channel;
    VisitRow<kStrideOne, kInteger>(gather(row + 1), m.out_w, m.stride_w, correlate);
  }
  sum_x.Store(sums_x + channel);
  sum_y.Store(sums_y + channel);
}

template <typename T, int L>
void CorrelateBand(const PixelMap<T>& m, int64_t index, const T* x, const T* gy, bool start,
                   int64_t begin, int64_t end, T* above, double* sums_x, double* sums_y) {
  constexpr int kNarrower = Narrower<T>(L);
  const Block& block = m.blocks[index];
  const BlockReads& reads = m.reads[index];
  const int64_t c = block.channel;
  if (block.lanes < L) {
    CorrelateBand<T, kNarrower>(m, index, x, gy, start, begin, end, above, sums_x, sums_y);
  } else if (m.stride_w == 1 && !block.integer) {
    CorrelateBlock<T, L, true, false>(m, c, reads, x, gy, start, begin, end, above, sums_x, sums_y);
  } else if (m.stride_w == 1) {
    CorrelateBlock<T, L, true, true>(m, c, reads, x, gy, start, begin, end, above, sums_x, sums_y);
  } else if (!block.integer) {
    CorrelateBlock<T, L, false, false>(m, c, reads, x, gy, start, begin, end, above, sums_x,
                                       sums_y);
  } else {
    CorrelateBlock<T, L, false, true>(m, c, reads, x, gy, start, begin, end, above, sums_x, sums_y);
  }
}

template <typename T>
void ShiftGradientRows(const PixelMap<T>& m, const T* x, const T* gy, bool start, int64_t begin,
                       int64_t end, T* above, double* sums_x, double* sums_y) {
  for (int64_t b = 0; b < m.block_count; ++b) {
    CorrelateBand<T, MostLanes<T>()>(m, b, x, gy, start, begin, end, above, sums_x, sums_y);
  }
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_INTERLEAVED_H_

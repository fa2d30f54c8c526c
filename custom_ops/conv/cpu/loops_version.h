// Fills in one version's loops. Included by one file per instruction set, with SSPQ_CPU_VERSION
// set. Every value of a product is summed up in one order, whatever its tile is. AVX-512 and AVX2
// give the same bits; the baseline may have no fused multiply-add and rounds once more then.
#ifndef SSPQ_CONV_LOOPS_VERSION_H_
#define SSPQ_CONV_LOOPS_VERSION_H_

#include "custom_ops/conv/cpu/loops.h"
#include "custom_ops/cpu/vectors.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {
namespace {

// The sums take 24 of AVX-512's 32 registers, at most 12 of the others' 16.
constexpr int kVectors = kLanes == 16 ? 4 : 2;
constexpr int RowsOf(int vectors) {
  return kLanes == 16 ? (vectors == 4 ? 6 : 8) : (vectors == 2 ? 6 : 8);
}

template <int kRows, int kColumns>
void MultiplyTile(const Tile& tile) {
  V sums[kRows][kColumns];
  Unrolled<kRows>::Run([&](int i) {
    Unrolled<kColumns>::Run(
        [&](int j) { sums[i][j] = tile.add ? Load(tile.c[i] + j * kLanes) : V{}; });
  });
  const float* a[kRows];
  Unrolled<kRows>::Run([&](int i) { a[i] = tile.a[i]; });
  const float* b = tile.b;
  const int64_t a_step = tile.a_step, b_step = tile.b_step;
  int64_t at = 0;
  for (int64_t k = 0; k < tile.depth; ++k, at += a_step, b += b_step) {
    V row[kColumns];
    Unrolled<kColumns>::Run([&](int j) { row[j] = Load(b + j * kLanes); });
    Unrolled<kRows>::Run([&](int i) {
      const V factor = Set(a[i][at]);
      Unrolled<kColumns>::Run([&](int j) { sums[i][j] = MulAdd(factor, row[j], sums[i][j]); });
    });
  }
  Unrolled<kRows>::Run([&](int i) {
    Unrolled<kColumns>::Run([&](int j) { Store(sums[i][j], tile.c[i] + j * kLanes); });
  });
}

// In squares of four, which the compiler keeps in registers.
void Transpose(const float* from, int64_t rows, int64_t columns, int64_t from_step, float* to,
               int64_t to_step) {
  typedef float Four __attribute__((vector_size(16)));
  typedef float UnalignedFour __attribute__((vector_size(16), aligned(4), may_alias));
  const int64_t whole_rows = rows - rows % 4, whole_columns = columns - columns % 4;
  for (int64_t c = 0; c < whole_columns; c += 4) {
    for (int64_t r = 0; r < whole_rows; r += 4) {
      Four x[4];
      for (int i = 0; i < 4; ++i) {
        x[i] = *reinterpret_cast<const UnalignedFour*>(from + (r + i) * from_step + c);
      }
      for (int i = 0; i < 4; ++i) {
        const Four y = {x[0][i], x[1][i], x[2][i], x[3][i]};
        *reinterpret_cast<UnalignedFour*>(to + (c + i) * to_step + r) = y;
      }
    }
  }
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = r < whole_rows ? whole_columns : 0; c < columns; ++c) {
      to[c * to_step + r] = from[r * from_step + c];
    }
  }
}

}  // namespace

extern const ProductLoops kProductLoops;
const ProductLoops kProductLoops = {kLanes,
                                    kVectors,
                                    {RowsOf(1), RowsOf(2), RowsOf(3), RowsOf(4)},
                                    {MultiplyTile<RowsOf(1), 1>, MultiplyTile<RowsOf(2), 2>,
#if defined(__AVX512F__)
                                     MultiplyTile<RowsOf(3), 3>, MultiplyTile<RowsOf(4), 4>},
#else
                                     nullptr, nullptr},
#endif
                                    Transpose};

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_CONV_LOOPS_VERSION_H_

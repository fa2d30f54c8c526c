// Interface of one version's loops for products of matrices. Plain data alone.
#ifndef SSPQ_CONV_LOOPS_H_
#define SSPQ_CONV_LOOPS_H_

#include <cstdint>

#include "custom_ops/cpu/versions.h"

namespace sspq {

// A tile of a product, kept in registers: c[i][j] = (add ? c[i][j] : 0) + sum over k of
// a[i][k * a_step] * b[k * b_step + j], with k going up. It has as many rows as the loops say for
// its vectors, and `vectors * lanes` columns.
struct Tile {
  const float* const* a;
  int64_t a_step;
  const float* b;
  int64_t b_step;
  float* const* c;
  int64_t depth;
  bool add;
};

// Rows of a tile at most, and vectors in one of its rows.
constexpr int kMaxRows = 8;
constexpr int kMaxVectors = 4;
constexpr int kMaxLanes = 16;

struct ProductLoops {
  int lanes;
  int vectors;            // in a row of a tile, at most
  int rows[kMaxVectors];  // of a tile with 1, 2, .. vectors in a row
  void (*tile[kMaxVectors])(const Tile& tile);
  // to[c * step + r] = from[r * columns + c], r < rows, c < columns.
  void (*transpose)(const float* from, int64_t rows, int64_t columns, int64_t from_step, float* to,
                    int64_t to_step);
};

const ProductLoops& ProductLoopsOf(Version version);

}  // namespace sspq

#endif  // SSPQ_CONV_LOOPS_H_

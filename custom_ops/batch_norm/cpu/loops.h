// The interface of the vectorised loops of batch normalization, which are compiled once for every
// instruction set. Plain data alone crosses it: see shift2d/cpu/loops.h.
#ifndef SSPQ_BATCH_NORM_LOOPS_H_
#define SSPQ_BATCH_NORM_LOOPS_H_

#include <cstdint>

#include "custom_ops/cpu/versions.h"

namespace sspq {

// What becomes of the normalized values: nothing, max(v, 0), clipped to [0, 1], or clipped and
// then rounded to multiples of step = 1 / levels.
enum class Then { kNothing, kRelu, kClip, kRound };

struct Activation {
  Then then;
  float levels, step;
};

// v = (x - mean) * factor + offset, each [channels].
struct Affine {
  const float *mean, *factor, *offset;
};

// All on [rows, channels], contiguous. Sums are added to, by channel.
struct BatchNormLoops {
  void (*moments)(const float* x, int64_t rows, int64_t channels, double* sum, double* squares);
  // `plus` is added to v where it is not null; `y` may be `x`.
  void (*normalize)(const float* x, int64_t rows, int64_t channels, const Affine& map,
                    const float* plus, const Activation& activation, float* y);
  // With g = gy where the activation passes it, else 0: sums of g and of g * (x - mean).
  void (*gradient_sums)(const float* x, const float* gy, int64_t rows, int64_t channels,
                        const Affine& map, const Activation& activation, double* sum,
                        double* products);
  // gx = g * factor + ((x - mean) * slope + constant).
  void (*input_gradient)(const float* x, const float* gy, int64_t rows, int64_t channels,
                         const Affine& map, const Activation& activation, const float* slope,
                         const float* constant, float* gx);
};

const BatchNormLoops& BatchNormLoopsOf(Version version);

}  // namespace sspq

#endif  // SSPQ_BATCH_NORM_LOOPS_H_

// Lines of vectors of which every lane is shifted by a distance of its own: a barrel shifter.
#ifndef SSPQ_SHIFT2D_CPU_PAIR_WALK_H_
#define SSPQ_SHIFT2D_CPU_PAIR_WALK_H_

#include "custom_ops/cpu/vectors.h"
#include "custom_ops/shift2d/cpu/paths.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// N vectors that are shifted alike.
template <int N>
struct Place {
  V of[N];
};

// A line of `size` places, `step` values from one to the next, from place `at` on.
template <int N>
struct PlaceLine {
  SSPQ_INLINE PlaceLine(const float* line, int64_t line_step, int64_t line_size, int64_t first)
      : from(line + first * line_step), step(line_step), size(line_size), at(first) {}
  SSPQ_INLINE void Advance(int count) {
    from += count * step;
    at += count;
  }
  // Place at + k, which is there; or zeros where it is not.
  SSPQ_INLINE Place<N> Inside(int k) const {
    Place<N> p;
    for (int n = 0; n < N; ++n) p.of[n] = Load(from + k * step + n * kLanes);
    return p;
  }
  SSPQ_INLINE Place<N> Anywhere(int k) const {
    Place<N> p = {};
    if (static_cast<uint64_t>(at + k) < static_cast<uint64_t>(size)) p = Inside(k);
    return p;
  }

  const float* from;
  const int64_t step, size;
  int64_t at;
};

// Places that a walk is ahead of what it has visited.
constexpr int kReach = kShifterOffsets;

// Where a walk for outputs from `output` on begins.
SSPQ_INLINE int64_t WalkBegin(int64_t output, int64_t stride) {
  return output * stride - (stride > 1);
}

// Walks along lines and visits the pairs that are blended: for output i, places i * kStride and
// i * kStride + 1 of the shifted line, of which lane c of place n is lane c of place n +
// distance[c] of the line.
//
// Distances are 0 to 7. Each is a sum of moves by 1, by 2 and by 4 that a lane makes or does not;
// and a move is a blend of what comes with what came so many places before. So a place costs a load
// and three blends, however the distances differ.
template <int N, int kStride>
class PairWalk {
  static_assert(kReach == 8, "three moves");

 public:
  // Values of what a walk keeps: what its moves wait for, and the place before.
  static constexpr int kState = kReach * N * kLanes;

  SSPQ_INLINE explicit PairWalk(M distance)
      : by_one_((distance & 1) != 0), by_two_((distance & 2) != 0), by_four_((distance & 4) != 0) {}

  // Begins with a line at WalkBegin() of the first output.
  SSPQ_INLINE void Start(PlaceLine<N>* line) {
    const Place<N> zeros = {};
    Unrolled<kReach - 1>::Run([&](int k) __attribute__((always_inline)) { held_[k] = zeros; });
    before_ = zeros;
    Unrolled<kReach>::Run([&](int k) __attribute__((always_inline)) {
      before_ = Push(k, line->Anywhere(k));
    });
    line->Advance(kReach);
  }

  // Calls visit->Put(k, first, second) and visit->Advance(n) for the next `count` outputs: k counts
  // from the last Advance() on, which says how many are done. `last`: the walk ends there.
  template <typename Visit>
  SSPQ_INLINE void Run(PlaceLine<N>* line, int64_t count, bool last, Visit* visit) {
    for (; count >= kGroup && line->at < 0; count -= kGroup) Group<false>(line, kGroup, visit);
    int64_t inside = (line->size - line->at) / (kGroup * kStride);
    if (inside > count / kGroup) inside = count / kGroup;
    if (inside > 0) count -= inside * kGroup;
    for (; inside > 0; --inside) Group<true>(line, kGroup, visit);
    for (; count >= kGroup; count -= kGroup) Group<false>(line, kGroup, visit);
    if (last) {
      if (count > 0) Group<false>(line, count, visit);
      return;
    }
    for (; count > 0; --count) {
      Unrolled<kStride>::Run([&](int k) __attribute__((always_inline)) {
        const Place<N> p = Push(0, line->Anywhere(k));
        Rotate();
        Visited(0, k, 1, p, visit);
      });
      line->Advance(kStride);
      visit->Advance(1);
    }
  }

  // Between two calls of Run() with the same line.
  SSPQ_INLINE void Save(float* state) const {
    Unrolled<kReach * N>::Run([&](int k) __attribute__((always_inline)) {
      Store(k < N ? before_.of[k % N] : held_[k / N - 1].of[k % N], state + k * kLanes);
    });
  }
  SSPQ_INLINE void Restore(const float* state) {
    Unrolled<kReach * N>::Run([&](int k) __attribute__((always_inline)) {
      (k < N ? before_.of[k % N] : held_[k / N - 1].of[k % N]) = Load(state + k * kLanes);
    });
  }

 private:
  // Where each place is held repeats after four pushes, so that groups of as many need nothing
  // moved between registers.
  static constexpr int kGroup = 4 / kStride;

  // Visits the first `count` outputs.
  template <bool kInside, typename Visit>
  SSPQ_INLINE void Group(PlaceLine<N>* line, int64_t count, Visit* visit) {
    Unrolled<kGroup * kStride>::Run([&](int k) __attribute__((always_inline)) {
      const Place<N> p = Push(k, kInside ? line->Inside(k) : line->Anywhere(k));
      Visited(k / kStride, k % kStride, count, p, visit);
    });
    line->Advance(kGroup * kStride);
    visit->Advance(kGroup);
  }

  template <typename Visit>
  SSPQ_INLINE void Visited(int output, int k, int64_t count, const Place<N>& p, Visit* visit) {
    if (k == (kStride > 1) && output < count) visit->Put(output, before_, p);
    before_ = p;
  }

  SSPQ_INLINE Place<N> Push(int at, Place<N> p) {
    Move(&held_[0], by_one_, &p);
    Move(&held_[1 + at % 2], by_two_, &p);
    Move(&held_[3 + at % 4], by_four_, &p);
    return p;
  }
  static SSPQ_INLINE void Move(Place<N>* held, M moves, Place<N>* p) {
    const Place<N> earlier = *held;
    *held = *p;
    for (int n = 0; n < N; ++n) p->of[n] = IfThenElse(moves, p->of[n], earlier.of[n]);
  }

  // After Push(0, p): for the next to be a Push(0, p) too.
  SSPQ_INLINE void Rotate() {
    const Place<N> two = held_[1], four = held_[3];
    held_[1] = held_[2];
    held_[2] = two;
    Unrolled<3>::Run([&](int k) __attribute__((always_inline)) { held_[3 + k] = held_[4 + k]; });
    held_[6] = four;
  }

  const M by_one_, by_two_, by_four_;
  Place<N> held_[kReach - 1];
  Place<N> before_;
};

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CPU_PAIR_WALK_H_

// Lines of vectors of which every lane is shifted by a distance of its own: a barrel shifter.
#ifndef SSPQ_SHIFT2D_INTERLEAVED_SHIFTER_H_
#define SSPQ_SHIFT2D_INTERLEAVED_SHIFTER_H_

#include "custom_ops/shift2d/cc/kernels/cpu_versions.h"
#include "custom_ops/shift2d/cc/kernels/simd.h"

namespace sspq {
namespace SSPQ_CPU_VERSION {

// N vectors that are shifted alike.
template <typename T, int L, int N>
struct Several {
  Vec<T, L> of[N];
};

// A line of `size` places, `step` values from one to the next, from place `at` on. At each there
// are N vectors side by side.
template <typename T, int L, int N>
struct Line {
  SSPQ_INLINE Line(const T* line, int64_t line_step, int64_t line_size, int64_t first)
      : from(line + first * line_step), step(line_step), size(line_size), at(first) {}
  SSPQ_INLINE void Advance(int count) {
    from += count * step;
    at += count;
  }
  // Place at + k, which is there; or zeros where it is not.
  SSPQ_INLINE Several<T, L, N> Inside(int k) const {
    Several<T, L, N> v;
    for (int n = 0; n < N; ++n) v.of[n] = Load<T, L>(from + k * step + n * L);
    return v;
  }
  SSPQ_INLINE Several<T, L, N> Anywhere(int k) const {
    Several<T, L, N> v = {};
    if (static_cast<uint64_t>(at + k) < static_cast<uint64_t>(size)) v = Inside(k);
    return v;
  }

  const T* from;
  const int64_t step, size;
  int64_t at;
};

// Where a walk for outputs from `output` on begins, and how many places it is ahead of what it has
// visited, for distances of 0 to count - 1.
SSPQ_INLINE int64_t WalkBegin(int64_t output, int64_t stride) {
  return output * stride - (stride > 1);
}
SSPQ_INLINE int64_t WalkReach(int64_t count) { return count <= 6 ? 6 : kFarReach; }

// Walks along lines and visits the pairs that are blended: for output i, places i * kStride and
// i * kStride + 1 of the shifted line, of which lane c of place n is lane c of place n +
// distance[c] of the line.
//
// Distances are 0 to kReach - 1. Each is a sum of moves by 1, by 2 and by kReach - 4 that a lane
// makes or does not; and a move is a blend of what comes with what came so many places before. So a
// place costs a load and three blends, however the distances differ.
template <typename T, int L, int N, int kReach, int kStride>
class PairWalk {
  static_assert(kReach == 6 || kReach == 8, "the last move is by 2 or by 4");

 public:
  typedef Several<T, L, N> Place;
  // Values of what a walk keeps: what its moves wait for, and the place before.
  static constexpr int kState = kReach * N * L;

  // The distance of lane c is distances[c] - first.
  SSPQ_INLINE PairWalk(const void* distances, int64_t first) {
    const Mask<T, L> d = LoadMask<T, L>(distances) - static_cast<typename Lanes<T, L>::I>(first);
    by_last_ = d > 3;
    const Mask<T, L> rest = d - (by_last_ & kLast);
    by_one_ = (rest & 1) != 0;
    by_two_ = (rest & 2) != 0;
  }

  // Begins with a line at WalkBegin() of the first output.
  SSPQ_INLINE void Start(Line<T, L, N>* line) {
    const Place zeros = {};
    Unrolled<kReach - 1>::Run([&](int k) __attribute__((always_inline)) { held_[k] = zeros; });
    before_ = zeros;
    if (line->at + kReach >= 0 && line->at + kReach <= line->size) {
      // Zeros leave nothing behind.
      Unrolled<kReach>::Run([&](int k) __attribute__((always_inline)) {
        if (line->at + k >= 0) before_ = Push(k, line->Inside(k));
      });
    } else {
      Unrolled<kReach>::Run([&](int k) __attribute__((always_inline)) {
        before_ = Push(k, line->Anywhere(k));
      });
    }
    line->Advance(kReach);
  }

  // Calls visit->Put(k, first, second) and visit->Advance(n) for the next `count` outputs: k counts
  // from the last Advance() on, which says how many are done.
  template <typename Visit>
  SSPQ_INLINE void Run(Line<T, L, N>* line, int64_t count, Visit* visit) {
    for (; count >= kGroup && line->at < 0; count -= kGroup) Group<false>(line, visit);
    int64_t inside = (line->size - line->at) / (kGroup * kStride);
    if (inside > count / kGroup) inside = count / kGroup;
    if (inside > 0) count -= inside * kGroup;
    for (; inside > 0; --inside) Group<true>(line, visit);
    for (; count >= kGroup; count -= kGroup) Group<false>(line, visit);
    for (; count > 0; --count) {
      Unrolled<kStride>::Run([&](int k) __attribute__((always_inline)) {
        const Place p = Push(0, line->Anywhere(k));
        Rotate();
        Visited(0, k, p, visit);
      });
      line->Advance(kStride);
      visit->Advance(1);
    }
  }

  // Between two calls of Run() with the same line.
  SSPQ_INLINE void Save(T* state) const {
    Unrolled<kReach * N>::Run([&](int k) __attribute__((always_inline)) {
      Store<T, L>(state + k * L, k < N ? before_.of[k % N] : held_[k / N - 1].of[k % N]);
    });
  }
  SSPQ_INLINE void Restore(const T* state) {
    Unrolled<kReach * N>::Run([&](int k) __attribute__((always_inline)) {
      (k < N ? before_.of[k % N] : held_[k / N - 1].of[k % N]) = Load<T, L>(state + k * L);
    });
  }

 private:
  // Where each place is held repeats after as many pushes as the last move is far, so that groups
  // of as many need nothing moved between registers.
  static constexpr int kLast = kReach - 4;
  static constexpr int kGroup = kStride == 2 ? kLast / 2 : kLast;

  template <bool kInside, typename Visit>
  SSPQ_INLINE void Group(Line<T, L, N>* line, Visit* visit) {
    Unrolled<kGroup * kStride>::Run([&](int k) __attribute__((always_inline)) {
      const Place p = Push(k, kInside ? line->Inside(k) : line->Anywhere(k));
      Visited(k / kStride, k % kStride, p, visit);
    });
    line->Advance(kGroup * kStride);
    visit->Advance(kGroup);
  }

  template <typename Visit>
  SSPQ_INLINE void Visited(int output, int k, const Place& p, Visit* visit) {
    if (k == (kStride > 1)) visit->Put(output, before_, p);
    before_ = p;
  }

  SSPQ_INLINE Place Push(int at, Place p) {
    Move(&held_[0], by_one_, &p);
    Move(&held_[1 + at % 2], by_two_, &p);
    Move(&held_[3 + at % kLast], by_last_, &p);
    return p;
  }
  static SSPQ_INLINE void Move(Place* held, Mask<T, L> moves, Place* p) {
    const Place earlier = *held;
    *held = *p;
    for (int n = 0; n < N; ++n) p->of[n] = Replace<T, L>(earlier.of[n], moves, p->of[n]);
  }

  // After Push(0, p): for the next to be a Push(0, p) too.
  SSPQ_INLINE void Rotate() {
    const Place two = held_[1], last = held_[3];
    held_[1] = held_[2];
    held_[2] = two;
    Unrolled<kLast - 1>::Run([&](int k)
                                 __attribute__((always_inline)) { held_[3 + k] = held_[4 + k]; });
    held_[2 + kLast] = last;
  }

  Mask<T, L> by_one_, by_two_, by_last_;
  Place held_[kReach - 1];
  Place before_;
};

// Calls body.Run<kReach, kStride>() for distances of 0 to count - 1 and strides of up to kMost.
template <int kReach, int kMost, typename Body>
SSPQ_INLINE void RunForStride(int64_t stride, const Body& body) {
  constexpr int kTwo = kMost > 2 ? 2 : kMost;  // no code for strides above kMost
  if (stride == 1) return body.template Run<kReach, 1>();
  if (stride == 2) return body.template Run<kReach, kTwo>();
  body.template Run<kReach, kMost>();
}
template <int kMost, typename Body>
SSPQ_INLINE void RunForWalk(int64_t count, int64_t stride, const Body& body) {
  static_assert(kMost <= 3, "larger strides have no code");
  if (WalkReach(count) == 6) return RunForStride<6, kMost>(stride, body);
  RunForStride<kFarReach, kMost>(stride, body);
}

}  // namespace SSPQ_CPU_VERSION
}  // namespace sspq

#endif  // SSPQ_SHIFT2D_INTERLEAVED_SHIFTER_H_

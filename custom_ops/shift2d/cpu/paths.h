// Which loops work a call of shift2d on the CPU off. All of the choice is here: one table, of which
// the first row that fits is taken.
#ifndef SSPQ_SHIFT2D_CPU_PATHS_H_
#define SSPQ_SHIFT2D_CPU_PATHS_H_

#include <cstdint>

namespace sspq {

// Loops work on lines of this many channels, the float32 of a cache line.
constexpr int kLineChannels = 16;

enum class Pass { kForward, kBackward };

// kWindow: every channel reads two by two pixels of one window of three by three (window.h).
// kStrided: the same, pixel by pixel (strided.h).
// kShifter: a barrel shifter brings together what the channels of a line read (shifter.h).
// kElement: element by element (core/reference.h).
enum class Path { kWindow, kStrided, kShifter, kElement };

// What a path is chosen for: all channels at once, or line by line where no row fits all.
enum class Scope { kAllChannels, kLine };

// What the choice depends on. `offsets` is how many rows, or columns if these are more, lie from
// the least floor(shift) of these channels to the greatest.
struct Case {
  Pass pass;
  Scope scope;
  bool float32;
  int64_t stride;  // the larger one
  int64_t offsets;
};

constexpr int64_t kAny = INT64_MAX;
constexpr int kShifterOffsets = 8, kShifterStride = 2;

struct PathRow {
  Path path;
  Pass pass;
  Scope scope;
  bool float32_only;
  int64_t most_stride, most_offsets;

  bool Fits(const Case& c) const {
    return c.pass == pass && c.scope == scope && (c.float32 || !float32_only) &&
           c.stride <= most_stride && c.offsets <= most_offsets;
  }
};

// At a stride, the gradients are those at stride 1 of a gradient to y with zeros in between.
constexpr PathRow kPaths[] = {
    {Path::kWindow, Pass::kForward, Scope::kAllChannels, true, 1, 2},
    {Path::kStrided, Pass::kForward, Scope::kAllChannels, true, kAny, 2},
    {Path::kShifter, Pass::kForward, Scope::kLine, true, kShifterStride, kShifterOffsets},
    {Path::kElement, Pass::kForward, Scope::kLine, false, kAny, kAny},
    {Path::kWindow, Pass::kBackward, Scope::kAllChannels, true, kAny, 2},
    {Path::kShifter, Pass::kBackward, Scope::kLine, true, kAny, kShifterOffsets},
    {Path::kElement, Pass::kBackward, Scope::kLine, false, kAny, kAny},
};

// Null where no row fits, which no line has.
inline const PathRow* FindPath(const Case& c) {
  for (const PathRow& row : kPaths) {
#ifdef SSPQ_SHIFT2D_WITHOUT  // benchmarks ask what a path is good for
    if (row.path == Path::SSPQ_SHIFT2D_WITHOUT && row.pass == Pass::SSPQ_SHIFT2D_WITHOUT_IN)
      continue;
#endif
    if (row.Fits(c)) return &row;
  }
  return nullptr;
}

inline const char* PassName(Pass pass) { return pass == Pass::kForward ? "forward" : "backward"; }

inline const char* PathName(Path path) {
  constexpr const char* kNames[] = {"window", "strided", "shifter", "element"};
  return kNames[static_cast<int>(path)];
}

// Whether lines are copied, one at a time, into a block of their own, [height, width,
// kLineChannels], and back: planes, and numbers of channels that are no multiple of a line.
inline bool InBlocks(bool nchw, int64_t channels) { return nchw || channels % kLineChannels != 0; }

// The gradient to a shift that is an integer is taken element by element, whatever the path: a mean
// of one-sided derivatives, which no loop knows.

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_CPU_PATHS_H_

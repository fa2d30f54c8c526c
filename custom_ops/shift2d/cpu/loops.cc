// The loops of every version, and the table of paths as text.
#include "custom_ops/shift2d/cpu/loops.h"

#include <string>

#include "custom_ops/cpu/versions.h"
#include "custom_ops/shift2d/cpu/paths.h"
#include "custom_ops/shift2d/cpu/shift2d_cpu.h"

namespace sspq {

SSPQ_DEFINE_LOOPS_OF(Shift2DLoops, kShift2DLoops, VectorLoopsOf)

const Shift2DLoops* Shift2DLoopsOf(Version version) {
  return version == Version::kReference ? nullptr : &VectorLoopsOf(version);
}

}  // namespace sspq

// The rows of kPaths as lines of a Markdown table. Tests hold the documentation against them.
extern "C" const char* sspq_shift2d_paths() {
  static const std::string text = [] {
    auto most = [](int64_t value) {
      return value == sspq::kAny ? std::string("any") : std::to_string(value);
    };
    std::string lines;
    for (const sspq::PathRow& row : sspq::kPaths) {
      lines += std::string("| ") + sspq::PassName(row.pass) + " | " + sspq::PathName(row.path) +
               " | " + (row.scope == sspq::Scope::kLine ? "16 channels" : "all channels") + " | " +
               (row.float32_only ? "float32" : "any") + " | " + most(row.most_stride) + " | " +
               most(row.most_offsets) + " |\n";
    }
    return lines;
  }();
  return text.c_str();
}

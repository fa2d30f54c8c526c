#include "custom_ops/slq/slq.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <thread>
#include <vector>

namespace {

uint32_t Key(const float* weight) {
  uint32_t bits;
  std::memcpy(&bits, weight, sizeof(bits));
  // Negative numbers have all bits turned, since their order is that of falling bits.
  return bits ^ ((bits >> 31) != 0 ? 0xffffffffu : 0x80000000u);
}

// work(part, begin, end) for all parts of [0, n), by up to `threads` threads.
template <typename Work>
void ForParts(int64_t n, int32_t threads, const Work& work) {
  const int64_t parts = (n + kSspqSlqPart - 1) / kSspqSlqPart;
  std::atomic<int64_t> next(0);
  auto run = [&] {
    for (int64_t part; (part = next.fetch_add(1)) < parts;) {
      work(part, part * kSspqSlqPart, std::min<int64_t>(n, (part + 1) * kSspqSlqPart));
    }
  };
  std::vector<std::thread> helpers;
  try {
    helpers.reserve(std::max(threads - 1, 0));
    for (int64_t t = 1; t < std::min<int64_t>(threads, parts); ++t) helpers.emplace_back(run);
  } catch (const std::exception&) {
    // No more threads to be had: those that run do all the work.
  }
  run();
  for (std::thread& helper : helpers) helper.join();
}

// The loops. Pointers are arguments, not members of a closure, which a store might change for all
// that the compiler knows.
template <bool kSkip>
void Histogram(const float* weights, const uint8_t* skip, int64_t begin, int64_t end,
               SspqSlqBin* bins) {
  for (int64_t i = begin; i < end; ++i) {
    // A mask instead of a branch, which would be taken at random.
    const uint64_t keep = kSkip && skip[i] != 0 ? 0 : ~uint64_t(0);
    const uint32_t key = Key(weights + i);
    const uint64_t place = key & 0xffff;
    SspqSlqBin& bin = bins[key >> 16];
    bin.count_and_sum += (uint64_t(1) << 40 | place) & keep;
    bin.square += place * place & keep;
  }
}

template <bool kSkip>
void Gather(const float* weights, const uint8_t* skip, int64_t begin, int64_t end,
            const int32_t* slot, int64_t* next, uint16_t* places) {
  for (int64_t i = begin; i < end; ++i) {
    const uint32_t key = Key(weights + i);
    const int32_t s = slot[key >> 16];
    if (s >= 0 && !(kSkip && skip[i] != 0)) places[next[s]++] = key & 0xffff;
  }
}

template <bool kSkip>
void Assign(const float* weights, const uint8_t* skip, int64_t begin, int64_t end,
            const uint16_t* table, const uint32_t* cuts, int64_t n_cuts, const uint8_t* labels,
            uint8_t* index) {
  for (int64_t i = begin; i < end; ++i) {
    const uint32_t key = Key(weights + i);
    uint16_t label = table[key >> 16];
    if (label == kSspqSlqMixed) label = labels[std::upper_bound(cuts, cuts + n_cuts, key) - cuts];
    index[i] = kSkip && skip[i] != 0 ? index[i] : static_cast<uint8_t>(label);
  }
}

}  // namespace

int32_t sspq_slq_interface() { return kSspqSlqInterface; }

void sspq_slq_histogram(const float* weights, const uint8_t* skip, int64_t n, int32_t threads,
                        SspqSlqBin* bins) {
  const auto run = skip != nullptr ? Histogram<true> : Histogram<false>;
  ForParts(n, threads, [=](int64_t part, int64_t begin, int64_t end) {
    run(weights, skip, begin, end, bins + part * kSspqSlqBins);
  });
}

void sspq_slq_gather(const float* weights, const uint8_t* skip, int64_t n, int32_t threads,
                     const int32_t* slot, int64_t slots, int64_t* cursor, uint16_t* places) {
  const auto run = skip != nullptr ? Gather<true> : Gather<false>;
  ForParts(n, threads, [=](int64_t part, int64_t begin, int64_t end) {
    run(weights, skip, begin, end, slot, cursor + part * slots, places);
  });
}

void sspq_slq_assign(const float* weights, const uint8_t* skip, int64_t n, int32_t threads,
                     const uint16_t* table, const uint32_t* cuts, int64_t n_cuts,
                     const uint8_t* labels, uint8_t* index) {
  const auto run = skip != nullptr ? Assign<true> : Assign<false>;
  ForParts(n, threads, [=](int64_t, int64_t begin, int64_t end) {
    run(weights, skip, begin, end, table, cuts, n_cuts, labels, index);
  });
}

// Runs the loops of custom_ops/slq without Python, for sanitizers.
//
//     slq_driver [cases]
//
// Random numbers of weights up to some parts, with and without a mask, by 1, 2 and 8 threads: sums,
// places and labels must be those of a walk over the sorted keys, and nothing else be written.
// Prints a line and returns 0 if so.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "custom_ops/slq/slq.h"

namespace {

std::mt19937 random_bits(1);

int64_t Draw(int64_t least, int64_t most) {
  return std::uniform_int_distribution<int64_t>(least, most)(random_bits);
}

// The order of floats in other words than the library's.
uint32_t KeyOf(float value) {
  int32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits < 0 ? static_cast<uint32_t>(~bits) : static_cast<uint32_t>(bits) + 0x80000000u;
}

float DrawWeight() {
  switch (Draw(0, 200)) {
    case 0:
      return 0.0f;
    case 1:
      return -0.0f;
    case 2:
      return std::numeric_limits<float>::infinity();
    case 3:
      return std::numeric_limits<float>::quiet_NaN();
    case 4:
      return Draw(-9, 9) * std::numeric_limits<float>::denorm_min();
    default:
      return std::normal_distribution<float>(0, 0.05f)(random_bits);
  }
}

bool Check(int64_t n, bool masked, int threads) {
  std::vector<float> weights(n);
  std::vector<uint8_t> skip(n);
  for (float& w : weights) w = DrawWeight();
  for (uint8_t& s : skip) s = masked && Draw(0, 2) == 0;
  const uint8_t* mask = masked ? skip.data() : nullptr;
  const int64_t parts = (n + kSspqSlqPart - 1) / kSspqSlqPart;

  std::vector<SspqSlqBin> bins(parts * kSspqSlqBins), expected_bins(bins.size());
  std::vector<std::vector<uint16_t>> by_bin(kSspqSlqBins);
  for (int64_t i = 0; i < n; ++i) {
    if (skip[i]) continue;
    const uint64_t key = KeyOf(weights[i]), place = key % 65536;
    SspqSlqBin& bin = expected_bins[i / kSspqSlqPart * kSspqSlqBins + key / 65536];
    bin.count_and_sum += (uint64_t(1) << 40) + place;
    bin.square += place * place;
    by_bin[key / 65536].push_back(place);
  }
  sspq_slq_histogram(weights.data(), mask, n, threads, bins.data());
  bool good = bins.empty() ||
              std::memcmp(bins.data(), expected_bins.data(), bins.size() * sizeof(bins[0])) == 0;

  // Every third bin that has weights, its weights part by part.
  std::vector<int32_t> slot(kSspqSlqBins, -1);
  std::vector<int> chosen;
  for (int b = 0, k = 0; b < kSspqSlqBins; ++b) {
    if (by_bin[b].empty() || k++ % 3 != 0) continue;
    slot[b] = static_cast<int32_t>(chosen.size());
    chosen.push_back(b);
  }
  const int64_t slots = chosen.size();
  std::vector<int64_t> cursor(parts * slots);
  std::vector<uint16_t> expected_places;
  for (int64_t s = 0; s < slots; ++s) {
    int64_t at = expected_places.size();
    for (int64_t p = 0; p < parts; ++p) {
      cursor[p * slots + s] = at;
      at += bins[p * kSspqSlqBins + chosen[s]].count_and_sum >> 40;
    }
    const std::vector<uint16_t>& of_bin = by_bin[chosen[s]];
    expected_places.insert(expected_places.end(), of_bin.begin(), of_bin.end());
  }
  std::vector<uint16_t> places(expected_places.size());
  sspq_slq_gather(weights.data(), mask, n, threads, slot.data(), slots, cursor.data(),
                  places.data());
  good = good && places == expected_places;

  std::vector<uint32_t> cuts(Draw(0, 20));
  for (uint32_t& cut : cuts) cut = KeyOf(DrawWeight());
  std::sort(cuts.begin(), cuts.end());
  std::vector<uint8_t> labels(cuts.size() + 1);
  for (uint8_t& label : labels) label = Draw(0, 255);
  auto label_of = [&](uint32_t key) {
    size_t below = 0;
    while (below < cuts.size() && cuts[below] <= key) ++below;
    return labels[below];
  };
  std::vector<uint16_t> table(kSspqSlqBins);
  for (int64_t b = 0; b < kSspqSlqBins; ++b) table[b] = label_of(b << 16);
  for (uint32_t cut : cuts) table[cut >> 16] = kSspqSlqMixed;
  std::vector<uint8_t> index(n, 77);
  sspq_slq_assign(weights.data(), mask, n, threads, table.data(), cuts.data(), cuts.size(),
                  labels.data(), index.data());
  for (int64_t i = 0; i < n; ++i) {
    good = good && index[i] == (skip[i] ? 77 : label_of(KeyOf(weights[i])));
  }
  return good;
}

}  // namespace

int main(int argc, char** argv) {
  const int cases = argc > 1 ? std::atoi(argv[1]) : 100;
  int bad = 0;
  for (int k = 0; k < cases; ++k) {
    const int64_t n = k == 0       ? 0
                      : k % 4 != 3 ? Draw(1, 2000)
                                   : kSspqSlqPart * Draw(1, 2) + Draw(0, 9);
    for (int threads : {1, 2, 8}) bad += !Check(n, k % 2 != 0, threads);
  }
  std::printf("%d cases, %d bad\n", cases, bad);
  return bad != 0 || sspq_slq_interface() != kSspqSlqInterface;
}

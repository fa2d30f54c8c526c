// Lloyd's k-means as one writes it down: a distance to every centre, sums in double precision.
// Centre 0 does not move. Compiled by slq.py with -O2.
#include <cstdint>
#include <vector>

extern "C" void plain_kmeans(const float* weights, int64_t n, double* centres, int32_t k,
                             int32_t passes, uint8_t* index) {
  for (int32_t pass = 0; pass < passes; ++pass) {
    std::vector<double> sum(k);
    std::vector<int64_t> count(k);
    for (int64_t i = 0; i < n; ++i) {
      const double w = weights[i];
      int32_t nearest = 0;
      double least = (w - centres[0]) * (w - centres[0]);
      for (int32_t c = 1; c < k; ++c) {
        const double distance = (w - centres[c]) * (w - centres[c]);
        if (distance < least) {
          least = distance;
          nearest = c;
        }
      }
      index[i] = static_cast<uint8_t>(nearest);
      sum[nearest] += w;
      ++count[nearest];
    }
    for (int32_t c = 1; c < k; ++c) {
      if (count[c] != 0) centres[c] = sum[c] / count[c];
    }
  }
}

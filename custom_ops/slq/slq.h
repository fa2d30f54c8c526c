// What clustering does with every weight, as plain C functions: sspq/slq/native.py calls them.
//
// A weight's `key` is its float32 bits, changed so that keys are in the order of the values. The
// upper 16 bits of the key are the weight's bin, the lower 16 its place in the bin. Work is cut
// into parts of kSspqSlqPart weights, whatever the number of threads. All results are integers and
// do not depend on the order of anything.
//
// n may be 0. `skip` is null or n bytes of 0 and 1; a weight whose byte is 1 is passed over.
// Nothing is allocated, and nothing throws.
#ifndef SSPQ_CUSTOM_OPS_SLQ_CC_SLQ_H_
#define SSPQ_CUSTOM_OPS_SLQ_CC_SLQ_H_

#include <cstdint>

enum {
  kSspqSlqInterface = 1,  // changes with anything below
  kSspqSlqBins = 1 << 16,
  kSspqSlqPart = 1 << 21,
  kSspqSlqMixed = 0xffff,  // in a table of labels: the bin has weights of several clusters
};

extern "C" {

// The moments of the places in a bin, over one part. Below 2^24 weights a sum takes 40 bits.
struct SspqSlqBin {
  uint64_t count_and_sum;  // count << 40 | sum
  uint64_t square;         // sum of squares
};

int32_t sspq_slq_interface();

// Adds every weight to bins[part][bin], which the caller has set to zero.
void sspq_slq_histogram(const float* weights, const uint8_t* skip, int64_t n, int32_t threads,
                        SspqSlqBin* bins);

// Copies the places of all weights in some bins. slot[bin] is the number of a bin among these, or
// -1. The weights of slot s in part p go to places[cursor[p][s]] and on, in their order; `cursor`,
// [parts][slots], then points behind them.
void sspq_slq_gather(const float* weights, const uint8_t* skip, int64_t n, int32_t threads,
                     const int32_t* slot, int64_t slots, int64_t* cursor, uint16_t* places);

// index[i] = table[bin] or, where that is kSspqSlqMixed, labels[number of cuts <= key]; `cuts` is
// in ascending order. Leaves index[i] alone where weight i is skipped.
void sspq_slq_assign(const float* weights, const uint8_t* skip, int64_t n, int32_t threads,
                     const uint16_t* table, const uint32_t* cuts, int64_t n_cuts,
                     const uint8_t* labels, uint8_t* index);
}

#endif  // SSPQ_CUSTOM_OPS_SLQ_CC_SLQ_H_

#pragma once

#include "tile/numbers.cuh"

// One launch over many tensors: a block works on a piece of one of them. Tensors are in a table, each
// with the number of its first block; a tensor's blocks follow one another.

constexpr int piece_length = 4096;
constexpr int piece_threads = 256;

// The tensor of a block: the last whose first block is not behind it.
template <typename Entry>
DEVICE int tensor_of(const Entry *entries, int count, int block) {
  int low = 0;
  int high = count;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (entries[middle].first_block <= block) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low;
}

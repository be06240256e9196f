#pragma once

#include "tile/numbers.cuh"
#include "training/kernels.h"

// The index of a block's tensor: the last one whose first block is at most `block`.
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

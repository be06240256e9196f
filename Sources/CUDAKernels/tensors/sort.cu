// Sorts the positions of `indices` by index and, among equal indices, by position: one step of a merge sort.
//
// A key has the index in the upper half and its position in the lower, so keys are distinct. The first step
// makes the keys and sorts runs of `sort_first_run` of them, by counting the smaller keys of the run; each
// later step merges pairs of runs, by a binary search for each key in the other run.

#include "tile/base.cuh"

#include "tensors/kernels.h"

DEVICE i64 key_of(const TensorsSortParameters &p, i64 place) { return ((i64)p.indices[place] << 32) | place; }

extern "C" __global__ void tensors_sort(const __grid_constant__ TensorsSortParameters p) {
  const i64 place = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (place >= p.count) return;
  if (p.run == 0) {
    const i64 first = place / sort_first_run * sort_first_run;
    const i64 end = min(p.count, first + sort_first_run);
    const i64 key = key_of(p, place);
    i64 smaller = 0;
    for (i64 i = first; i < end; i++) smaller += key_of(p, i) < key;
    p.target[first + smaller] = key;
    return;
  }
  const i64 pair = place / (2 * p.run) * (2 * p.run);
  const i64 own = place / p.run * p.run;
  const i64 other = own == pair ? pair + p.run : pair;
  const i64 key = p.source[place];
  i64 low = min(p.count, other);
  i64 high = min(p.count, other + p.run);
  const i64 other_first = low;
  while (low < high) {
    const i64 middle = (low + high) / 2;
    if (p.source[middle] < key) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  p.target[pair + (place - own) + (low - other_first)] = key;
}

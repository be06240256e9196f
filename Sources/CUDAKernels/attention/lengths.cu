// The lengths of rows: their reciprocals, or the rows divided by them.
//
// Compiled with ELEMENT (bf16 or f16). One warp works on one row of `groups` equal slices. With one
// slice the row stays as it is and its reciprocal length is written; with several each slice is
// divided by its length and rounded. A slice shorter than `shortest` counts as zero.

#include "tile/types.cuh"

using Element = ELEMENT;

struct Parameters {
  u16 *rows;             // [count, pitch]
  float *reciprocals;    // [count], or null: the rows are divided
  i64 count;
  int pitch;
  int dimension;
  int groups;
  float shortest;
};

extern "C" __global__ void row_lengths(const __grid_constant__ Parameters p) {
  const i64 row = (i64)blockIdx.x * (blockDim.x / warp_threads) + threadIdx.x / warp_threads;
  if (row >= p.count) return;
  const int lane = threadIdx.x % warp_threads;
  const int slice = p.dimension / p.groups;
  for (int group = 0; group < p.groups; ++group) {
    u16 *numbers = p.rows + row * p.pitch + group * slice;
    float sum = 0;
    for (int i = lane; i < slice; i += warp_threads) {
      const float x = Element::widen(numbers[i]);
      sum += x * x;
    }
    for (int distance = warp_threads / 2; distance > 0; distance /= 2) {
      sum += __shfl_xor_sync(~0u, sum, distance);
    }
    const float length = sqrtf(sum);
    const float reciprocal = length < p.shortest ? 0 : 1 / length;
    if (p.reciprocals) {
      if (lane == 0) p.reciprocals[row] = reciprocal;
    } else {
      for (int i = lane; i < slice; i += warp_threads) {
        numbers[i] = (u16)Element::pack(Element::widen(numbers[i]) * reciprocal, 0);
      }
    }
  }
}

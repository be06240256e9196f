// Splits float32 rows, divided by their units, into planes for Hopper's kernels. See tile/planes.cuh.
//
// Compiled with DIMENSION, 64 or 128. One warp processes one row.

#include "attention/rows.cuh"
#include "tile/planes.cuh"

#include "attention/planes.h"

constexpr int lane_numbers = DIMENSION / warp_threads;

extern "C" __global__ void attention_planes(const __grid_constant__ AttentionPlanesParameters p) {
  const i64 row = (i64)blockIdx.x * (blockDim.x / warp_threads) + threadIdx.x / warp_threads;
  if (row >= p.count) return;
  const int lane = threadIdx.x % warp_threads;
  const int head = row % p.heads;
  const int place = row / p.heads % p.length;
  const int batch = row / p.heads / p.length;
  const float *source = p.source.at(batch, place, head);
  float2 number[lane_numbers / 2];
  float largest = 0;
#pragma unroll
  for (int i = 0; i < lane_numbers / 2; ++i) {
    number[i] = ((const float2 *)source)[i * warp_threads + lane];
    largest = fmaxf(largest, fmaxf(fabsf(number[i].x), fabsf(number[i].y)));
  }
#pragma unroll
  for (int distance = warp_threads / 2; distance > 0; distance /= 2) {
    largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, distance));
  }
  const RowUnit own(largest);
  u32 *target = (u32 *)(p.planes + row * plane_count * DIMENSION);
#pragma unroll
  for (int i = 0; i < lane_numbers / 2; ++i) {
    const SplitPair apart = split(number[i].x * own.reciprocal, number[i].y * own.reciprocal);
#pragma unroll
    for (int plane = 0; plane < plane_count; ++plane) {
      target[plane * DIMENSION / 2 + i * warp_threads + lane] = apart.word[plane];
    }
  }
  if (lane == 0) p.units[((i64)batch * p.heads + head) * p.length + place] = own.unit;
}

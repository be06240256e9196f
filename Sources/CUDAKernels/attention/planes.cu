// float32 rows as Hopper's kernels multiply them: divided by their units, and apart. See tile/planes.cuh.
//
// Compiled with DIMENSION, 64 or 128. One warp works on one row.

#include "tile/planes.cuh"

constexpr int lane_numbers = DIMENSION / warp_threads;

struct Parameters {
  const float *base;    // [batch, length, heads, DIMENSION], strides in numbers, the last axis dense
  i64 batch;
  i64 row;
  i64 head;
  u16 *planes;          // [batch, length, heads, planes, DIMENSION]
  float *units;         // [batch, heads, length]
  i64 count;            // rows: batch × length × heads
  int length;
  int heads;
};

extern "C" __global__ void attention_planes(const __grid_constant__ Parameters p) {
  const i64 row = (i64)blockIdx.x * (blockDim.x / warp_threads) + threadIdx.x / warp_threads;
  if (row >= p.count) return;
  const int lane = threadIdx.x % warp_threads;
  const int head = row % p.heads;
  const int place = row / p.heads % p.length;
  const i64 batch = row / p.heads / p.length;
  const float *source = p.base + batch * p.batch + place * p.row + head * p.head;
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
  u32 *target = (u32 *)(p.planes + row * planes * DIMENSION);
#pragma unroll
  for (int i = 0; i < lane_numbers / 2; ++i) {
    const SplitPair apart = split(number[i].x * own.reciprocal, number[i].y * own.reciprocal);
#pragma unroll
    for (int plane = 0; plane < planes; ++plane) {
      target[plane * DIMENSION / 2 + i * warp_threads + lane] = apart.word[plane];
    }
  }
  if (lane == 0) p.units[(batch * p.heads + head) * p.length + place] = own.unit;
}

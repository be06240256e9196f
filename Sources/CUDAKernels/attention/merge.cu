// Exact attention of few queries: merges the results of blocks that shared the keys of a row. See forward.cu.
//
// Each part has its own softmax: O = Σ wᵢ Oᵢ / Σ wᵢ with wᵢ = exp(boundᵢ) Σᵢ. A block merges one row: each
// thread has four columns, teams of threads share the parts, and their sums are added in order.
//
// Compiled with ELEMENT.

#include "attention/rows.cuh"
#include "attention/sink.cuh"
#include "tile/matrix.cuh"

using Element = ELEMENT;
using Number = Element::Number;

#include "attention/row_kernels.h"

DEVICE float warp_maximum(float x) {
#pragma unroll
  for (int distance = warp_threads / 2; distance > 0; distance /= 2) {
    x = fmaxf(x, __shfl_xor_sync(~0u, x, distance));
  }
  return x;
}

extern "C" __global__ void __launch_bounds__(merge_threads)
    attention_merge(const __grid_constant__ AttentionMergeParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  float4 *sums = (float4 *)shared;
  const i64 row = blockIdx.x;
  const int lane = threadIdx.x % warp_threads;

  // 1. The sum in units of the part with the largest bound; every warp computes it redundantly.
  const AttentionPartialSum *parts_of_sum = p.partial_sums + row;
  float largest = -infinity;
  for (int split = lane; split < p.splits; split += warp_threads) {
    const AttentionPartialSum part = parts_of_sum[split * p.rows];
    largest = fmaxf(largest, part.sum > 0 ? part.bound : -infinity);
  }
  largest = warp_maximum(largest);
  const float shift = largest == -infinity ? 0 : largest;
  auto weight = [&](int split) {
    const AttentionPartialSum part = parts_of_sum[split * p.rows];
    // An infinite bound minus itself would be NaN.
    return part.sum * (part.bound == shift ? 1 : exp2_fast((part.bound - shift) * log2_e));
  };
  float sum = 0;
  for (int split = lane; split < p.splits; split += warp_threads) sum += weight(split);
  sum = warp_sum(sum);

  // 2. Each team sums every `teams`-th part, four columns per thread.
  const int chunks = p.pitch / 4;
  const int teams = merge_threads / chunks;
  const int chunk = threadIdx.x % chunks;
  const int team = threadIdx.x / chunks;
  float4 total = {0, 0, 0, 0};
  const float4 *parts = (const float4 *)(p.partial_output + row * p.pitch) + chunk;
  if (team < teams) {
#pragma unroll 8
    for (int split = team; split < p.splits; split += teams) {
      const float4 part = parts[split * p.rows * chunks];
      const float share = weight(split);
      total.x += share * part.x;
      total.y += share * part.y;
      total.z += share * part.z;
      total.w += share * part.w;
    }
    sums[threadIdx.x] = total;
  }
  __syncthreads();

  // 3. Add the teams' sums.
  if (threadIdx.x == 0) p.log_sum_exp[row] = sum == 0 ? -infinity : shift + logf(sum);
  if (team > 0) return;
  for (int other = 1; other < teams; ++other) {
    const float4 part = sums[other * chunks + chunk];
    total.x += part.x;
    total.y += part.y;
    total.z += part.z;
    total.w += part.w;
  }
  const float reciprocal = sum == 0 ? 0 : 1 / sum;
  const i64 head = row / p.queries % p.heads;
  const i64 token = row / p.queries / p.heads * p.queries + row % p.queries;
  Number *target = p.output + (token * p.heads + head) * p.pitch + chunk * 4;
  Element::store(target, total.x * reciprocal, total.y * reciprocal);
  Element::store(target + 2, total.z * reciprocal, total.w * reciprocal);
}

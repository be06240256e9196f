// Normalises rows to x / √(Σ x² + ε), one warp per row.

#include "linear/tokens.cuh"
#include "linear/hopper.h"

constexpr int warps = linear_unit_warps;
constexpr int most_numbers = linear_unit_most_columns / warp_threads;

extern "C" __global__ void __launch_bounds__(warps * warp_threads)
    linear_unit_rows(const __grid_constant__ LinearUnitRowsParameters p) {
  const i64 index = (i64)blockIdx.x * warps + threadIdx.x / warp_threads;
  if (index >= p.rows) return;
  const int head = index % p.heads, token = index / p.heads % p.length, batch = index / p.heads / p.length;
  float x[most_numbers];
  p.source.load(x, p.source.place(batch, token, head), p.width);
  float squares = 0;
#pragma unroll
  for (int n = 0; n < most_numbers; ++n) squares += x[n] * x[n];
  const float factor = rsqrtf(warp_sum(squares) + p.epsilon);
  const i64 target = p.target.place(batch, token, head) + threadIdx.x % warp_threads;
#pragma unroll
  for (int n = 0; n < most_numbers; ++n) {
    if (n * warp_threads < p.width) p.target.store(target + n * warp_threads, x[n] * factor);
  }
}

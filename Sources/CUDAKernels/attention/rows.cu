// The backward pass's numbers per query: δ = Σ dO ∘ O − dlog Σ, which the softmax's gradient subtracts; log Σ
// in base 2; and the query's contribution to the gradient of its head's sink. Where log Σ is too large, the
// kernel that owns the query resolves its maximum and sum instead (attention/large_sums.cuh).
//
// Compiled with ELEMENT. One warp processes 32 queries of a head, so that its accesses to their numbers are
// contiguous; eight lanes read a row.

#include "attention/large_sums.cuh"
#include "attention/rows.cuh"
#include "attention/sink.cuh"

using Element = ELEMENT;
using Number = Element::Number;

#include "attention/row_kernels.h"

constexpr int lanes_of_row = 8;
constexpr int rows_at_once = warp_threads / lanes_of_row;
constexpr int chunk_numbers = chunk_bytes / sizeof(Number);

// A lane's part of the dot product of two rows.
DEVICE float multiply_chunks(const Number *left, const Number *right, int dimension) {
  float sum = 0;
  for (int i = threadIdx.x % lanes_of_row * chunk_numbers; i < dimension; i += lanes_of_row * chunk_numbers) {
    const uint4 a = *(const uint4 *)(left + i);
    const uint4 b = *(const uint4 *)(right + i);
#pragma unroll
    for (int pair = 0; pair < chunk_numbers; pair += 2) {
      const float2 x = Element::pair((const Number *)&a + pair);
      const float2 y = Element::pair((const Number *)&b + pair);
      // A zero output may be that of a query that attends to its sink only, whose gradient may be NaN.
      sum += x.x == 0 ? 0 : x.x * y.x;
      sum += x.y == 0 ? 0 : x.y * y.y;
    }
  }
  return sum;
}

extern "C" __global__ void attention_rows(const __grid_constant__ AttentionRowsParameters p) {
  const i64 group = (i64)blockIdx.x * (blockDim.x / warp_threads) + threadIdx.x / warp_threads;
  if (group >= p.count) return;
  const int lane = threadIdx.x % warp_threads;
  const int groups = CEIL_DIVIDE(p.queries, warp_threads);
  const int head = group % p.heads;
  const int first = group / p.heads % groups * warp_threads;
  const int batch = group / p.heads / groups;
  // 1. Compute the dot products; each lane keeps that of its own query.
  float sum = 0;
#pragma unroll
  for (int step = 0; step < lanes_of_row; ++step) {
    const int row = min(first + step * rows_at_once + lane / lanes_of_row, p.queries - 1);
    float part = multiply_chunks(p.output.at(batch, row, head), p.output_gradient.at(batch, row, head),
                                 p.dimension);
#pragma unroll
    for (int distance = lanes_of_row / 2; distance > 0; distance /= 2) {
      part += __shfl_xor_sync(~0u, part, distance);
    }
    part = __shfl_sync(~0u, part, lane % rows_at_once * lanes_of_row);
    if (lane / rows_at_once == step) sum = part;
  }

  // 2. Combine them with the log-sums.
  const bool exists = first + lane < p.queries;
  const i64 place = ((i64)batch * p.heads + head) * p.queries + min(first + lane, p.queries - 1);
  const float log_sum = p.log_sum_exp[place];
  const bool is_large = exists && is_large_sum(log_sum);
  const bool any_large = __any_sync(~0u, is_large);
  if (lane == 0) p.large[((i64)batch * p.heads + head) * groups + first / warp_threads] = any_large;
  if (!exists) return;
  // A query that attends to nothing has a log-sum of −∞ and no weights.
  const float delta =
      log_sum == -infinity ? 0 : sum - (p.log_sum_exp_gradient ? p.log_sum_exp_gradient[place] : 0);
  p.delta[place] = delta;
  p.shift[place] = is_large ? unknown_shift : log_sum == -infinity ? infinity : log_sum * log2_e;
  p.offset[place] = 0;
  if (is_large) p.again[place] = {unknown_shift, unknown_shift};
  if (p.sink.scores) {
    // A sink has a weight, and no value whose product with dO could be added. An infinite one has all of it.
    const float sink = p.sink(head);
    const float share = log_sum == -infinity ? 0 : sink == log_sum ? 1 : expf(sink - log_sum);
    p.sink.keep_gradient(place, share, delta);
  }
}

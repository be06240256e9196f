// δ = Σ dO ∘ O − dlog Σ of each query: what the softmax's gradient subtracts.
//
// Compiled with ELEMENT (bf16 or f16). One warp works on one row.

#include "tile/types.cuh"

using Element = ELEMENT;

struct Parameters {
  const u16 *output;                    // [batch, queries, heads, pitch]
  const u16 *output_gradient;           // as the output
  const float *log_sum_exp_gradient;    // [batch, heads, queries], or null
  float *delta;                         // [batch, heads, queries]
  i64 count;                            // rows: batch × queries × heads
  int queries;
  int heads;
  int pitch;
  int dimension;
};

extern "C" __global__ void attention_delta(const __grid_constant__ Parameters p) {
  const i64 row = (i64)blockIdx.x * (blockDim.x / warp_threads) + threadIdx.x / warp_threads;
  if (row >= p.count) return;
  const int lane = threadIdx.x % warp_threads;
  float sum = 0;
  for (int i = lane; i < p.dimension; i += warp_threads) {
    sum += Element::widen(p.output[row * p.pitch + i]) *
           Element::widen(p.output_gradient[row * p.pitch + i]);
  }
  for (int distance = warp_threads / 2; distance > 0; distance /= 2) {
    sum += __shfl_xor_sync(~0u, sum, distance);
  }
  if (lane != 0) return;
  const i64 head = row % p.heads;
  const i64 query = row / p.heads % p.queries;
  const i64 batch = row / p.heads / p.queries;
  const i64 place = (batch * p.heads + head) * p.queries + query;
  p.delta[place] = sum - (p.log_sum_exp_gradient ? p.log_sum_exp_gradient[place] : 0);
}

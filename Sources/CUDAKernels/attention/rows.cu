// What the backward pass needs of each query: δ = Σ dO ∘ O − dlog Σ, which the softmax's gradient
// subtracts, log Σ as a power of two, and what the query gives the gradient of its head's sink.
//
// Compiled with ELEMENT. One warp works on one row.

#include "attention/rows.cuh"
#include "tile/matrix.cuh"

struct Parameters {
  Rows<const Number> output;            // [batch, queries, heads, dimension]
  Rows<const Number> output_gradient;
  const float *log_sum_exp;             // [batch, heads, queries]
  const float *log_sum_exp_gradient;    // [batch, heads, queries], or null
  const float *sinks;                   // [heads], or null
  float *delta;                         // [batch, heads, queries]
  float *shift;                         // [batch, heads, queries]
  float *sinks_gradient;                // [batch, heads, queries], with sinks
  i64 count;                            // rows: batch × queries × heads
  int queries;
  int heads;
  int dimension;                        // even
  int unused;                           // to a multiple of eight bytes
};

extern "C" __global__ void attention_rows(const __grid_constant__ Parameters p) {
  const i64 row = (i64)blockIdx.x * (blockDim.x / warp_threads) + threadIdx.x / warp_threads;
  if (row >= p.count) return;
  const int lane = threadIdx.x % warp_threads;
  const int head = row % p.heads;
  const int query = row / p.heads % p.queries;
  const int batch = row / p.heads / p.queries;
  const Number *output = p.output.at(batch, query, head);
  const Number *gradient = p.output_gradient.at(batch, query, head);
  float sum = 0;
  for (int i = 2 * lane; i < p.dimension; i += 2 * warp_threads) {
    const float2 a = Element::pair(output + i);
    const float2 b = Element::pair(gradient + i);
    sum += a.x * b.x + a.y * b.y;
  }
  sum = warp_sum(sum);
  if (lane != 0) return;
  const i64 place = ((i64)batch * p.heads + head) * p.queries + query;
  const float log_sum = p.log_sum_exp[place];
  const float delta = sum - (p.log_sum_exp_gradient ? p.log_sum_exp_gradient[place] : 0);
  p.delta[place] = delta;
  // A query that sees nothing has a log-sum of −∞, and no weights.
  p.shift[place] = log_sum == -infinity ? infinity : log_sum * log2_e;
  if (p.sinks) {
    // A sink has a weight, and no value whose product with dO could be added.
    p.sinks_gradient[place] = log_sum == -infinity ? 0 : -expf(p.sinks[head] - log_sum) * delta;
  }
}

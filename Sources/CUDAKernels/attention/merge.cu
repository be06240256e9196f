// Exact attention of few queries: merges what blocks found that shared the keys of a row. See forward.cu.
//
// Each part has its own softmax: O = Σ wᵢ Oᵢ / Σ wᵢ with wᵢ = exp(log Σᵢ), parts in their order. One warp
// works on one row. Compiled with ELEMENT.

#include "tile/matrix.cuh"

using Element = ELEMENT;
using Number = Element::Number;

struct Parameters {
  const float *partial_output;      // [splits, rows, pitch], rows = batch × heads × queries
  const float *partial_log_sums;    // [splits, rows]
  Number *output;                   // [batch, queries, heads, pitch]
  float *log_sum_exp;               // [rows]
  i64 rows;
  int splits;
  int heads;
  int queries;
  int pitch;
};

extern "C" __global__ void attention_merge(const __grid_constant__ Parameters p) {
  const i64 row = (i64)blockIdx.x * (blockDim.x / warp_threads) + threadIdx.x / warp_threads;
  if (row >= p.rows) return;
  const int lane = threadIdx.x % warp_threads;
  float largest = -infinity;
  for (int split = 0; split < p.splits; ++split) {
    largest = fmaxf(largest, p.partial_log_sums[split * p.rows + row]);
  }
  const float shift = largest == -infinity ? 0 : largest;
  auto weight = [&](int split) {
    return exp2_fast((p.partial_log_sums[split * p.rows + row] - shift) * log2_e);
  };
  float sum = 0;
  for (int split = 0; split < p.splits; ++split) sum += weight(split);
  const float reciprocal = sum > 0 ? 1 / sum : 0;
  const i64 head = row / p.queries % p.heads;
  const i64 token = row / p.queries / p.heads * p.queries + row % p.queries;
  Number *target = p.output + (token * p.heads + head) * p.pitch;
  for (int i = lane; i < p.pitch; i += warp_threads) {
    float total = 0;
    for (int split = 0; split < p.splits; ++split) {
      total += weight(split) * p.partial_output[(split * p.rows + row) * p.pitch + i];
    }
    target[i] = Element::narrow(total * reciprocal);
  }
  if (lane == 0) p.log_sum_exp[row] = sum > 0 ? shift + logf(sum) : -infinity;
}

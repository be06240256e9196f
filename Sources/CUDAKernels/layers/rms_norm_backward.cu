// The gradients of layers/rms_norm.cu: with r = 1 / √(mean(x²) + ε) of a row,
//
//     dx = r · (g w − x r² mean(g w x)) ,  dw = Σ g x r over rows
//
// A block processes adjacent rows; their share of dw goes to the block's own row of `partial`.
//
// Compiled with ELEMENT (f32, bf16 or f16).

#include "tile/numbers.cuh"
#include "tile/team.cuh"

#include "layers/kernels.h"

using Element = ELEMENT;

extern "C" __global__ void layers_rms_norm_backward(
    const __grid_constant__ LayersRMSNormBackwardParameters<Stored<Element>> p) {
  extern __shared__ __align__(1024) u8 shared[];
  // A row of sums per team, then the teams' shared memory.
  float *sums = (float *)shared;
  const int teams = blockDim.x / p.row_threads;
  const Team team(p.row_threads, sums + (p.partial ? teams * p.n : 0));
  float *own = sums + team.index * p.n;
  const int first = team.rank * group_size;
  const int step = team.threads * group_size;
  if (p.partial) {
    for (int i = first; i < p.n; i += step) {
      for (int k = i; k < p.n && k < i + group_size; k++) own[k] = 0;
    }
  }
  const i64 block_first = (i64)blockIdx.x * p.block_rows;
  const i64 rows = min(p.rows - block_first, (i64)p.block_rows);
  for (i64 r = team.index; r < rows; r += team.count) {
    const i64 row = block_first + r;
    const Stored<Element> *x = p.x + row * p.n;
    const Stored<Element> *gradient = p.gradient + row * p.n;
    const float scale = p.reciprocals[row];
    float product = 0;
    for (int i = first; i < p.n; i += step) {
      const Group numbers = read_group<Element>(x + i, p.n - i);
      const Group g = read_group<Element>(gradient + i, p.n - i);
      Group weight = {p.factor, p.factor, p.factor, p.factor};
      if (p.weight) weight = read_group(p.weight, p.weight_type, i, p.n - i);
      for (int k = 0; k < group_size; k++) product += g.at[k] * weight.at[k] * numbers.at[k];
    }
    const float mean = team.sum(product) / p.n * scale * scale * scale;
    for (int i = first; i < p.n; i += step) {
      const Group numbers = read_group<Element>(x + i, p.n - i);
      const Group g = read_group<Element>(gradient + i, p.n - i);
      Group result = {p.factor, p.factor, p.factor, p.factor};
      if (p.weight) result = read_group(p.weight, p.weight_type, i, p.n - i);
      for (int k = 0; k < group_size; k++) {
        result.at[k] = g.at[k] * result.at[k] * scale - numbers.at[k] * mean;
        if (p.partial && i + k < p.n) own[i + k] += g.at[k] * numbers.at[k] * scale;
      }
      write_group<Element>(p.x_gradient + row * p.n + i, p.n - i, result);
    }
  }
  if (!p.partial) return;
  __syncthreads();
  for (int i = threadIdx.x; i < p.n; i += blockDim.x) {
    float total = 0;
    for (int other = 0; other < teams; other++) total += sums[other * p.n + i];
    p.partial[(i64)blockIdx.x * p.n + i] = total;
  }
}

// dx = y · (g − Σ g y) over rows: the gradient of layers/softmax.cu.
//
// Compiled with ELEMENT (f32, bf16 or f16).

#include "tile/numbers.cuh"
#include "tile/team.cuh"

#include "layers/kernels.h"

using Element = ELEMENT;

extern "C" __global__ void layers_softmax_backward(
    const __grid_constant__ LayersSoftmaxBackwardParameters<Stored<Element>> p) {
  extern __shared__ __align__(1024) u8 shared[];
  const Team team(p.row_threads, (float *)shared);
  const i64 row = (i64)blockIdx.x * team.count + team.index;
  if (row >= p.rows) return;
  const i64 start = row * p.n;
  const int first = team.rank * group_size;
  const int step = team.threads * group_size;
  float product = 0;
  for (int i = first; i < p.n; i += step) {
    const Group y = read_group<Element>(p.y + start + i, p.n - i);
    const Group g = read_group<Element>(p.gradient + start + i, p.n - i);
    for (int k = 0; k < group_size; k++) product += y.at[k] * g.at[k];
  }
  const float delta = team.sum(product);
  for (int i = first; i < p.n; i += step) {
    Group y = read_group<Element>(p.y + start + i, p.n - i);
    const Group g = read_group<Element>(p.gradient + start + i, p.n - i);
    for (int k = 0; k < group_size; k++) y.at[k] *= g.at[k] - delta;
    write_group<Element>(p.x_gradient + start + i, p.n - i, y);
  }
}

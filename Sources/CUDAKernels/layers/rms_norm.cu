// y = x / √(mean(x²) + ε) · weight over rows, or · factor without a weight.
//
// Compiled with ELEMENT (f32, bf16 or f16).

#include "tile/numbers.cuh"
#include "tile/team.cuh"

#include "layers/kernels.h"

using Element = ELEMENT;

extern "C" __global__ void layers_rms_norm(
    const __grid_constant__ LayersRMSNormParameters<Stored<Element>> p) {
  extern __shared__ __align__(1024) u8 shared[];
  const Team team(p.row_threads, (float *)shared);
  const i64 row = (i64)blockIdx.x * team.count + team.index;
  if (row >= p.rows) return;
  const Stored<Element> *x = p.x + row * p.n;
  const int first = team.rank * group_size;
  const int step = team.threads * group_size;
  float squares = 0;
  for (int i = first; i < p.n; i += step) {
    const Group group = read_group<Element>(x + i, p.n - i);
    for (float number : group.at) squares += number * number;
  }
  const float scale = 1 / sqrtf(team.sum(squares) / p.n + p.epsilon);
  if (team.rank == 0) p.reciprocals[row] = scale;
  for (int i = first; i < p.n; i += step) {
    Group group = read_group<Element>(x + i, p.n - i);
    if (p.weight) {
      const Group weight = read_group(p.weight, p.weight_type, i, p.n - i);
      for (int k = 0; k < group_size; k++) group.at[k] *= scale * weight.at[k];
    } else {
      for (float &number : group.at) number *= scale * p.factor;
    }
    write_group<Element>(p.y + row * p.n + i, p.n - i, group);
  }
}

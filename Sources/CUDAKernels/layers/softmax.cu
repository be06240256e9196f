// y = exp(x) / Σ exp(x) over rows. A row of only −∞ gives zeros.
//
// Compiled with ELEMENT (f32, bf16 or f16).

#include "tile/numbers.cuh"
#include "tile/team.cuh"

#include "layers/kernels.h"

using Element = ELEMENT;

extern "C" __global__ void layers_softmax(
    const __grid_constant__ LayersSoftmaxParameters<Stored<Element>> p) {
  extern __shared__ __align__(1024) u8 shared[];
  const Team team(p.row_threads, (float *)shared);
  const i64 row = (i64)blockIdx.x * team.count + team.index;
  if (row >= p.rows) return;
  const Stored<Element> *x = p.x + row * p.n;
  const int first = team.rank * group_size;
  const int step = team.threads * group_size;
  float greatest = -infinity;
  for (int i = first; i < p.n; i += step) {
    const Group group = read_group<Element>(x + i, p.n - i, -infinity);
    for (float number : group.at) greatest = fmaxf(greatest, number);
  }
  greatest = team.maximum(greatest);
  // A maximum of −∞ must not be subtracted: −∞ − −∞ is NaN.
  const float shift = greatest == -infinity ? 0 : greatest;
  float sum = 0;
  for (int i = first; i < p.n; i += step) {
    const Group group = read_group<Element>(x + i, p.n - i, -infinity);
    for (float number : group.at) sum += expf(number - shift);
  }
  sum = team.sum(sum);
  const float inverse = sum == 0 ? 0 : 1 / sum;
  for (int i = first; i < p.n; i += step) {
    Group group = read_group<Element>(x + i, p.n - i);
    for (float &number : group.at) number = expf(number - shift) * inverse;
    write_group<Element>(p.y + row * p.n + i, p.n - i, group);
  }
}

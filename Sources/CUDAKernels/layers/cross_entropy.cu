// The negative log-likelihood of each row's target, log Σ exp(x) − x[target], and its gradient with respect
// to the logits, (exp(x − log Σ exp(x)) − [target]) · g. Log Σ is stored as the row's maximum and the rest,
// because a sum with a large maximum would round the rest away.
//
// A target that is not a class makes the loss and the gradient of its row NaN, so that the mistake shows;
// with `skips_negative`, a negative target makes both zero.
//
// Compiled with ELEMENT (f32, bf16 or f16).

#include "tile/numbers.cuh"
#include "tile/team.cuh"

#include "layers/kernels.h"

using Element = ELEMENT;

extern "C" __global__ void layers_cross_entropy(
    const __grid_constant__ LayersCrossEntropyParameters<Stored<Element>> p) {
  extern __shared__ __align__(1024) u8 shared[];
  const Team team(p.row_threads, (float *)shared);
  const i64 row = (i64)blockIdx.x * team.count + team.index;
  if (row >= p.rows) return;
  const Stored<Element> *x = p.logits + row * p.n;
  const int first = team.rank * group_size;
  const int step = team.threads * group_size;
  const int target = p.targets[row];
  const bool is_class = target >= 0 && target < p.n;
  const bool is_skipped = p.skips_negative && target < 0;
  const float nan = __uint_as_float(0x7fffffffu);

  // The maximum, and log Σ minus the maximum.
  float greatest, rest;
  if (p.losses) {
    const float chosen = is_class ? Element::widen(x[target]) : nan;
    greatest = -infinity;
    for (int i = first; i < p.n; i += step) {
      const Group group = read_group<Element>(x + i, p.n - i, -infinity);
      for (float number : group.at) greatest = fmaxf(greatest, number);
    }
    greatest = team.maximum(greatest);
    float sum = 0;
    for (int i = first; i < p.n; i += step) {
      const Group group = read_group<Element>(x + i, p.n - i, -infinity);
      for (float number : group.at) sum += expf(number - greatest);
    }
    rest = logf(team.sum(sum));
    if (team.rank == 0) {
      p.losses[row] = is_skipped ? 0 : (greatest - chosen) + rest;
      if (p.log_sums) p.log_sums[row] = {greatest, rest};
    }
  } else {
    const float2 log_sum = p.log_sums[row];
    greatest = log_sum.x;
    rest = log_sum.y;
  }

  if (!p.logit_gradients) return;
  float g = p.row_gradients ? p.row_gradients[row] : *p.gradient;
  if (!is_class) g = nan;
  for (int i = first; i < p.n; i += step) {
    Group group = read_group<Element>(x + i, p.n - i);
    for (int k = 0; k < group_size; k++) {
      const float likelihood = expf(group.at[k] - greatest - rest);
      group.at[k] = is_skipped ? 0 : (likelihood - (i + k == target ? 1 : 0)) * g;
    }
    write_group<Element>(p.logit_gradients + row * p.n + i, p.n - i, group);
  }
}

// Cumulative sums along sequences, for the logit decay of forgetting attention: of the decays up to each
// token, and in the backward pass, of the gradients of these sums from each token on.
//
// A decay that cuts the sequence, such as −∞, is in no sum: sums start anew after it, and those of the
// backward pass end there.
//
// Sums start after the first key of a sequence that the mask keeps: decays up to there lie between no query
// and a key that it attends to, and may have any value. Before that key, sums run backwards.
//
// Compiled with BACKWARD, 0 or 1. A block processes one head of one sequence, each thread a stretch of it, in
// float64, because the sums are subtracted from one another.

#include "attention/terms.cuh"

// The threshold of ``ExactInputs/cuttingDecay``.
DEVICE bool is_cut(float decay) { return decay <= -0x1p64f; }

#include "attention/decay.h"

struct AttentionPartOfSum : AttentionPartOfSumFields {
  __device__ void add(const AttentionPartOfSum &next) {
    sum = next.cuts > 0 ? next.sum : sum + next.sum;
    cuts += next.cuts;
  }
};

using PartOfSum = AttentionPartOfSum;

// Passes the inclusive prefix sums of `count` numbers to `take`. Called by all threads of the block.
template <typename Numbers, typename Take>
DEVICE void sum_along(PartOfSum *totals, int count, const Numbers &number, const Take &take) {
  const int stretch = CEIL_DIVIDE(count, blockDim.x);
  const int first = threadIdx.x * stretch;
  const int end = min(count, first + stretch);
  PartOfSum total = {0, 0};
  for (int place = first; place < end; ++place) total.add(number(place));
  __syncthreads();
  totals[threadIdx.x] = total;
  __syncthreads();
  PartOfSum sum = {0, 0};
  for (int thread = 0; thread < threadIdx.x; ++thread) sum.add(totals[thread]);
  for (int place = first; place < end; ++place) {
    sum.add(number(place));
    take(place, sum);
  }
}

extern "C" __global__ void attention_decay(const __grid_constant__ AttentionDecayParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  PartOfSum *totals = (PartOfSum *)shared;
  const Segment s = p.segments[blockIdx.y];
  const int head = blockIdx.x;
  const i64 own = ((i64)s.batch * p.heads + head) * p.length + s.query_start;
  auto decay = [&](int i) {
    return p.decay[s.batch * p.batch + (s.query_start + i) * p.row + head * p.head];
  };
  if (BACKWARD) {
    auto token = [&](int place) { return s.query_count - 1 - place; };
    sum_along(
        totals, s.query_count,
        [&](int place) -> PartOfSum {
          const int i = token(place);
          if (is_cut(decay(i))) return {0, 1};
          return {(double)p.query_sums[own + i] - (double)p.key_sums[own + i], 0};
        },
        [&](int place, const PartOfSum &sum) {
          const i64 row = (i64)s.batch * p.length + s.query_start + token(place);
          p.gradient[row * p.heads + head] = (float)sum.sum;
        });
    return;
  }
  const u8 *kept = p.key_mask ? p.key_mask + (i64)s.batch * p.length + s.query_start : nullptr;
  int origin = 0;
  while (kept && origin < s.query_count && !kept[origin]) ++origin;
  // `sign` is −1 for sums that run backwards.
  auto part = [&](int i, int sign) -> PartOfSum {
    return is_cut(decay(i)) ? PartOfSum{0, 1} : PartOfSum{(double)sign * decay(i), 0};
  };
  auto store = [&](int i, const PartOfSum &sum, int sign) {
    const float large = (float)sum.sum;
    p.sums[own + i] = {large, (float)(sum.sum - large), sign * sum.cuts, 0};
  };
  sum_along(
      totals, s.query_count - origin,
      [&](int place) { return place == 0 ? PartOfSum{0, 0} : part(origin + place, 1); },
      [&](int place, const PartOfSum &sum) { store(origin + place, sum, 1); });
  sum_along(
      totals, origin,
      [&](int place) { return origin - place < s.query_count ? part(origin - place, -1) : PartOfSum{0, 0}; },
      [&](int place, const PartOfSum &sum) { store(origin - 1 - place, sum, -1); });
}

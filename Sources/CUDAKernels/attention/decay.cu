// Running sums along sequences, for the logit decay of forgetting attention: Σ of the decays up to a
// token, and backward Σ from a token on of what its sum's gradient is.
//
// A decay that cuts the sequence, −∞ above all, is in no sum: those behind it begin anew. What is summed
// backward ends there too.
//
// Compiled with BACKWARD, 0 or 1. A block works on one head of one sequence: each thread on a stretch of
// it, in float64, because a sum over a long sequence is subtracted from another.

#include "attention/terms.cuh"

// As ``ExactInputs/cuttingDecay`` has it.
DEVICE bool is_cut(float decay) { return decay <= -0x1p64f; }

// A sum of numbers in a row: that behind its last cut, and how many cuts there are.
struct PartOfSum {
  double sum;
  int cuts;

  __device__ void add(const PartOfSum &next) {
    sum = next.cuts > 0 ? next.sum : sum + next.sum;
    cuts += next.cuts;
  }
};

struct Parameters {
  const Segment *segments;
  const float *decay;         // [batch, length, heads] at these strides
  i64 batch;
  i64 row;
  i64 head;
  DecaySum *sums;             // [batch, heads, length]
  const float *query_sums;    // backward: [batch, heads, length], the gradient of a query's sum,
  const float *key_sums;      // and of a key's, which is subtracted
  float *gradient;            // backward: [batch, length, heads]
  int length;
  int heads;
};

extern "C" __global__ void attention_decay(const __grid_constant__ Parameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  PartOfSum *totals = (PartOfSum *)shared;
  const Segment s = p.segments[blockIdx.y];
  const int head = blockIdx.x;
  const i64 own = ((i64)s.batch * p.heads + head) * p.length + s.query_start;
  const int stretch = (s.query_count + blockDim.x - 1) / blockDim.x;
  const int first = threadIdx.x * stretch;
  const int end = min(s.query_count, first + stretch);

  // Places count from where the sums begin: backward, from the end.
  auto token = [&](int place) { return BACKWARD ? s.query_count - 1 - place : place; };
  auto number = [&](int place) -> PartOfSum {
    const int i = token(place);
    const float decay = p.decay[s.batch * p.batch + (s.query_start + i) * p.row + head * p.head];
    if (is_cut(decay)) return {0, 1};
    if (BACKWARD) return {(double)p.query_sums[own + i] - (double)p.key_sums[own + i], 0};
    return {decay, 0};
  };
  PartOfSum total = {0, 0};
  for (int place = first; place < end; ++place) total.add(number(place));
  totals[threadIdx.x] = total;
  __syncthreads();
  PartOfSum sum = {0, 0};
  for (int thread = 0; thread < threadIdx.x; ++thread) sum.add(totals[thread]);
  for (int place = first; place < end; ++place) {
    sum.add(number(place));
    const int i = token(place);
    if (BACKWARD) {
      p.gradient[((i64)s.batch * p.length + s.query_start + i) * p.heads + head] = (float)sum.sum;
    } else {
      const float large = (float)sum.sum;
      p.sums[own + i] = {large, (float)(sum.sum - large), sum.cuts, 0};
    }
  }
}

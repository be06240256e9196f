// The gradient of the decay of linear attention, from the flows through tokens that the passes of the
// backward pass computed (linear/flows.cuh).
//
// The flow is known at both ends of a segment, and summed from its beginning. Every term of the sum has a rounding
// error in proportion to its size: the deviation at the end is distributed over the tokens in proportion to the
// squares of their terms, the variances of these errors.
//
// One block per segment of a sequence and head, one warp per chunk. Compiled with the macros of
// linear/hopper.cuh for those passes, and
//   ERASES   whether the update erases: then the flow to erasing reads is subtracted from that to queries.

#define READS 1

#include "linear/flows.cuh"

constexpr int warps = segment_chunks;
constexpr int halves = chunk_tokens / warp_threads;

// The sum over the lanes before this one, and the sum over this lane and those after it.
DEVICE float sum_before(float x) {
  const float before = __shfl_up_sync(~0u, inclusive_sum(x), 1);
  return threadIdx.x % warp_threads == 0 ? 0 : before;
}
DEVICE float sum_from(float x) {
  const int opposite = warp_threads - 1 - threadIdx.x % warp_threads;
  return __shfl_sync(~0u, inclusive_sum(__shfl_sync(~0u, x, opposite)), opposite);
}

// ⟨S, dS⟩ at the beginning of a segment of this index, by a warp.
DEVICE float flow_before(const LinearFlowSumsParameters &p, const Place &at, int segment) {
  const i64 first = ((i64)(at.sequence.segment + segment) * p.operands.value_heads + at.head) * p.slots;
  float flow = 0;
  for (int n = threadIdx.x % warp_threads; n < p.slots; n += warp_threads) {
    flow += p.queries.products[first + n];
    if (ERASES) flow -= p.erased.products[first + n];
  }
  return warp_sum(flow);
}

// The same at its end.
DEVICE float flow_behind(const LinearFlowSumsParameters &p, const Place &at, int segment) {
  const bool is_last = (segment + 1) * segment_tokens >= at.sequence.count;
  if (!is_last || at.sequence.ended < 0) return flow_before(p, at, segment + 1);
  return p.final_flows ? p.final_flows[(i64)at.sequence.ended * p.operands.value_heads + at.head] : 0;
}

extern "C" __global__ void __launch_bounds__(warps * warp_threads)
    linear_flow_sums(const __grid_constant__ LinearFlowSumsParameters p) {
  // Of each chunk, the flow after it minus the flow before it, and the squares of the terms.
  extern __shared__ __align__(1024) u8 shared[];
  float *gains = (float *)shared, *variances = gains + warps;   // [8] each
  const Place at(p.operands, chunk_tokens, segment_tokens);
  const int lane = threadIdx.x % warp_threads, warp = threadIdx.x / warp_threads;
  const int segment = blockIdx.y, chunk = segment * segment_chunks + warp;
  if (segment * segment_tokens >= at.sequence.count) return;

  // The sum of a token's shares; their squares are added.
  auto sum = [&](const float *slots, int count, int token, float &squares) {
    float sum = 0;
    if (token >= at.sequence.count) return sum;
    const float *first = slots + flow_place(p.operands, at, token);
#pragma unroll 4
    for (int n = 0; n < count; ++n) {
      const float share = first[n * p.tokens];
      sum += share;
      squares += share * share;
    }
    return sum;
  };
  // Two tokens per lane, 32 apart.
  float rows[halves], columns[halves], both[halves], squares[halves] = {};
#pragma unroll
  for (int half = 0; half < halves; ++half) {
    const int token = chunk * chunk_tokens + half * warp_threads + lane;
    // Pairs within a chunk are the same for both tokens: their errors do not go on.
    float ignored = 0;
    rows[half] = sum(p.queries.rows, p.slots, token, squares[half]);
    columns[half] = sum(p.queries.columns, p.slots, token, squares[half]);
    float pairs = sum(p.queries.pairs, p.slices, token, ignored);
    if (ERASES) {
      rows[half] -= sum(p.erased.rows, p.slots, token, squares[half]);
      columns[half] -= sum(p.erased.columns, p.slots, token, squares[half]);
      pairs -= sum(p.erased.pairs, p.slices, token, ignored);
    }
    both[half] = rows[half] + pairs;
  }
  const float all_rows = warp_sum(rows[0] + rows[1]);
  const float first_columns = warp_sum(columns[0]), first_squares = warp_sum(squares[0]);
  const float gain = warp_sum(columns[0] + columns[1]) - all_rows;
  const float variance = first_squares + warp_sum(squares[1]);
  if (lane == 0) {
    gains[warp] = gain;
    variances[warp] = variance;
  }
  __syncthreads();

  float flow = flow_before(p, at, segment), variance_before = 0, all_variances = 0;
  float deviation = flow - flow_behind(p, at, segment);
#pragma unroll
  for (int n = 0; n < warps; ++n) {
    if (n < warp) {
      flow += gains[n];
      variance_before += variances[n];
    }
    deviation += gains[n];
    all_variances += variances[n];
  }
  const float slope = all_variances > 0 ? deviation / all_variances : 0;
  // The flow through the whole chunk.
  flow -= all_rows;
  const float last_half = warp_sum(both[1]);
#pragma unroll
  for (int half = 0; half < halves; ++half) {
    const int token = chunk * chunk_tokens + half * warp_threads + lane;
    const float from = sum_from(both[half]) + (half == 0 ? last_half : 0);
    const float before = sum_before(columns[half]) + (half == 0 ? 0 : first_columns);
    const float error = slope * (variance_before + sum_before(squares[half]) + (half == 0 ? 0 : first_squares));
    if (token < at.sequence.count) {
      p.decay.store(p.decay.place(at.sequence.batch, at.sequence.first + token, at.head), from + before + flow - error);
    }
  }
}

// The gradient of the decay of linear attention, from the flows through tokens that the passes of the
// backward pass computed (linear/flows.cuh).
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

extern "C" __global__ void __launch_bounds__(warps * warp_threads)
    linear_flow_sums(const __grid_constant__ LinearFlowSumsParameters p) {
  // The flow after each chunk minus the flow before it.
  extern __shared__ __align__(1024) u8 shared[];
  float *gains = (float *)shared;   // [8]
  const Place at(p.operands, chunk_tokens, segment_tokens);
  const int lane = threadIdx.x % warp_threads, warp = threadIdx.x / warp_threads;
  const int segment = blockIdx.y, chunk = segment * segment_chunks + warp;
  if (segment * segment_tokens >= at.sequence.count) return;

  auto sum = [&](const float *slots, int count, int token) {
    float sum = 0;
    if (token >= at.sequence.count) return sum;
    const float *first = slots + flow_place(p.operands, at, token);
#pragma unroll 4
    for (int n = 0; n < count; ++n) sum += first[n * p.tokens];
    return sum;
  };
  // Two tokens per lane, 32 apart.
  float rows[halves], columns[halves], both[halves];
#pragma unroll
  for (int half = 0; half < halves; ++half) {
    const int token = chunk * chunk_tokens + half * warp_threads + lane;
    rows[half] = sum(p.queries.rows, p.slots, token);
    columns[half] = sum(p.queries.columns, p.slots, token);
    float pairs = sum(p.queries.pairs, p.slices, token);
    if (ERASES) {
      rows[half] -= sum(p.erased.rows, p.slots, token);
      columns[half] -= sum(p.erased.columns, p.slots, token);
      pairs -= sum(p.erased.pairs, p.slices, token);
    }
    both[half] = rows[half] + pairs;
  }
  const float all_rows = warp_sum(rows[0] + rows[1]);
  const float first_columns = warp_sum(columns[0]);
  const float gain = warp_sum(columns[0] + columns[1]) - all_rows;
  if (lane == 0) gains[warp] = gain;
  __syncthreads();

  const i64 first = ((i64)(at.sequence.segment + segment) * p.operands.value_heads + at.head) * p.slots;
  float flow = 0;
  for (int n = lane; n < p.slots; n += warp_threads) {
    flow += p.queries.products[first + n];
    if (ERASES) flow -= p.erased.products[first + n];
  }
  flow = warp_sum(flow);
  for (int n = 0; n < warp; ++n) flow += gains[n];
  // The flow through the whole chunk.
  flow -= all_rows;
  const float last_half = warp_sum(both[1]);
#pragma unroll
  for (int half = 0; half < halves; ++half) {
    const int token = chunk * chunk_tokens + half * warp_threads + lane;
    const float from = sum_from(both[half]) + (half == 0 ? last_half : 0);
    const float before = sum_before(columns[half]) + (half == 0 ? 0 : first_columns);
    if (token < at.sequence.count) {
      p.decay.store(p.decay.place(at.sequence.batch, at.sequence.first + token, at.head), from + before + flow);
    }
  }
}

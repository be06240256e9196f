// The gradient of the decay of linear attention, of what the passes of the backward pass found to flow through
// tokens (linear/flows.cuh).
//
// One block for a sequence and head, a warp for each segment in turn. Compiled with what linear/hopper.cuh lists
// for those passes.

#include "linear/flows.cuh"

struct Parameters {
  Operands operands;
  const float *rows;       // R [slots, b, hv, t]
  const float *columns;    // C, the same
  const float *pairs;      // D [slices, b, hv, t]
  const float *products;   // ⟨S, dS⟩ at the beginning of segments [segments, hv, slots]
  Rows decay;              // [b, t, hv, 1] float32
  i64 tokens;
  int slots;
  int slices;
};

constexpr int warps = 4;

// The sums of the lanes before this one, and of this one and those behind it.
DEVICE float sum_before(float x) {
  const float before = __shfl_up_sync(~0u, inclusive_sum(x), 1);
  return threadIdx.x % warp_threads == 0 ? 0 : before;
}
DEVICE float sum_from(float x) {
  const int opposite = warp_threads - 1 - threadIdx.x % warp_threads;
  return __shfl_sync(~0u, inclusive_sum(__shfl_sync(~0u, x, opposite)), opposite);
}

extern "C" __global__ void __launch_bounds__(warps * warp_threads)
    linear_flow_sums(const __grid_constant__ Parameters p) {
  const Place at(p.operands, segment_tokens);
  const int lane = threadIdx.x % warp_threads;
  const int segments = (at.sequence.count + segment_tokens - 1) / segment_tokens;
  auto sum = [&](const float *slots, int count, int token) {
    float sum = 0;
    if (token >= at.sequence.count) return sum;
    const float *first = slots + flow_place(p.operands, at, token);
    for (int n = 0; n < count; ++n) sum += first[n * p.tokens];
    return sum;
  };
  for (int segment = threadIdx.x / warp_threads; segment < segments; segment += warps) {
    const i64 first = ((i64)(at.sequence.chunk + segment) * p.operands.value_heads + at.head) * p.slots;
    float flow = lane < p.slots ? p.products[first + lane] : 0;
    flow = warp_sum(flow);
    for (int n = 0; n < segment_chunks; ++n) {
      const int chunk = segment * segment_chunks + n;
      if (chunk * chunk_tokens >= at.sequence.count) break;
      // Two tokens a lane, 32 apart.
      float rows[2], both[2], columns[2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int token = chunk * chunk_tokens + half * warp_threads + lane;
        rows[half] = sum(p.rows, p.slots, token);
        both[half] = rows[half] + sum(p.pairs, p.slices, token);
        columns[half] = sum(p.columns, p.slots, token);
      }
      const float passing = flow - warp_sum(rows[0] + rows[1]);
      const float second_half = warp_sum(both[1]);
      const float first_half = warp_sum(columns[0]);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int token = chunk * chunk_tokens + half * warp_threads + lane;
        // From the token on, and before it.
        const float later = sum_from(both[half]) + (half == 0 ? second_half : 0);
        const float before = sum_before(columns[half]) + (half == 1 ? first_half : 0);
        if (token < at.sequence.count) {
          p.decay.store(p.decay.place(at.sequence.batch, at.sequence.first + token, at.head), later + before + passing);
        }
      }
      flow = passing + first_half + warp_sum(columns[1]);
    }
  }
}

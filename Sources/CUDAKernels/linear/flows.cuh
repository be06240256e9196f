#pragma once

#include "linear/scores.cuh"

// The gradient of a token's decay is the flow through it, from tokens before it to tokens from it on:
//
//     dg_t = Σ_{i ≥ t > j} X_ij ,   X_ij = scale e^(G_i − G_j) (q_i·k_j) (dO_i·v_j) .
//
// Inside a chunk, with R_i = q_i·dq_i and C_j = k_j·dk_j of the gradients through the states before and after
// the chunk, and with F the flow through the whole chunk,
//
//     dg_t = Σ_{i ≥ t} (D_i + R_i) + Σ_{j < t} C_j + F ,   D_i = Σ_{j < i} X_ij − Σ_{l > i} X_li ,
//
// without cancellation of large terms, because no term has pairs of a token with itself. The pass for dq
// computes R and D, the pass for dk computes C. F is updated from chunk to chunk; every few chunks it is
// computed anew as ⟨S, dS⟩, from the state that the former pass stored there and the gradient of the latter.

// The number of chunks after which F is computed anew.
constexpr int segment_chunks = linear_segment_chunks;
constexpr int segment_tokens = segment_chunks * chunk_tokens;

// With decay by channel, F is computed anew at every chunk, one number per channel, and the rest follows from
// dq and dk themselves, without the pairs of a token with itself (linear/channel_gradients.cu).

using Flows = LinearFlows;

// The sums over pairs by the warps of the score group.
struct PairShares {
  float rows[chunk_tokens];
  float columns[group_warps][chunk_tokens];
};

// The index of a token of a sequence in [b, hv, t].
DEVICE i64 flow_place(const Operands &o, const Place &at, int token) {
  return ((i64)at.sequence.batch * o.value_heads + at.head) * o.length + at.sequence.first + token;
}

// Sums over the eight lanes that hold the same columns of an accumulator. Each lane receives the sums of two
// tokens of its own: 8 (lane / 4) + 2 (lane mod 4) and + 1.
DEVICE float2 sum_over_rows(float (&x)[chunk_tokens / 8][2]) {
  const int lane = own_lane();
#pragma unroll
  for (int width = 4; width >= 1; width /= 2) {
    const bool has_upper = lane & 4 * width;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (j >= width) break;
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float given = has_upper ? x[j][i] : x[j + width][i];
        const float kept = has_upper ? x[j + width][i] : x[j][i];
        x[j][i] = kept + __shfl_xor_sync(~0u, given, 4 * width);
      }
    }
  }
  return {x[0][0], x[0][1]};
}

// Stores a warp's share of the dot products of rows of the outputs, transposed, with their partners.
DEVICE void store_row_products(const Flows &flows, const Operands &o, const Place &at, const TokenSums &output,
                               const TokenLeft &partner, int first, int count) {
  TokenSums numbers;
  widen_left(numbers, partner);
  float products[chunk_tokens / 8][2];
#pragma unroll
  for (int j = 0; j < chunk_tokens / 8; ++j) {
#pragma unroll
    for (int i = 0; i < 2; ++i) products[j][i] = output[j][i] * numbers[j][i] + output[j][i + 2] * numbers[j][i + 2];
  }
  const float2 sums = sum_over_rows(products);
  const int warp = read_thread_index() / warp_threads, token = own_lane() * 2;
  float *target = flows.rows + (at.slice * state_warps + warp) * flows.tokens +
                  flow_place(o, at, first + token);
  if (token < count) target[0] = sums.x;
  if (token + 1 < count) target[1] = sums.y;
}

// Whether a segment begins at the turn's first token.
DEVICE bool begins_segment(const Walk &walk) {
  return walk.is_first_piece() && walk.chunk() % (CHANNELS ? 1 : segment_chunks) == 0;
}

// The index, in [segments, hv], of the segment that begins with a chunk.
DEVICE i64 segment_of(const Operands &o, const Place &at, int chunk) {
  const int segment = CHANNELS ? at.sequence.chunk + chunk : at.sequence.segment + chunk / segment_chunks;
  return (i64)segment * o.value_heads + at.head;
}

// The index of a state group's warp in [segments, hv, slices, warps].
DEVICE i64 segment_warp(const Operands &o, const Place &at, int chunk) {
  const i64 block = segment_of(o, at, chunk) * o.slices + at.slice;
  return block * state_warps + read_thread_index() / warp_threads;
}

// The address of a lane's part of the state at a segment's beginning.
DEVICE u32 *segment_state(const Flows &flows, const Operands &o, const Place &at, int chunk) {
  return flows.states + segment_warp(o, at, chunk) * (KEYS / 4 * warp_threads) + own_lane();
}

DEVICE void store_segment_state(u32 *target, const StateSums &state) {
#pragma unroll
  for (int j = 0; j < KEYS / 8; ++j) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      target[(j * 2 + half) * warp_threads] = bf16::pack(state[j][2 * half], state[j][2 * half + 1]);
    }
  }
}

// Stores a warp's share of ⟨S, dS⟩, with the stored S.
DEVICE void store_state_product(const Flows &flows, const Operands &o, const Place &at, const StateSums &state,
                                int chunk) {
  const u32 *source = segment_state(flows, o, at, chunk);
  // The sums of the two rows, which are channels with decay by channel.
  float sums[2] = {};
#pragma unroll
  for (int j = 0; j < KEYS / 8; ++j) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const u32 pair = source[(j * 2 + half) * warp_threads];
      sums[half] += bf16::widen((u16)pair) * state[j][2 * half] + bf16::widen((u16)(pair >> 16)) * state[j][2 * half + 1];
    }
  }
  if (!CHANNELS) {
    const float sum = warp_sum(sums[0] + sums[1]);
    if (own_lane() == 0) flows.products[segment_warp(o, at, chunk)] = sum;
    return;
  }
  const i64 first = segment_of(o, at, chunk) * o.value_dimension + at.first_column;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float sum = lane_sum<4>(sums[half]);
    const int row = read_thread_index() / warp_threads * 16 + own_lane() / 4 + half * 8;
    if (own_lane() % 4 == 0) flows.products[first + row] = sum;
  }
}

// Stores D of a chunk, from the products of queries with keys and of dO with values, by the score group.
DEVICE void store_pair_sums(PairShares &shares, const Flows &flows, const Operands &o, const Place &at,
                            const Gates &gates, const TokenSums &products, const Member &own, int first_token,
                            int count) {
  float rows[2] = {};
  float2 first = {};
  each_pair<true>(gates, gates.query_rows, products, own, [&](int j, int half, float left, float right) {
    // Rows after the end have no pairs and may hold NaN.
    const bool exists = own.warp * warp_rows + half * 8 + own.row() < count;
    const float2 pair = {exists ? left : 0, exists ? right : 0};
    rows[half] += pair.x + pair.y;
    if (half == 0) {
      first = pair;
      return;
    }
    float sums[2] = {first.x + pair.x, first.y + pair.y};
#pragma unroll
    for (int distance = 4; distance < warp_threads; distance *= 2) {
#pragma unroll
      for (int i = 0; i < 2; ++i) sums[i] += __shfl_xor_sync(~0u, sums[i], distance);
    }
    if (own.row() == 0) *(float2 *)(shares.columns[own.warp] + j * 8 + own.column()) = {sums[0], sums[1]};
  });
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float sum = lane_sum<4>(rows[half]);
    if (own.column() == 0) shares.rows[own.warp * warp_rows + half * 8 + own.row()] = sum;
  }
  meet_own_group();
  const int token = own_thread();
  if (token < min(count, chunk_tokens)) {
    float sum = shares.rows[token];
#pragma unroll
    for (int warp = 0; warp < group_warps; ++warp) {
      if (warp >= token / warp_rows) sum -= shares.columns[warp][token];
    }
    flows.pairs[at.slice * flows.tokens + flow_place(o, at, first_token + token)] = sum;
  }
  meet_own_group();
}

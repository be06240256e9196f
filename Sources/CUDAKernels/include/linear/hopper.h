#pragma once

#include "linear/operands.h"
#include "tile/constants.h"
#include "tile/shared_memory.h"
#include "tile/tensor_map.h"

// Linear attention on Hopper. See linear/hopper.cuh.

// Tokens per chunk; columns of the values per state group; and chunks per segment (linear/flows.cuh).
CONSTANT(linear_hopper_tokens, 64);
CONSTANT(linear_hopper_columns, 64);
CONSTANT(linear_segment_chunks, 8);
CONSTANT(linear_group_warps, group_threads / warp_threads);

// Pipeline stages. If tokens erase with other keys than they write with, shared memory has room for only two
// stages of keys.
CONSTANT(linear_value_stages, 2);
CONSTANT(linear_score_stages, 2);
CONSTANT(linear_output_stages, 2);
CONSTANT(linear_gate_stages, 3);
CONSTANT_FUNCTION SIZE linear_key_stages(SIZE has_erasers) { return has_erasers ? 2 : 3; }

// Threads of a block with state groups for `columns`, a score group and a copying group.
CONSTANT_FUNCTION SIZE linear_hopper_threads(SIZE columns) {
  return (columns / linear_hopper_columns + 2) * group_threads;
}

// `Gates` (linear/gates.cuh): eight numbers per token, one more for each of the score group's warps, the whole
// chunk's, and two per decaying channel.
CONSTANT_FUNCTION SIZE linear_gate_bytes(SIZE channels) {
  return ((8 + linear_group_warps) * linear_hopper_tokens + 4 + 2 * channels) * float_bytes;
}

// Shared memory of a block of linear/hopper_forward.cu and hopper_value_gradients.cu, as offsets in bytes, with the
// queries at 0.
struct LinearHopperLayout {
  SIZE keys;
  SIZE erasers;
  SIZE values;
  SIZE partners;
  SIZE scores;
  SIZE inverses;
  SIZE outputs;
  SIZE gates;
  SIZE sizes;
  SIZE shares;
  SIZE barriers;
  SIZE end;
};

// `channels`: the decaying channels of a block; `number_bytes`: the size of an element.
CONSTANT_FUNCTION struct LinearHopperLayout linear_hopper_layout(
    SIZE keys, SIZE columns, SIZE number_bytes, SIZE erases, SIZE has_erasers, SIZE has_partners, SIZE has_shares,
    SIZE channels) {
  const SIZE stages = linear_key_stages(has_erasers);
  const SIZE key_tiles = stages * tile_bytes(linear_hopper_tokens, keys, number_bytes);
  const SIZE columns_tile = tile_bytes(linear_hopper_tokens, columns, number_bytes);
  const SIZE score_tiles = linear_score_stages * tile_bytes(linear_hopper_tokens, linear_hopper_tokens, number_bytes);
  struct LinearHopperLayout layout = {0};
  layout.keys = key_tiles;
  layout.erasers = layout.keys + key_tiles;
  layout.values = layout.erasers + (has_erasers ? key_tiles : 0);
  layout.partners = layout.values + linear_value_stages * columns_tile;
  layout.scores = layout.partners + (has_partners ? linear_value_stages * columns_tile : 0);
  layout.inverses = layout.scores + score_tiles;
  layout.outputs = layout.inverses + (erases ? score_tiles : 0);
  layout.gates = layout.outputs + linear_output_stages * columns_tile;
  layout.sizes = layout.gates + linear_gate_stages * linear_gate_bytes(channels);
  layout.shares = layout.sizes + 2 * linear_hopper_tokens * float_bytes;
  // A number per token, and one for each of the score group's warps.
  layout.barriers = layout.shares + (has_shares ? (1 + linear_group_warps) * linear_hopper_tokens * float_bytes : 0);
  layout.end = layout.barriers + 3 * ring_bytes(stages) + ring_bytes(linear_value_stages) +
               2 * ring_bytes(linear_score_stages) + ring_bytes(linear_gate_stages);
  return layout;
}

// Intermediate results for the gradient of the decay (linear/flows.cuh). Each warp of a state group, or each
// block, has its own slot.
struct LinearFlows {
  DEVICE_POINTER(float) rows;          // R or C [slices · warps, b, hv, t]
  // D [slices, b, hv, t], of the pass for dq; by channel, scale dO_t·v_t [b, hv, t]
  DEVICE_POINTER(float) pairs;
  // bf16 pairs [segments, hv, slices, warps, k / 4, 32]: S at the segments' beginnings
  DEVICE_POINTER(unsigned) states;
  // ⟨S, dS⟩ there, of the pass for dk [segments, hv, slices · warps]; by channel [chunks, hv, k]
  DEVICE_POINTER(float) products;
  long long tokens;                    // of all batch entries, times value heads
};

// linear/hopper_forward.cu and hopper_value_gradients.cu
struct LinearHopperParameters {
  struct TensorMap queries;
  struct TensorMap keys;
  struct TensorMap values;
  struct TensorMap partners;           // of PARTNERS, as the outputs; copied with the values
  struct TensorMap inverses;           // of erasing tokens (linear/hopper_inverse.cu)
  struct TensorMap erasers;            // of ERASERS, as the keys
  struct LinearOperands operands;
  struct LinearRows output;            // [b, t, hv, v]
  // Of linear/hopper_value_gradients.cu with LOW_RANK, whose outputs are first rows: second rows, and a copy of those
  // of the values.
  struct LinearRows second_output;
  struct LinearRows values_copy;
  DEVICE_POINTER(float) final_state;   // as the initial one, or null
  DEVICE_POINTER(float) maps;          // M [n, hv, k, k] or, of additive tokens, [n, hv]; without outputs
  // Value heads that share a head of the queries, of the keys, of the values and of the partners.
  int query_group;
  int key_group;
  int value_group;
  int partner_group;
  int is_transposed;                   // whether states are [n, hv, v, k] in memory
  struct LinearFlows flows;
  struct LinearRows betas;             // the gradient of β [b, t, hv, 1] in float32
  // Of CHANNELS, by linear/channel_gates.cu: how often a chunk is halved [chunks, hv], and factors of the state before
  // its tokens and after them [chunks, hv, 2, channels].
  DEVICE_POINTER(const unsigned char) levels;
  DEVICE_POINTER(const float) edges;
  // Of LOW_RANK, which of a token's rows are in memory: one of the constants below.
  int query_rows;
  int key_rows;
  int value_rows;
  int output_rows;
  int scales_second_rows;              // whether `scale` is that of second rows only, and of first rows −1
};
CHECK_TENSOR_MAP(LinearHopperParameters, erasers);

// Of the two rows of a token with a low-rank update (linear/low_rank_gates.cu), those that a tensor has; the other
// row of each token is zero.
CONSTANT(linear_all_rows, 0);
CONSTANT(linear_first_rows, 1);
CONSTANT(linear_second_rows, 2);

// linear/hopper_inverse.cu
struct LinearHopperInverseParameters {
  struct TensorMap keys;
  struct TensorMap erasers;            // of ERASERS, the keys on the left of L
  struct LinearOperands operands;
  DEVICE_POINTER(const unsigned char) levels;  // of CHANNELS
  DEVICE_POINTER(unsigned short) inverses;     // [chunks · 64, hv, 64]
  int key_group;                       // value heads that share a head of the keys
};
CHECK_TENSOR_MAP(LinearHopperInverseParameters, erasers);

// Rows of a square of float32 numbers in shared memory are padded, so that columns are read without conflicts.
CONSTANT(linear_lower_pitch, linear_hopper_tokens + 4);

// Bytes of shared memory of linear/hopper_inverse.cu: keys and erasers, whose memory the square reuses;
// gates, two inverse norms per token, and a barrier.
CONSTANT_FUNCTION SIZE linear_inverse_bytes(SIZE keys, SIZE number_bytes, SIZE has_erasers, SIZE channels) {
  const SIZE key_tiles = (has_erasers ? 2 : 1) * tile_bytes(linear_hopper_tokens, keys, number_bytes);
  const SIZE square = linear_hopper_tokens * linear_lower_pitch * float_bytes;
  return larger_of(key_tiles, square) + linear_gate_bytes(channels) + 2 * linear_hopper_tokens * float_bytes +
         barrier_bytes;
}

// linear/join_pieces.cu: columns and threads of a block.
CONSTANT(linear_join_columns, 16);
CONSTANT(linear_join_threads, 256);

struct LinearJoinParameters {
  DEVICE_POINTER(const float) initial_state;  // [n, hv, k, v], or null
  DEVICE_POINTER(const float) maps;    // M [pieces, hv, k, k], [pieces, hv] or [pieces, hv, k]
  DEVICE_POINTER(const float) effects; // B [pieces, hv, k, v]
  DEVICE_POINTER(float) states;        // [pieces, hv, k, v]: before each piece
  DEVICE_POINTER(float) final_state;   // [n, hv, k, v], or null
  DEVICE_POINTER(const int) first_pieces;     // [n + 1]
  int value_heads;
  int value_dimension;
};

// Bytes of shared memory: the state's columns and, of erasing updates, two maps.
CONSTANT_FUNCTION SIZE linear_join_bytes(SIZE keys, SIZE erases) {
  return (keys * linear_join_columns + (erases ? 2 * keys * keys : 0)) * float_bytes;
}

// linear/flow_sums.cu: the flows computed by the pass for reads and by that for keys.
struct LinearFlowShares {
  DEVICE_POINTER(const float) rows;      // R [slots, b, hv, t]
  DEVICE_POINTER(const float) columns;   // C, likewise
  DEVICE_POINTER(const float) pairs;     // D [slices, b, hv, t]
  DEVICE_POINTER(const float) products;  // ⟨S, dS⟩ at the beginnings of segments [segments, hv, slots]
};

struct LinearFlowSumsParameters {
  struct LinearOperands operands;
  struct LinearFlowShares queries;
  struct LinearFlowShares erased;
  DEVICE_POINTER(const float) final_flows;  // ⟨S, dS⟩ behind the sequences [n, hv], or null for zero
  struct LinearRows decay;             // [b, t, hv, 1] float32
  long long tokens;
  int slots;
  int slices;
};

// linear/channel_gates.cu and channel_gradients.cu: threads of a block that share a pair of channels.
CONSTANT(linear_channel_parts, 8);
// Channels of a block of channel_gradients.cu, so few that several blocks share a multiprocessor.
CONSTANT(linear_channel_slice, 64);

CONSTANT_FUNCTION SIZE linear_channel_threads(SIZE channels) { return linear_channel_parts * channels / 2; }

// Bytes of shared memory: four pairs of numbers per thread, and a level per warp.
CONSTANT_FUNCTION SIZE linear_channel_bytes(SIZE threads) {
  return (4 * 2 * threads + threads / warp_threads) * float_bytes;
}

struct LinearChannelGatesParameters {
  struct LinearOperands operands;
  DEVICE_POINTER(unsigned) queries;    // q̂, pairs of elements [b, t, hv, k / 2]
  DEVICE_POINTER(unsigned) keys;       // k̂, likewise
  DEVICE_POINTER(unsigned) erasers;    // ǩ, likewise
  DEVICE_POINTER(unsigned char) levels;  // [chunks, hv]
  DEVICE_POINTER(float2) edges;        // [chunks, hv, 2, k / 2]
};

struct LinearChannelGradientsParameters {
  struct LinearOperands operands;
  // Pairs of elements [b, t, hv, k / 2]: a and b, which dq and dk replace; and c.
  DEVICE_POINTER(unsigned) queries_gradient;
  DEVICE_POINTER(unsigned) keys_gradient;
  DEVICE_POINTER(const unsigned) erasers_gradient;
  DEVICE_POINTER(const unsigned char) levels;     // [chunks, hv]
  DEVICE_POINTER(const float2) crossing;          // F [chunks, hv, k / 2]
  DEVICE_POINTER(const float2) erased_crossing;   // subtracted from it if tokens erase, likewise
  DEVICE_POINTER(const float2) final_crossing;    // F behind the sequences [n, hv, k / 2], or null for zero
  DEVICE_POINTER(const float) diagonals;          // d [b, hv, t]
  struct LinearRows decay;             // dg [b, t, hv, k], rows as the decay's
};

// linear/low_rank_gates.cu. All rows are pairs of elements [b, 2 t, hv, k / 2].
struct LinearLowRankGatesParameters {
  struct LinearOperands operands;        // a and b are the tensors of the update
  DEVICE_POINTER(unsigned) reads;        // −â and q̂
  DEVICE_POINTER(unsigned) writes;       // b̂ and k̂
  DEVICE_POINTER(unsigned char) levels;  // [chunks, hv]
  DEVICE_POINTER(float2) edges;          // [chunks, hv, 2, k / 2]
};

// linear/low_rank_gradients.cu
struct LinearLowRankGradientsParameters {
  struct LinearOperands operands;
  DEVICE_POINTER(const unsigned) reads_gradient;   // of −â and q̂, pairs of elements [b, 2 t, hv, k / 2]
  DEVICE_POINTER(const unsigned) writes_gradient;  // of b̂ and k̂, likewise
  DEVICE_POINTER(unsigned) queries_gradient;      // dq [b, t, hv, k / 2]
  DEVICE_POINTER(unsigned) a_gradient;            // da, likewise
  DEVICE_POINTER(unsigned) b_gradient;            // db, likewise
  DEVICE_POINTER(unsigned) keys_gradient;         // dk, likewise
  DEVICE_POINTER(const unsigned char) levels;     // [chunks, hv]
  DEVICE_POINTER(const float2) crossing;          // F [chunks, hv, k / 2]
  DEVICE_POINTER(const float2) final_crossing;    // F behind the sequences [n, hv, k / 2], or null for zero
  DEVICE_POINTER(const float) diagonals;          // d [b, hv, 2 t]
  struct LinearRows decay;                        // dg [b, t, hv, k], rows as the decay's
};

// linear/unit_rows.cu: rows per block, one per warp; and the largest number of elements of a row.
CONSTANT(linear_unit_warps, 8);
CONSTANT(linear_unit_most_columns, 256);

struct LinearUnitRowsParameters {
  struct LinearRows source;            // [batch, length, heads, width]
  struct LinearRows target;            // likewise
  long long rows;                      // batch × length × heads
  long long length;
  int heads;
  int width;                           // a multiple of 32
  float epsilon;
};

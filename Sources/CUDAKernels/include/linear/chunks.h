#pragma once

#include "linear/operands.h"
#include "tile/constants.h"
#include "tile/shared_memory.h"

// linear/forward.cu
struct LinearForwardParameters {
  struct LinearOperands operands;
  struct LinearRows output;            // [b, t, hv, v]; not computed if the base is null
  DEVICE_POINTER(float) final_state;   // [n, hv, k, v], or null
  DEVICE_POINTER(float) states;        // [chunks, hv, k, v]: before each chunk; or null
};

// linear/backward.cu
struct LinearBackwardParameters {
  struct LinearOperands operands;
  struct LinearRows output_gradient;   // [b, t, hv, v]; zeros if the base is null
  DEVICE_POINTER(const float) final_state_gradient;  // [n, hv, k, v], or null for zeros
  DEVICE_POINTER(const float) states;  // [chunks, hv, k, v]: before each chunk
  struct LinearRows values;            // dv [b, t, hv, v]
  DEVICE_POINTER(float) initial_state;  // [n, hv, k, v], or null
  // Slots, [slices, b, t, hv, k] each; null for an absent input.
  DEVICE_POINTER(float) queries;
  DEVICE_POINTER(float) keys;
  DEVICE_POINTER(float) reads;
  DEVICE_POINTER(float) writes;
  DEVICE_POINTER(float) decay;         // [slices, b, t, hv, 1 or k]
  DEVICE_POINTER(float) beta;          // [slices, b, t, hv]
  DEVICE_POINTER(float) bonus;         // [n, slices, hv, k]
  long long tokens;                    // b t
  long long length;                    // t
};

// linear/step.cu
struct LinearStepParameters {
  struct LinearOperands operands;
  struct LinearRows output;            // [b, t, hv, v]
  DEVICE_POINTER(float) final_state;   // [n, hv, k, v]
  int update;                          // linear_additive, linear_erasing or linear_low_rank
};

// linear/sum_slots.cu
struct LinearSumSlotsParameters {
  DEVICE_POINTER(const void) slots;    // [slots, rows, heads, group, width]
  struct LinearRows target;            // [batch, length, heads, width]
  struct LinearRows source;            // like the target: rows that were normalised; a null base if none were
  long long rows;                      // batch × length
  long long length;
  int slot_count;
  int heads;
  int group;
  int width;
  float scale;
  float epsilon;
  int type;                            // of the slots
};

// Values of the macro UPDATE.
CONSTANT(linear_additive, 0);
CONSTANT(linear_erasing, 1);
CONSTANT(linear_low_rank, 2);

// Tokens of a chunk, and threads of a block.
CONSTANT(linear_chunk_tokens, 16);
CONSTANT(linear_threads, 8 * warp_threads);

// Products with 16 × `columns` results are computed in 16 × 16 pieces, each shared by up to four warps.
CONSTANT(linear_piece_size, 16);
CONSTANT(linear_most_parts, 4);

CONSTANT_FUNCTION SIZE linear_parts(SIZE columns) {
  return smaller_of(linear_most_parts, linear_threads / warp_threads / (columns / linear_piece_size));
}

// Rows are padded, so that the lanes of a matrix operand, which read four elements of eight rows each, read
// from different banks.
CONSTANT_FUNCTION SIZE linear_key_pitch(SIZE keys) { return keys + 4; }
CONSTANT_FUNCTION SIZE linear_column_pitch(SIZE columns) {
  return columns + (columns % warp_threads == 0 ? 4 : 1);
}
CONSTANT_FUNCTION SIZE linear_share_pitch(SIZE columns) { return columns + 4; }

CONSTANT_FUNCTION SIZE linear_reads(SIZE update) { return update == linear_additive ? 1 : 2; }
CONSTANT_FUNCTION SIZE linear_writes(SIZE update) { return update == linear_low_rank ? 2 : 1; }

// Shared memory of linear/forward.cu and backward.cu, as offsets in floats: the state, at 0, and its
// gradient; the arrays of `Chunk` (linear/chunk.cuh); and in the backward pass those of the gradients.
struct LinearChunkLayout {
  SIZE state_gradient;
  SIZE reads;
  SIZE writes;
  SIZE factors;
  SIZE whole;
  SIZE rest;
  SIZE written;
  SIZE scores;
  SIZE shares;
  SIZE found;
  SIZE read_gradients;
  SIZE write_gradients;
  SIZE through;
  SIZE score_gradients;
  SIZE end;
};

CONSTANT_FUNCTION struct LinearChunkLayout linear_chunk_layout(SIZE update, SIZE keys, SIZE columns,
                                                               SIZE is_backward) {
  const SIZE reads = linear_reads(update), writes = linear_writes(update);
  const SIZE state = keys * linear_column_pitch(columns);
  const SIZE rows = linear_chunk_tokens * linear_key_pitch(keys);
  const SIZE values = linear_chunk_tokens * linear_column_pitch(columns);
  const SIZE scores = reads * writes * linear_chunk_tokens * linear_chunk_tokens;
  struct LinearChunkLayout layout = {0};
  layout.state_gradient = state;
  layout.reads = layout.state_gradient + (is_backward ? state : 0);
  layout.writes = layout.reads + reads * rows;
  layout.factors = layout.writes + writes * rows;
  layout.whole = layout.factors + rows;
  layout.rest = layout.whole + keys;
  layout.written = layout.rest + keys;
  layout.scores = layout.written + writes * values;
  layout.shares = layout.scores + scores;
  layout.found = layout.shares + linear_parts(columns) * linear_piece_size * linear_share_pitch(columns);
  layout.end = layout.found;
  if (is_backward) {
    layout.read_gradients = layout.found + reads * values;
    layout.write_gradients = layout.read_gradients + reads * rows;
    layout.through = layout.write_gradients + writes * rows;
    layout.score_gradients = layout.through + keys;
    layout.end = layout.score_gradients + scores;
  }
  return layout;
}

// linear/step.cu: columns of a block, and offsets in floats, with the queries at 0.
CONSTANT(linear_step_columns, 32);

struct LinearStepLayout {
  SIZE keys;
  SIZE reads;
  SIZE writes;
  SIZE whole;
  SIZE rest;
  SIZE found_shares;
  SIZE output_shares;
  SIZE end;
};

CONSTANT_FUNCTION struct LinearStepLayout linear_step_layout(SIZE keys) {
  struct LinearStepLayout layout = {0};
  layout.keys = keys;
  layout.reads = layout.keys + keys;
  layout.writes = layout.reads + keys;
  layout.whole = layout.writes + keys;
  layout.rest = layout.whole + keys;
  layout.found_shares = layout.rest + keys;
  layout.output_shares = layout.found_shares + linear_threads;
  layout.end = layout.output_shares + linear_threads;
  return layout;
}

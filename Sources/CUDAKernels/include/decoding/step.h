#pragma once

#include "tile/constants.h"
#include "tile/shared_memory.h"

// decoding/step.cu: one token through a model, as a list of stages that all blocks of the device run in one
// launch.

// Warps of a block that compute; one more fetches weights.
CONSTANT(decoding_warps, 15);
CONSTANT(decoding_workers, decoding_warps *warp_threads);
CONSTANT(decoding_threads, decoding_workers + warp_threads);

// The ring through which weights arrive: a slot holds a row of a matrix, or an equal part of it. The warp
// that fetches fills as many slots at once as it has lanes, so there are more.
CONSTANT(decoding_slots, 48);
CONSTANT(decoding_slot_bytes, 3072);

// Matrices whose products with one vector are a stage.
CONSTANT(decoding_matrices, 6);

// Numbers from one block to another carry the number of their step. Their owner writes both as one word, so
// a reader who finds the tag has the number, without a barrier.
CONSTANT(tagged_bytes, 8);

// What a stage computes.
CONSTANT(decoding_gather, 0);   // output = the token's row of a table
CONSTANT(decoding_product, 1);  // output = matrices times a vector
CONSTANT(decoding_recur, 2);    // output = a linear recurrence's
CONSTANT(decoding_attend, 3);   // partial softmax over a part of the keys
CONSTANT(decoding_merge, 4);    // output = the parts' sum

// The input of a product: as it is; divided by its root mean square; or so for each of equal groups.
CONSTANT(decoding_plain, 0);
CONSTANT(decoding_normalized, 1);
CONSTANT(decoding_grouped, 2);

// What becomes of a product.
CONSTANT(decoding_store, 0);
CONSTANT(decoding_add, 1);     // to the residual
CONSTANT(decoding_swiglu, 2);  // of the first matrix's rows and the second's
CONSTANT(decoding_logits, 3);  // numbers without tags

// The gate of an input.
CONSTANT(decoding_ungated, 0);
CONSTANT(decoding_swish, 1);
CONSTANT(decoding_sigmoid, 2);

// The log-decay of a recurrence.
CONSTANT(decoding_log_sigmoid, 1);  // log σ(x + b) / divisor
CONSTANT(decoding_low_rank, 2);     // the same of x = W y, for each channel
CONSTANT(decoding_step_decay, 3);   // −e^a softplus(x + b)

struct DecodingMatrix {
  DEVICE_POINTER(const void) weight;  // [rows, columns]
  int rows;
  int first;                          // the first row of the output
};

// A vector that is convolved over the last tokens before a recurrence reads it.
struct DecodingConvolution {
  DEVICE_POINTER(const float) weight;  // [channels, width], or null
  DEVICE_POINTER(const float) bias;    // [channels], or null
  // [2, channels, width − 1]: the inputs before an even token, and before an odd one.
  DEVICE_POINTER(float) inputs;
  int channels;
  int width;
};

// A multiple of 16 bytes. Vectors between stages are tagged numbers. Parameters that are not matrices are float32,
// whatever the model's type.
struct DecodingStage {
  int kind;
  int columns;                                  // of the input
  DEVICE_POINTER(const unsigned long long) input;
  DEVICE_POINTER(unsigned long long) output;
  float scale;                                  // of the output
  float epsilon;                                // of the norm
  DEVICE_POINTER(const float) norm;             // [columns], or null

  // decoding_gather
  DEVICE_POINTER(const void) table;             // [tokens, columns]

  // decoding_product
  int input_kind;
  int output_kind;
  int group;
  int gate_kind;
  DEVICE_POINTER(const unsigned long long) gate;      // [columns]
  DEVICE_POINTER(const unsigned long long) residual;  // [rows]
  float residual_scale;
  float softcap;                                // of logits; 0 for none
  int rows;                                     // of all matrices, or of each of a pair
  // A block's rows, of which the first `more_rows` blocks have one more; of a gather its columns.
  int block_rows;
  int more_rows;
  int parts;                                    // of a row, one for each slot
  int part_columns;
  int matrix_count;
  DEVICE_POINTER(const float) bias;             // [rows] of all matrices, or null
  struct DecodingMatrix matrices[decoding_matrices];

  // decoding_recur and decoding_attend
  DEVICE_POINTER(const unsigned long long) queries;
  DEVICE_POINTER(const unsigned long long) keys;
  DEVICE_POINTER(const unsigned long long) values;
  int heads;
  int key_dimension;
  int value_dimension;
  int query_group;                              // heads that share a query, a key, a value, a decay
  int key_group;
  int value_group;
  int decay_group;

  // decoding_recur
  int decay_kind;
  DEVICE_POINTER(const unsigned long long) decay;     // a number of each head, or y of the low rank
  DEVICE_POINTER(const void) decay_weight;      // [decay heads · key dimension, rank]
  DEVICE_POINTER(const float) decay_bias;       // [decay heads · key dimension] or [heads], or null
  DEVICE_POINTER(const float) rates;            // [heads]: e^a
  DEVICE_POINTER(const unsigned long long) beta;      // [heads]: of the delta rule; null without
  DEVICE_POINTER(float) state;                  // [heads, key dimension, value dimension]
  int rank;
  float divisor;
  float smallest_decay;
  float beta_scale;
  float unit_epsilon;                           // below 0: queries and keys stay as they are
  int applies_silu;
  struct DecodingConvolution convolutions[3];   // of queries, keys, values

  // decoding_attend and decoding_merge; `key_norm` is as `norm`, which is of queries
  DEVICE_POINTER(const float) key_norm;         // [dimension], or null
  DEVICE_POINTER(const float) cosines;          // [positions, rotated / 2]
  DEVICE_POINTER(const float) sines;
  DEVICE_POINTER(void) key_rows;                // [capacity, key heads, dimension]
  DEVICE_POINTER(void) value_rows;
  // [heads, splits, dimension + 2]: sums of a part, its greatest score and its sum of weights
  DEVICE_POINTER(unsigned long long) sums;
  int rotated;
  int splits;
  float score_scale;
  int unused[2];    // fills the last 16 bytes
};

// The parameters of a launch, for the stages from `first` to before `last`.
struct DecodingStepParameters {
  DEVICE_POINTER(const struct DecodingStage) stages;
  DEVICE_POINTER(float) logits;
  int first;
  int last;
  int token;
  int position;
  unsigned tag;
  int widest;    // columns of the widest input
  int most_units;
};

// Keys of the smallest part of them.
CONSTANT(decoding_part_keys, 64);

CONSTANT_FUNCTION SIZE decoding_row_parts(SIZE columns, SIZE number_bytes) {
  return CEIL_DIVIDE(columns * number_bytes, decoding_slot_bytes);
}
CONSTANT_FUNCTION SIZE decoding_part_columns(SIZE columns, SIZE number_bytes) {
  return round_up(CEIL_DIVIDE(columns, decoding_row_parts(columns, number_bytes)), chunk_bytes / number_bytes);
}

// Parts of the keys that are attended in a step with `keys` keys, and the keys of each but the last.
CONSTANT_FUNCTION SIZE decoding_part_length(SIZE keys, SIZE splits) {
  return round_up(CEIL_DIVIDE(keys, splits), decoding_part_keys);
}
CONSTANT_FUNCTION SIZE decoding_part_count(SIZE keys, SIZE splits) {
  return CEIL_DIVIDE(keys, decoding_part_length(keys, splits));
}

// Shared memory in bytes: the ring at 0, which is aligned most strictly.
struct DecodingLayout {
  SIZE barriers;
  SIZE stages;   // two for the warps that compute, two for the one that fetches
  SIZE numbers;  // the input, or what else a stage keeps
  SIZE squares;  // sums for norms
  SIZE shares;   // sums of the warps, or of the parts of rows
  SIZE end;
};

// The least room for the input, which other stages use too.
CONSTANT(decoding_least_numbers, 4608);
CONSTANT(decoding_least_shares, 1280);
CONSTANT(decoding_most_squares, 512);

CONSTANT_FUNCTION struct DecodingLayout decoding_layout(SIZE widest, SIZE most_units) {
  struct DecodingLayout layout = {0};
  layout.barriers = decoding_slots * decoding_slot_bytes;
  layout.stages = layout.barriers + ring_bytes(decoding_slots);
  layout.numbers = layout.stages + 4 * (SIZE)sizeof(struct DecodingStage);
  layout.squares = layout.numbers + float_bytes * larger_of(round_up(widest, 8), decoding_least_numbers);
  layout.shares = layout.squares + float_bytes * decoding_most_squares;
  layout.end = layout.shares + float_bytes * larger_of(most_units, decoding_least_shares);
  return layout;
}

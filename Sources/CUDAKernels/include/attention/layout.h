#pragma once

#include "tile/constants.h"
#include "tile/shared_memory.h"

// Shared memory of a block of exact attention, as byte offsets: two resident tiles of the rows that the block
// owns, the first at 0; stages of two streamed tiles; stages of a bias's tiles; float32 numbers of the streamed
// rows; and barriers, where TMA fills the stages. The first tile of a pair has the columns of keys, the second
// those of values.
struct AttentionLayout {
  SIZE second_owned;
  SIZE first_passing;
  SIZE second_passing;
  SIZE bias;
  SIZE numbers;
  SIZE barriers;
  SIZE end;
};

// Stages of kernels without a macro for them.
CONSTANT(attention_stages, 2);

// What a block owns: queries, whose outputs reuse their memory at the end; queries and the gradients of their
// outputs; or keys and values.
CONSTANT(owns_queries, 0);
CONSTANT(owns_queries_and_outputs, 1);
CONSTANT(owns_keys_and_values, 2);

// The numbers per streamed row: the shift, δ and the offset of a query, if the block owns keys; a factor of
// products with the first tensor, its inverse norm or unit, and one of those with the second; and the parts of a
// sum of logit decays.
CONSTANT_FUNCTION SIZE attention_passing_numbers(SIZE owner, SIZE has_first_units, SIZE has_second_units,
                                                 SIZE decay_parts) {
  return (owner == owns_keys_and_values ? 3 : 0) + (has_first_units ? 1 : 0) + (has_second_units ? 1 : 0) +
         decay_parts;
}

// A tile of a bias, as TMA copies it: `queries` rows of whole blocks of 128 bytes.
CONSTANT_FUNCTION SIZE attention_bias_bytes(SIZE queries, SIZE keys, SIZE number_bytes) {
  return tile_bytes(queries, keys, number_bytes);
}

// `numbers` is the count per streamed row, `bias_bytes` the size of a tile of the bias.
CONSTANT_FUNCTION struct AttentionLayout attention_layout(
    SIZE owner, SIZE owned_rows, SIZE passing_rows, SIZE key_columns, SIZE value_columns, SIZE number_bytes,
    SIZE stages, SIZE bias_bytes, SIZE numbers, SIZE has_barriers) {
  const SIZE key_pitch = tile_pitch_bytes(key_columns, number_bytes);
  const SIZE value_pitch = tile_pitch_bytes(value_columns, number_bytes);
  const SIZE first_pitch = owner == owns_queries ? larger_of(key_pitch, value_pitch) : key_pitch;
  struct AttentionLayout layout = {0};
  layout.second_owned = owned_rows * first_pitch;
  layout.first_passing = layout.second_owned + (owner == owns_queries ? 0 : owned_rows * value_pitch);
  layout.second_passing = layout.first_passing + stages * passing_rows * key_pitch;
  layout.bias = layout.second_passing + stages * passing_rows * value_pitch;
  layout.numbers = layout.bias + stages * bias_bytes;
  layout.barriers = layout.numbers + stages * passing_rows * numbers * float_bytes;
  // One barrier for the resident tiles, and a ring for each streamed tensor.
  layout.end = layout.barriers + (has_barriers ? barrier_bytes + 2 * ring_bytes(stages) : 0);
  return layout;
}

// attention/bias_gradient.cu: one tile of each tensor; afterwards the sums of the tile's pairs.
CONSTANT_FUNCTION SIZE attention_bias_gradient_bytes(SIZE query_rows, SIZE key_rows, SIZE key_columns,
                                                     SIZE value_columns, SIZE number_bytes) {
  return larger_of(attention_layout(owns_queries_and_outputs, query_rows, key_rows, key_columns,
                                    value_columns, number_bytes, 1, 0, 0, 0)
                       .end,
                   query_rows * key_rows * float_bytes);
}

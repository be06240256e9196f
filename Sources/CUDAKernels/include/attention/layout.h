#pragma once

#include "tile/constants.h"
#include "tile/shared_memory.h"

// Shared memory of a block of exact attention, as offsets in bytes: tiles of the rows that it owns, at 0 the
// first; stages of two tiles that pass; float32 numbers of the passing rows; and barriers, where the copying
// unit fills the stages. In each pair the first tile has the columns of keys, the second those of values.
struct AttentionLayout {
  SIZE second_owned;
  SIZE first_passing;
  SIZE second_passing;
  SIZE numbers;
  SIZE barriers;
  SIZE end;
};

// Stages, where no macro says how many.
CONSTANT(attention_stages, 2);

// What a block owns: queries, whose outputs take their place in the end; queries and the gradients of their
// outputs; or keys and values.
CONSTANT(owns_queries, 0);
CONSTANT(owns_queries_and_outputs, 1);
CONSTANT(owns_keys_and_values, 2);

// Numbers of a passing row. Of queries, with the gradients of their outputs: the shift, δ and the offset. The
// reciprocal of its length, with COSINE. Where planes are multiplied, a unit for each of the two tensors.
CONSTANT_FUNCTION SIZE attention_passing_numbers(SIZE owner, SIZE has_lengths, SIZE has_planes) {
  return (owner == owns_keys_and_values ? 3 : 0) + (has_lengths ? 1 : 0) + (has_planes ? 2 : 0);
}

// `numbers` are those of a passing row.
CONSTANT_FUNCTION struct AttentionLayout attention_layout(
    SIZE owner, SIZE owned_rows, SIZE passing_rows, SIZE key_columns, SIZE value_columns, SIZE number_bytes,
    SIZE stages, SIZE numbers, SIZE has_barriers) {
  const SIZE key_pitch = tile_pitch_bytes(key_columns, number_bytes);
  const SIZE value_pitch = tile_pitch_bytes(value_columns, number_bytes);
  const SIZE first_pitch = owner == owns_queries ? larger_of(key_pitch, value_pitch) : key_pitch;
  struct AttentionLayout layout = {0};
  layout.second_owned = owned_rows * first_pitch;
  layout.first_passing = layout.second_owned + (owner == owns_queries ? 0 : owned_rows * value_pitch);
  layout.second_passing = layout.first_passing + stages * passing_rows * key_pitch;
  layout.numbers = layout.second_passing + stages * passing_rows * value_pitch;
  layout.barriers = layout.numbers + stages * passing_rows * numbers * float_bytes;
  // One barrier for what is owned, and a ring for each tensor that passes.
  layout.end = layout.barriers + (has_barriers ? barrier_bytes + 2 * ring_bytes(stages) : 0);
  return layout;
}

// attention/bias_gradient.cu: one tile of each tensor; later the sums of their pairs.
CONSTANT_FUNCTION SIZE attention_bias_gradient_bytes(SIZE query_rows, SIZE key_rows, SIZE key_columns,
                                                     SIZE value_columns, SIZE number_bytes) {
  return larger_of(attention_layout(owns_queries_and_outputs, query_rows, key_rows, key_columns,
                                    value_columns, number_bytes, 1, 0, 0)
                       .end,
                   query_rows * key_rows * float_bytes);
}

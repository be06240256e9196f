#pragma once

#include "linear/tokens.cuh"

// What the kernels that go through a sequence in chunks read, and what a block of them works on.
//
// Compiled with COLUMNS, those of the values for one block.

// What all passes read.
struct Operands {
  Rows queries;                 // [b, t, h, k]
  Rows keys;                    // [b, t, h, k]
  Rows values;                  // [b, t, hv, v]
  Rows decay;                   // [b, t, hv, 1 or k]
  Rows first_update;            // β [b, t, hv, 1], y or a [b, t, hv, k]
  Rows second_update;           // b [b, t, hv, k]
  const float *bonus;           // [hv, k], or null: queries read behind their token
  const float *initial_state;   // [n, hv, k, v], or null
  const Sequence *sequences;    // [n], or null: each batch entry is one, of `length` tokens
  float scale;
  float epsilon;                // of the normalisation of queries and keys; negative for none
  int decay_width;              // 0, 1 or k
  int is_delta;
  int heads;
  int value_heads;
  int key_dimension;
  int value_dimension;
  int slices;                   // blocks that share the columns of the values
  int length;
};

// What a block works on.
struct Place {
  int slice;
  int head;
  int query_head;
  int number;
  int first_column;
  Sequence sequence;

  // Tokens of a chunk and of a segment, where they are counted.
  __device__ explicit Place(const Operands &o, int chunk_tokens = 1, int segment_tokens = 1) {
    slice = blockIdx.x % o.slices;
    head = blockIdx.x / o.slices % o.value_heads;
    number = blockIdx.x / o.slices / o.value_heads;
    query_head = head / (o.value_heads / o.heads);
    first_column = slice * COLUMNS;
    const int chunks = (o.length + chunk_tokens - 1) / chunk_tokens;
    const int segments = (o.length + segment_tokens - 1) / segment_tokens;
    sequence = o.sequences ? o.sequences[number] : Sequence{number, 0, o.length, number * chunks, number * segments};
  }

  // Where the state [k, v] of this sequence and head begins in [n, hv, k, v].
  __device__ i64 state(const Operands &o) const {
    return ((i64)number * o.value_heads + head) * o.key_dimension * o.value_dimension;
  }
  // The same before a chunk of the sequence, in states of all chunks.
  __device__ i64 chunk_state(const Operands &o, int chunk) const {
    return ((i64)(sequence.chunk + chunk) * o.value_heads + head) * o.key_dimension *
           o.value_dimension;
  }
  __device__ const float *bonus(const Operands &o) const {
    return o.bonus ? o.bonus + head * o.key_dimension : nullptr;
  }
};

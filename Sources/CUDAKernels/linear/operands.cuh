#pragma once

#include "linear/tokens.cuh"

#include "linear/operands.h"

// The inputs of kernels that process a sequence in chunks, and the work of one of their blocks.
//
// Compiled with COLUMNS, the columns of the values per block.

using Operands = LinearOperands;

// The work of a block.
struct Place {
  int slice;
  int head;
  int query_head;
  int number;
  int first_column;
  Sequence sequence;

  // The arguments matter only where the sequence's `chunk` and `segment` are used.
  __device__ explicit Place(const Operands &o, int chunk_tokens = 1, int segment_tokens = 1) {
    slice = blockIdx.x % o.slices;
    head = blockIdx.x / o.slices % o.value_heads;
    number = blockIdx.x / o.slices / o.value_heads;
    query_head = head / (o.value_heads / o.heads);
    first_column = slice * COLUMNS;
    const int chunks = CEIL_DIVIDE(o.length, chunk_tokens);
    const int segments = CEIL_DIVIDE(o.length, segment_tokens);
    sequence = o.sequences ? o.sequences[number]
                           : Sequence{number, 0, o.length, number * chunks, number * segments, number};
  }

  // The index of the state [k, v] of this sequence and head in [n, hv, k, v].
  __device__ i64 state(const Operands &o) const {
    return ((i64)number * o.value_heads + head) * o.key_dimension * o.value_dimension;
  }
  // The index of the state before a chunk of the sequence, in [chunks, hv, k, v].
  __device__ i64 chunk_state(const Operands &o, int chunk) const {
    return ((i64)(sequence.chunk + chunk) * o.value_heads + head) * o.key_dimension *
           o.value_dimension;
  }
  __device__ const float *bonus(const Operands &o) const {
    return o.bonus ? o.bonus + head * o.key_dimension : nullptr;
  }
};

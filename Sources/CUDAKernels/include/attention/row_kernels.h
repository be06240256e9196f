#pragma once

#include "attention/partial_sum.h"
#include "attention/rows.h"
#include "attention/sink.h"
#include "tile/constants.h"

// Kernels whose only macro is ELEMENT; `Number` is its storage type.

// attention/rows.cu
struct AttentionRowsParameters {
  OF(AttentionRows, const Number) output;  // [batch, queries, heads, dimension]
  OF(AttentionRows, const Number) output_gradient;
  DEVICE_POINTER(const float) log_sum_exp;           // [batch, heads, queries]
  DEVICE_POINTER(const float) log_sum_exp_gradient;  // [batch, heads, queries], or null
  struct AttentionSink sink;
  DEVICE_POINTER(float) delta;           // [batch, heads, queries]
  DEVICE_POINTER(float) shift;           // [batch, heads, queries]
  DEVICE_POINTER(float) offset;          // [batch, heads, queries]: set to zero
  DEVICE_POINTER(float2) again;          // [batch, heads, queries]: set to unknown where the sum is large
  DEVICE_POINTER(int) large;             // [batch, heads, groups]: whether any of 32 queries has a large sum
  long long count;                       // warps: batch × heads × queries in groups of 32
  int queries;
  int heads;
  int dimension;                         // a multiple of the elements of a chunk
};

// attention/lengths.cu
struct AttentionLengthsParameters {
  OF(AttentionRows, const Number) rows;  // [batch, length, heads, dimension]
  DEVICE_POINTER(float) reciprocals;     // [batch, heads, length]: inverse norms; or null, and instead
  DEVICE_POINTER(Number) unit;           // [batch, length, heads, pitch]: normalised rows
  long long count;                       // batch × length × heads
  int length;
  int heads;
  int pitch;
  int dimension;
  int groups;
  float shortest;
};

// Rows that half a warp processes.
CONSTANT(lengths_rows, 4);

// attention/unit_gradient.cu
struct AttentionUnitGradientParameters {
  OF(AttentionRows, const Number) rows;   // [batch, length, heads, dimension]
  DEVICE_POINTER(const float) gradient;  // [batch, length, heads, pitch]
  DEVICE_POINTER(float) result;          // [batch, length, heads, dimension]
  long long count;                       // batch × length × heads
  int length;
  int heads;
  int pitch;
  int dimension;
  int groups;
  float shortest;
};

// attention/merge.cu
struct AttentionMergeParameters {
  DEVICE_POINTER(const float) partial_output;  // [splits, rows, pitch], rows = batch × heads × queries
  DEVICE_POINTER(const struct AttentionPartialSum) partial_sums;  // [splits, rows]
  DEVICE_POINTER(Number) output;               // [batch, queries, heads, pitch]
  DEVICE_POINTER(float) log_sum_exp;           // [rows]
  long long rows;
  int splits;
  int heads;
  int queries;
  int pitch;
};

CONSTANT(merge_threads, 256);
// Four float32 columns of the output for each thread.
CONSTANT(merge_shared_bytes, merge_threads * 4 * 4);

#pragma once

#include "attention/maps.h"
#include "attention/operands.h"
#include "attention/sink.h"

// attention/backward_queries.cu and backward_keys.cu. `Gradient` is float with WIDE, otherwise `Number`.
struct FIELDS_OF(AttentionBackwardParameters) {
  struct AttentionOperands operands;
  OF(AttentionRows, const Number) output_gradient;
  OF(AttentionRows, Gradient) queries_gradient;
  OF(AttentionRows, Gradient) keys_gradient;
  OF(AttentionRows, Gradient) values_gradient;
  // [batch, heads, queries]: the log-sum in base 2, ∞ if it is empty. In large rows (large_sums.cuh), once
  // resolved, the offset is the row's largest product and the shift the rest; elsewhere the offset is 0.
  DEVICE_POINTER(float) shift;
  DEVICE_POINTER(float) offset;
  DEVICE_POINTER(const int) large;       // [batch, heads, groups]: whether any of 32 queries has such a row
  struct AttentionSink sink;
  DEVICE_POINTER(const float) delta;     // [batch, heads, queries]
  DEVICE_POINTER(float) scale_gradient;  // [batch, heads, queries]: each query's part, or null
  DEVICE_POINTER(float) query_sums;      // [batch, heads, queries]: Σ dS over keys, or null
  DEVICE_POINTER(float) key_sums;        // [batch, heads, keys]: Σ dS over queries, or null
  // [batch, heads, queries]: for large rows whose gradients are recomputed, the largest score and the rest of
  // the log-sum in base 2, from the recomputed products; unknown until a warp needs them.
  DEVICE_POINTER(float2) again;
};

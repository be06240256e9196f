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
  // [batch, heads, queries]: log Σ as a power of two, ∞ for none; and where that is large, once it is resolved,
  // what is left of it by the offset, the row's largest product, which is 0 in others.
  DEVICE_POINTER(float) shift;
  DEVICE_POINTER(float) offset;
  DEVICE_POINTER(const int) large;       // [batch, heads, groups]: whether any of 32 queries has such a row
  struct AttentionSink sink;
  DEVICE_POINTER(const float) delta;     // [batch, heads, queries]
  DEVICE_POINTER(float) scale_gradient;  // [batch, heads, queries]: a query's part of it, or null
  DEVICE_POINTER(float) query_sums;      // [batch, heads, queries]: Σ dS over keys, or null
  DEVICE_POINTER(float) key_sums;        // [batch, heads, keys]: Σ dS over queries, or null
  // [batch, heads, queries]: of large rows with gradients that are computed again, the largest score and what is left
  // of log Σ as a power of two, by the products of that; unknown until a warp needs them.
  DEVICE_POINTER(float2) again;
};

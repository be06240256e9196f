#pragma once

#include "attention/maps.h"
#include "attention/operands.h"
#include "attention/partial_sum.h"
#include "attention/sink.h"

// attention/forward.cu
struct AttentionForwardParameters {
  struct AttentionOperands operands;
  OF(AttentionRows, Number) output;
  DEVICE_POINTER(float) log_sum_exp;     // [batch, heads, queries]
  struct AttentionSink sink;
  DEVICE_POINTER(float) partial_output;  // with SPLIT [splits, batch, heads, queries, VALUE_DIMENSION]
  DEVICE_POINTER(struct AttentionPartialSum) partial_sums;  // with SPLIT [splits, batch, heads, queries]
  float bound_factor;  // with CONSTANT_BOUND: scores are at most b = bound_factor |scale|;
  float bound_rise;    // the constant shift is b − bound_rise,
  float bound_range;   // valid if 2 b ≤ bound_range
  int splits;
};

// attention/hopper_forward.cu
struct AttentionHopperForwardParameters {
  struct AttentionMaps maps;
  struct TensorMap bias;               // with BIASED
  struct AttentionUnits units;         // in planes
  struct AttentionKeyWords key_words;  // with KEY_MASK
  struct AttentionForwardParameters forward;
};
CHECK_TENSOR_MAP(AttentionHopperForwardParameters, bias);

#pragma once

#include "attention/backward.h"

// Parameter blocks of backward kernels that need more than AttentionBackwardParameters.

// attention/hopper_backward_queries.cu and hopper_backward_keys.cu
struct AttentionHopperBackwardParameters {
  struct AttentionMaps maps;
  struct TensorMap output_gradient;
  struct TensorMap bias;               // with BIASED
  struct AttentionUnits units;         // in planes
  struct AttentionKeyWords key_words;  // with KEY_MASK
  struct AttentionBackwardParameters backward;
};
CHECK_TENSOR_MAP(AttentionHopperBackwardParameters, bias);

// attention/bias_gradient.cu
struct AttentionBiasGradientParameters {
  struct AttentionBackwardParameters backward;
  DEVICE_POINTER(float) gradient;  // [slots] + the bias's shape
  long long slot;                  // strides in elements; zero along axes that are summed over
  long long batch;
  long long head;
  long long query;
  long long key;
  int sequences;                   // summed over by one block, as are heads and tiles
  int heads;
  int query_tiles;
  int key_tiles;
  int sums_queries;                // whether the bias broadcasts along queries
  int sums_keys;
};

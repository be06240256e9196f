#pragma once

#include "tile/tensor_map.h"

// Tensor maps for TMA, whose boxes have as many rows as the tensors' tiles.
struct AttentionMaps {
  struct TensorMap queries;
  struct TensorMap keys;
  struct TensorMap values;
};
CHECK_TENSOR_MAP(AttentionMaps, values);

// The units of rows of float32 in planes (tile/planes.cuh), [batch, heads, length].
struct AttentionUnits {
  DEVICE_POINTER(const float) queries;
  DEVICE_POINTER(const float) keys;
  DEVICE_POINTER(const float) values;
  DEVICE_POINTER(const float) output_gradient;  // null in the forward pass
};

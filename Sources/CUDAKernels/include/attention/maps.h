#pragma once

#include "tile/tensor_map.h"

// Queries, keys and values for Hopper's copying unit, with boxes of as many rows as their tiles have.
struct AttentionMaps {
  struct TensorMap queries;
  struct TensorMap keys;
  struct TensorMap values;
};
CHECK_TENSOR_MAP(AttentionMaps, values);

// Where float32 is read as planes (tile/planes.cuh): the units of the rows, [batch, heads, length].
struct AttentionUnits {
  DEVICE_POINTER(const float) queries;
  DEVICE_POINTER(const float) keys;
  DEVICE_POINTER(const float) values;
  DEVICE_POINTER(const float) output_gradient;  // null in the forward pass
};

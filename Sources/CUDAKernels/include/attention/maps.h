#pragma once

#include "tile/tensor_map.h"

// Tensor maps for TMA, whose boxes have as many rows as the tensors' tiles. That of a bias [batch, heads, queries,
// keys] has elements of 16 bits, whatever the bias holds.
struct AttentionMaps {
  struct TensorMap queries;
  struct TensorMap keys;
  struct TensorMap values;
};
CHECK_TENSOR_MAP(AttentionMaps, values);

// A key mask as bits, by attention/key_words.cu.
struct AttentionKeyWords {
  DEVICE_POINTER(const unsigned) words;  // [batch, pitch]: bit i of word w is key 32 w + i; the last word is zero
  DEVICE_POINTER(const int) kept;        // [batch, 2]: the range of keys outside of which none is kept
  int pitch;
};

// The units of rows of float32 in planes (tile/planes.cuh), [batch, heads, length].
struct AttentionUnits {
  DEVICE_POINTER(const float) queries;
  DEVICE_POINTER(const float) keys;
  DEVICE_POINTER(const float) values;
  DEVICE_POINTER(const float) output_gradient;  // null in the forward pass
};

#pragma once

#include "tile/parameters.h"

// One more score of each head in the softmax's sum, without a value.
struct FIELDS_OF(AttentionSink) {
  DEVICE_POINTER(const float) scores;  // [heads], or null
  DEVICE_POINTER(float) gradient;      // backward, [batch, heads, queries]: a query's part of it
};

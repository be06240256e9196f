#pragma once

#include "tile/parameters.h"

// Rows of a [batch, length, heads, dimension] tensor, or of [batch, length, dimension] without heads.
// Strides are in elements; the last axis is contiguous. A null base means that the tensor is absent.
struct FIELDS_OF(LinearRows) {
  DEVICE_POINTER(void) base;
  long long batch;
  long long token;
  long long head;
  int type;
};

// Consecutive tokens of a batch entry that share a state.
struct LinearSequence {
  int batch;
  int first;
  int count;
  // The index of its first chunk among those of all sequences, and of its first segment, of several chunks.
  int chunk;
  int segment;
  // The index of the sequence of the call that ends with its last token, or -1.
  int ended;
};

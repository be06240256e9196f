#pragma once

#include "tile/parameters.h"

// Rows of a [batch, length, heads, dimension] tensor, or of [batch, length, dimension] without heads.
// Strides count elements; the last axis is dense. A null base has no rows.
struct FIELDS_OF(LinearRows) {
  DEVICE_POINTER(void) base;
  long long batch;
  long long token;
  long long head;
  int type;
};

// Neighbouring tokens of a row of the batch that share a state.
struct LinearSequence {
  int batch;
  int first;
  int count;
  // The number of its first chunk among those of all sequences, and of its first segment of several chunks.
  int chunk;
  int segment;
};

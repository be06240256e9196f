#pragma once

#include "attention/mask.h"
#include "attention/terms.h"

// A sum of numbers in a row: that behind its last cut, and how many cuts there are.
struct FIELDS_OF(AttentionPartOfSum) {
  double sum;
  int cuts;
};

// attention/decay.cu
struct AttentionDecayParameters {
  DEVICE_POINTER(const struct AttentionSegment) segments;
  DEVICE_POINTER(const float) decay;             // [batch, length, heads] at these strides
  long long batch;
  long long row;
  long long head;
  DEVICE_POINTER(const unsigned char) key_mask;  // [batch, length], or null
  DEVICE_POINTER(struct AttentionDecaySum) sums;  // [batch, heads, length]
  DEVICE_POINTER(const float) query_sums;        // backward: [batch, heads, length], the gradient of a query's sum,
  DEVICE_POINTER(const float) key_sums;          // and of a key's, which is subtracted
  DEVICE_POINTER(float) gradient;                // backward: [batch, length, heads]
  int length;
  int heads;
};

#pragma once

#include "attention/mask.h"
#include "attention/terms.h"

// A partial sum: the sum after the last cut, and the number of cuts.
struct FIELDS_OF(AttentionPartOfSum) {
  double sum;
  int cuts;
};

// attention/decay.cu
struct AttentionDecayParameters {
  DEVICE_POINTER(const struct AttentionSegment) segments;
  DEVICE_POINTER(const float) decay;             // [batch, length, heads], with the strides below
  long long batch;
  long long row;
  long long head;
  DEVICE_POINTER(const unsigned char) key_mask;  // [batch, length], or null
  DEVICE_POINTER(struct AttentionDecaySum) sums;  // [batch, heads, length]
  DEVICE_POINTER(const float) query_sums;        // backward, [batch, heads, length]: sums of dS at queries,
  DEVICE_POINTER(const float) key_sums;          // and at keys, which are subtracted
  DEVICE_POINTER(float) gradient;                // backward: [batch, length, heads]
  int length;
  int heads;
};

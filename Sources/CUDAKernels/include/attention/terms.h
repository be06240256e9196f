#pragma once

#include "tile/parameters.h"

// The cumulative sum of logit decays since the last cut, as large + rest, and the number of cuts so far.
struct AttentionDecaySum {
  ALIGNED(16) float large;
  float rest;
  int cuts;
  int unused;
};

// The terms applied to scaled scores before the mask, in this order. Absent terms have a null pointer, an
// absent softcap is 0.
struct AttentionTerms {
  float softcap;                        // c tanh(s / c)
  DEVICE_POINTER(const float) slopes;   // [heads]: − slope |distance|
  DEVICE_POINTER(const BiasNumber) bias;  // + bias, with the strides below in elements
  long long bias_batch;
  long long bias_head;
  long long bias_query;
  long long bias_key;
  DEVICE_POINTER(const struct AttentionDecaySum) decay_sums;  // [batch, heads, length]: + c_i − c_j
};

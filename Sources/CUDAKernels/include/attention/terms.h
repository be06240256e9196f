#pragma once

#include "tile/parameters.h"

// A running sum of logit decays since the last cut, in two parts, and the number of cuts up to a token.
struct AttentionDecaySum {
  ALIGNED(16) float large;
  float rest;
  int cuts;
  int unused;
};

// What is done to scaled scores before the mask, in this order; a term that is absent has a null pointer,
// and no cap is 0.
struct AttentionTerms {
  float softcap;                        // c tanh(s / c)
  DEVICE_POINTER(const float) slopes;   // [heads]: − slope |distance|
  DEVICE_POINTER(const BiasNumber) bias;  // + bias, at these strides in elements
  long long bias_batch;
  long long bias_head;
  long long bias_query;
  long long bias_key;
  DEVICE_POINTER(const struct AttentionDecaySum) decay_sums;  // [batch, heads, length]: + c_i − c_j
};

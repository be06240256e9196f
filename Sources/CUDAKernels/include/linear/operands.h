#pragma once

#include "linear/tokens.h"

// What all kernels of linear attention read.
struct LinearOperands {
  struct LinearRows queries;                  // [b, t, h, k]
  struct LinearRows keys;                     // [b, t, h, k]
  struct LinearRows values;                   // [b, t, hv, v]
  struct LinearRows decay;                    // [b, t, hv, 1 or k]
  struct LinearRows first_update;             // β [b, t, hv, 1], y or a [b, t, hv, k]
  struct LinearRows second_update;            // b [b, t, hv, k]
  DEVICE_POINTER(const float) bonus;          // [hv, k], or null: queries read behind their token
  DEVICE_POINTER(const float) initial_state;  // [n, hv, k, v], or null
  // [n], or null: each batch entry is a sequence of `length` tokens.
  DEVICE_POINTER(const struct LinearSequence) sequences;
  float scale;
  float epsilon;                              // of the normalisation of queries and keys; negative for none
  int decay_width;                            // 0, 1 or k
  int is_delta;
  int heads;
  int value_heads;
  int key_dimension;
  int value_dimension;
  int slices;                                 // blocks that share the columns of the values
  int length;
};

#pragma once

#include "linear/tokens.h"

// The inputs of all kernels of linear attention.
struct LinearOperands {
  struct LinearRows queries;                  // [b, t, h, k]
  struct LinearRows keys;                     // [b, t, h, k]
  struct LinearRows values;                   // [b, t, hv, v]
  struct LinearRows decay;                    // [b, t, hv, 1 or k]
  struct LinearRows first_update;             // β [b, t, hv, 1], y or a [b, t, hv, k]
  struct LinearRows second_update;            // b [b, t, hv, k]
  DEVICE_POINTER(const float) bonus;          // [hv, k]; null if queries read the state after their token
  DEVICE_POINTER(const float) initial_state;  // [n, hv, k, v], or null
  // [n], or null: each batch entry is a sequence of `length` tokens.
  DEVICE_POINTER(const struct LinearSequence) sequences;
  float scale;
  float epsilon;                              // of normalising queries and keys; negative if they are not
  int decay_width;                            // 0, 1 or k
  int is_delta;
  int heads;
  int value_heads;
  int key_dimension;
  int value_dimension;
  int slices;                                 // blocks that share the columns of the values
  int length;
};

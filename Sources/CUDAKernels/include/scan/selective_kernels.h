#pragma once

#include "scan/selective.h"

// scan/selective.cu
struct ScanSelectiveParameters {
  struct ScanSelectiveOperands operands;
  struct LinearRows output;           // [b, t, d]
  DEVICE_POINTER(float) final_state;  // [n, d, s]
  DEVICE_POINTER(float) states;       // [tiles, d, s]: before each tile; or null
};

// scan/selective_backward.cu
struct ScanSelectiveBackwardParameters {
  struct ScanSelectiveOperands operands;             // `blocks` is the number of slots
  struct LinearRows output_gradient;                 // [b, t, d]; zeros if the base is null
  DEVICE_POINTER(const float) final_state_gradient;  // [n, d, s], or null for zeros
  DEVICE_POINTER(const float) states;                // [tiles, d, s]: before each tile
  struct LinearRows inputs;                          // dx [b, t, d]
  struct LinearRows step;                            // [b, t, d]
  DEVICE_POINTER(float) state_matrix;                // [n, d, s]: dA of each sequence
  DEVICE_POINTER(float) input_matrix;                // [blocks, b, t, s]
  DEVICE_POINTER(float) output_matrix;               // [blocks, b, t, s]
  DEVICE_POINTER(float) skip;                        // [n, d]
  DEVICE_POINTER(float) step_bias;                   // [n, d]
  DEVICE_POINTER(float) initial_state;               // [n, d, s]
  long long tokens;                                  // b t
};

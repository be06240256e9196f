#pragma once

#include "linear/tokens.h"
#include "tile/constants.h"

// scan/gated.cu
struct ScanGatedParameters {
  struct LinearRows inputs;                              // [b, t, d]
  struct LinearRows decay;                               // [b, t, d]
  struct LinearRows output;                              // [b, t, d]
  DEVICE_POINTER(const float) initial_state;             // [n, d], or null
  DEVICE_POINTER(float) final_state;                     // [n, d]
  DEVICE_POINTER(const struct LinearSequence) sequences;  // [n]
  int channels;
  int strips;                                            // blocks that share the channels
};

// scan/gated_backward.cu
struct ScanGatedBackwardParameters {
  struct LinearRows decay;                               // [b, t, d]
  struct LinearRows output;                              // [b, t, d]: the states h
  struct LinearRows output_gradient;                     // [b, t, d]; zeros if the base is null
  struct LinearRows inputs_gradient;                     // [b, t, d]
  struct LinearRows decay_gradient;                      // [b, t, d]
  DEVICE_POINTER(const float) initial_state;             // [n, d], or null
  DEVICE_POINTER(const float) final_state_gradient;      // [n, d], or null for zeros
  DEVICE_POINTER(float) initial_state_gradient;          // [n, d]
  DEVICE_POINTER(const struct LinearSequence) sequences;  // [n]
  int channels;
  int strips;
};

// A block has one lane per channel; its warps share the tokens of a tile.
CONSTANT(scan_channels, warp_threads);
CONSTANT(scan_warps, 8);
CONSTANT(scan_warp_tokens, 8);
CONSTANT(scan_tile_tokens, scan_warps * scan_warp_tokens);

// Two floats per thread.
CONSTANT(scan_shared_floats, 2 * scan_warps * warp_threads);

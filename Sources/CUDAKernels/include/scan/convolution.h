#pragma once

#include "linear/tokens.h"

struct ScanConvolutionOperands {
  struct LinearRows inputs;            // [b, t, d]
  DEVICE_POINTER(const float) weight;  // [W, d]: the last row weighs the current token
  DEVICE_POINTER(const float) bias;    // [d], or null
  DEVICE_POINTER(const float) past;    // [n, W - 1, d]
  int channels;
  int width;
  int applies_silu;
  int strips;                          // blocks that share the channels
};

// The tokens of a sequence that one block processes.
struct ScanConvolutionPiece {
  struct LinearSequence sequence;  // `chunk` is the index of the sequence
  int begin;
  int count;
};

// scan/convolution.cu
struct ScanConvolutionParameters {
  struct ScanConvolutionOperands operands;
  struct LinearRows output;           // [b, t, d]
  DEVICE_POINTER(float) final_state;  // [n, W - 1, d]
  DEVICE_POINTER(const struct ScanConvolutionPiece) pieces;  // every sequence has one that begins at 0
};

// scan/convolution_backward.cu
struct ScanConvolutionBackwardParameters {
  struct ScanConvolutionOperands operands;
  struct LinearRows output_gradient;                 // [b, t, d]; zeros if the base is null
  DEVICE_POINTER(const float) final_state_gradient;  // [n, W - 1, d], or null for zeros
  struct LinearRows inputs;                          // [b, t, d]
  DEVICE_POINTER(float) past;                        // [n, W - 1, d]
  DEVICE_POINTER(float) weight;                      // [pieces, W, d]
  DEVICE_POINTER(float) bias;                        // [pieces, d]
  DEVICE_POINTER(const struct ScanConvolutionPiece) pieces;
};

// Channels of a block, one thread each.
CONSTANT(convolution_threads, 128);
// The widest kernel W.
CONSTANT(convolution_widest, 4);

#pragma once

#include "tile/parameters.h"

// One launch over many tensors: each block processes a piece of one of them. A table lists the tensors with
// the index of their first blocks; a tensor's blocks are consecutive.

// Elements of a piece, and the threads that work on it.
CONSTANT(piece_length, 4096);
CONSTANT(piece_threads, 256);

struct TrainingAdamWEntry {
  DEVICE_POINTER(const float) parameter;
  DEVICE_POINTER(const void) gradient;
  DEVICE_POINTER(const float) first;
  DEVICE_POINTER(const float) second;
  DEVICE_POINTER(float) new_parameter;
  DEVICE_POINTER(float) new_first;
  DEVICE_POINTER(float) new_second;
  DEVICE_POINTER(void) rounded;  // the new parameter in another type too, or null
  long long count;
  int first_block;
  int gradient_type;
  int rounded_type;
  float decay;
};

// The rates of a step, shared by all parameters.
struct TrainingAdamWRates {
  float rate;
  float beta1;
  float beta2;
  float epsilon;
  float correction1;
  float correction2;
};

// training/adamw.cu
struct TrainingAdamWParameters {
  DEVICE_POINTER(const struct TrainingAdamWEntry) entries;
  DEVICE_POINTER(const double) gradient_scale;
  int count;
  struct TrainingAdamWRates rates;
};

struct TrainingSquaresEntry {
  DEVICE_POINTER(const void) numbers;
  long long count;
  int first_block;
  int type;
};

// training/squares.cu
struct TrainingSquaresParameters {
  DEVICE_POINTER(const struct TrainingSquaresEntry) entries;
  DEVICE_POINTER(float) sums;  // [blocks]
  int count;
};

// training/clip.cu
struct TrainingClipParameters {
  DEVICE_POINTER(const float) sums;  // [count]
  DEVICE_POINTER(double) figures;    // [2]: norm and factor
  double limit;
  int count;
};

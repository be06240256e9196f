#pragma once

#include "tile/constants.h"
#include "tile/shared_memory.h"

// Parameter blocks of row-wise and elementwise kernels; `Number` is the storage type of ELEMENT.

// layers/rms_norm.cu
GENERIC(Number)
struct LayersRMSNormParameters {
  DEVICE_POINTER(const Number) x;     // [rows, n]
  DEVICE_POINTER(const void) weight;  // [n], or null
  DEVICE_POINTER(Number) y;           // [rows, n]
  DEVICE_POINTER(float) reciprocals;  // [rows]: 1 / √(mean(x²) + ε)
  long long rows;
  int n;
  int weight_type;
  int row_threads;
  float epsilon;
  float factor;
};

// layers/rms_norm_backward.cu
GENERIC(Number)
struct LayersRMSNormBackwardParameters {
  DEVICE_POINTER(const Number) x;           // [rows, n]
  DEVICE_POINTER(const void) weight;        // [n], or null
  DEVICE_POINTER(const float) reciprocals;  // [rows]
  DEVICE_POINTER(const Number) gradient;    // [rows, n]
  DEVICE_POINTER(Number) x_gradient;        // [rows, n]
  DEVICE_POINTER(float) partial;            // [blocks, n], or null
  long long rows;
  int n;
  int weight_type;
  int row_threads;
  int block_rows;
  float factor;
};

// layers/softmax.cu
GENERIC(Number)
struct LayersSoftmaxParameters {
  DEVICE_POINTER(const Number) x;  // [rows, n]
  DEVICE_POINTER(Number) y;        // [rows, n]
  long long rows;
  int n;
  int row_threads;
};

// layers/softmax_backward.cu
GENERIC(Number)
struct LayersSoftmaxBackwardParameters {
  DEVICE_POINTER(const Number) y;         // [rows, n]
  DEVICE_POINTER(const Number) gradient;  // [rows, n]
  DEVICE_POINTER(Number) x_gradient;      // [rows, n]
  long long rows;
  int n;
  int row_threads;
};

// layers/cross_entropy.cu
GENERIC(Number)
struct LayersCrossEntropyParameters {
  DEVICE_POINTER(const Number) logits;        // [rows, n]
  DEVICE_POINTER(const int) targets;          // [rows]
  DEVICE_POINTER(float) losses;               // [rows], or null if log_sums are known
  DEVICE_POINTER(float2) log_sums;            // [rows]: written with the losses, otherwise read
  DEVICE_POINTER(const float) row_gradients;  // [rows], or null if all are `*gradient`
  DEVICE_POINTER(const float) gradient;
  DEVICE_POINTER(Number) logit_gradients;     // [rows, n], may alias the logits; null if not needed
  long long rows;
  int n;
  int row_threads;
  int skips_negative;
};

// layers/gates.cu. σ is the logistic function.
CONSTANT(gates_swiglu, 0);                // first = a σ(a) · b
CONSTANT(gates_swiglu_backward, 1);       // first, second: the gradients of a and b
CONSTANT(gates_log_sigmoid, 2);           // wide = log σ(a) · factor
CONSTANT(gates_log_sigmoid_backward, 3);  // first = wide · factor · (1 − σ(a))

GENERIC(Number)
struct LayersGatesParameters {
  DEVICE_POINTER(const Number) a;
  DEVICE_POINTER(const Number) b;
  DEVICE_POINTER(const Number) gradient;
  DEVICE_POINTER(Number) first;
  DEVICE_POINTER(Number) second;
  DEVICE_POINTER(float) wide;
  long long count;
  int operation;
  float factor;
};

// layers/rotary.cu
GENERIC(Number)
struct LayersRotaryParameters {
  // [batch, length, heads, 2 half] with the strides below, the last axis contiguous
  DEVICE_POINTER(const Number) x;
  DEVICE_POINTER(const int) positions;   // [batch, length]
  DEVICE_POINTER(const float) cosines;   // [positions, half]
  DEVICE_POINTER(const float) sines;     // [positions, half]
  DEVICE_POINTER(Number) y;              // [batch, length, heads, 2 half]
  long long batch_stride;
  long long token_stride;
  long long head_stride;
  long long groups;                      // of all heads of all tokens
  int length;
  int heads;
  int half;
  float direction;
};

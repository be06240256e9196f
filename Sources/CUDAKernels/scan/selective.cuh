#pragma once

#include "linear/tokens.cuh"

// A selective scan in tiles of 16 tokens. A block has 8 channels; 16 lanes share the states of a channel,
// every sixteenth per lane. A thread keeps its values per state in shared memory, so the number of states
// is not limited by registers.

#include "scan/selective.h"

// The inputs of the forward and the backward kernel.
struct ScanSelectiveOperands : ScanSelectiveOperandsFields {
  // An infinite rate counts as the largest finite number: times a step or gradient of 0 it would be NaN.
  __device__ float rate(int channel, int n) const {
    const float own = state_matrix[(i64)channel * states + n];
    return own == -infinity ? -largest_number : own;
  }
};

using Operands = ScanSelectiveOperands;

#include "scan/selective_kernels.h"

// The tokens of a tile in shared memory; those after the sequence's end are zeros.
struct Tokens {
  float *inputs;         // [16, channels]
  float *step;           // [16, channels]: Δ
  float *slope;          // [16, channels]: the derivative of Δ with respect to the step
  float *input_matrix;   // [16, states]
  float *output_matrix;  // [16, states]
  int padded_states;

  __device__ Tokens(float *shared, const ScanSelectiveLayout &layout, int padded_states)
      : inputs(shared),
        step(shared + layout.step),
        slope(shared + layout.slope),
        input_matrix(shared + layout.input_matrix),
        output_matrix(shared + layout.output_matrix),
        padded_states(padded_states) {}

  __device__ void load(const Operands &o, const Sequence &sequence, int first, int first_channel) {
    for (int index = threadIdx.x; index < selective_tile_tokens * selective_channels; index += selective_threads) {
      const int row = index / selective_channels;
      const int channel = first_channel + index % selective_channels;
      float x = 0, delta = 0, derivative = 0;
      if (first + row < sequence.count && channel < o.channels) {
        const int token = sequence.first + first + row;
        x = o.inputs.load(o.inputs.place(sequence.batch, token, 0) + channel);
        delta = o.step.load(o.step.place(sequence.batch, token, 0) + channel);
        if (o.step_bias) delta += o.step_bias[channel];
        derivative = 1;
        if (o.applies_softplus) {
          // From e^-|z| ≤ 1, which cannot overflow.
          const float small = expf(-fabsf(delta));
          derivative = (delta > 0 ? 1 : small) / (1 + small);
          delta = fmaxf(delta, 0) + log1pf(small);
        }
      }
      inputs[index] = x;
      step[index] = delta;
      slope[index] = derivative;
    }
    for (int index = threadIdx.x; index < selective_tile_tokens * padded_states; index += selective_threads) {
      const int row = index / padded_states;
      const int n = index % padded_states;
      const bool exists = first + row < sequence.count && n < o.states;
      const i64 token = sequence.batch * o.length + sequence.first + first + row;
      input_matrix[index] = exists ? o.input_matrix[token * o.states + n] : 0;
      output_matrix[index] = exists ? o.output_matrix[token * o.states + n] : 0;
    }
  }
};

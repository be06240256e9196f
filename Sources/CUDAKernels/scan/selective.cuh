#pragma once

#include "linear/tokens.cuh"

// A selective scan in tiles of 16 tokens. A block takes 8 channels; 16 lanes share the states of a
// channel, each every sixteenth, up to any number of states: what a thread keeps of each of its states
// lies in shared memory.

constexpr int selective_threads = 128;
constexpr int state_lanes = 16;
constexpr int block_channels = selective_threads / state_lanes;
constexpr int tile_tokens = 16;

// What forward and backward read.
struct Operands {
  Rows inputs;                 // x [b, t, d]
  Rows step;                   // [b, t, d]
  const float *state_matrix;   // A [d, s]
  const float *input_matrix;   // B [b, t, s]
  const float *output_matrix;  // C [b, t, s]
  const float *skip;           // D [d], or null
  const float *step_bias;      // [d], or null
  const float *initial_state;  // [n, d, s], or null
  const Sequence *sequences;   // [n]
  i64 length;
  int channels;
  int states;
  int applies_softplus;
  int blocks;                  // that share the channels of a sequence

  // An infinite rate counts as the largest number: it would be none beside a step or a gradient of 0.
  __device__ float rate(int channel, int n) const {
    const float own = state_matrix[(i64)channel * states + n];
    return own == -infinity ? -largest_number : own;
  }

  // States rounded up to whole rounds of the lanes.
  __device__ int padded_states() const { return round_up(states, state_lanes); }
};

// The tokens of a tile in shared memory; those behind the sequence's end are zeros.
struct Tokens {
  float *inputs;         // [16, channels]
  float *step;           // [16, channels]: Δ
  float *slope;          // [16, channels]: the derivative of Δ by the step
  float *input_matrix;   // [16, states]
  float *output_matrix;  // [16, states]
  int padded_states;

  __device__ Tokens(Room &room, int padded_states) : padded_states(padded_states) {
    inputs = room.take(tile_tokens * block_channels);
    step = room.take(tile_tokens * block_channels);
    slope = room.take(tile_tokens * block_channels);
    input_matrix = room.take(tile_tokens * padded_states);
    output_matrix = room.take(tile_tokens * padded_states);
  }

  __device__ void load(const Operands &o, const Sequence &sequence, int first, int first_channel) {
    for (int index = threadIdx.x; index < tile_tokens * block_channels; index += selective_threads) {
      const int row = index / block_channels;
      const int channel = first_channel + index % block_channels;
      float x = 0, delta = 0, derivative = 0;
      if (first + row < sequence.count && channel < o.channels) {
        const int token = sequence.first + first + row;
        x = o.inputs.load(o.inputs.place(sequence.batch, token, 0) + channel);
        delta = o.step.load(o.step.place(sequence.batch, token, 0) + channel);
        if (o.step_bias) delta += o.step_bias[channel];
        derivative = 1;
        if (o.applies_softplus) {
          // Of numbers e^-|z| ≤ 1 only.
          const float small = expf(-fabsf(delta));
          derivative = (delta > 0 ? 1 : small) / (1 + small);
          delta = fmaxf(delta, 0) + log1pf(small);
        }
      }
      inputs[index] = x;
      step[index] = delta;
      slope[index] = derivative;
    }
    for (int index = threadIdx.x; index < tile_tokens * padded_states; index += selective_threads) {
      const int row = index / padded_states;
      const int n = index % padded_states;
      const bool exists = first + row < sequence.count && n < o.states;
      const i64 token = sequence.batch * o.length + sequence.first + first + row;
      input_matrix[index] = exists ? o.input_matrix[token * o.states + n] : 0;
      output_matrix[index] = exists ? o.output_matrix[token * o.states + n] : 0;
    }
  }
};

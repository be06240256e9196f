#pragma once

#include "linear/tokens.h"
#include "tile/parameters.h"

// The inputs of the forward and the backward kernel.
struct FIELDS_OF(ScanSelectiveOperands) {
  struct LinearRows inputs;                    // x [b, t, d]
  struct LinearRows step;                      // [b, t, d]
  DEVICE_POINTER(const float) state_matrix;    // A [d, s]
  DEVICE_POINTER(const float) input_matrix;    // B [b, t, s]
  DEVICE_POINTER(const float) output_matrix;   // C [b, t, s]
  DEVICE_POINTER(const float) skip;            // D [d], or null
  DEVICE_POINTER(const float) step_bias;       // [d], or null
  DEVICE_POINTER(const float) initial_state;   // [n, d, s], or null
  DEVICE_POINTER(const struct LinearSequence) sequences;  // [n]
  long long length;
  int channels;
  int states;
  int applies_softplus;
  int blocks;                                  // that share the channels of a sequence
};

// Tokens of a tile, and lanes that share the states of a channel.
CONSTANT(selective_tile_tokens, 16);
CONSTANT(selective_lanes, 16);
// Channels of a block, and its threads.
CONSTANT(selective_channels, 8);
CONSTANT(selective_threads, selective_channels * selective_lanes);

// The states of a channel, rounded up to a multiple of the lanes.
CONSTANT_FUNCTION SIZE selective_padded_states(SIZE states) { return round_up(states, selective_lanes); }

// Shared memory, as offsets in floats: for the tile's tokens x, at 0, Δ, the derivative of Δ, B and C. In the
// forward pass the states follow; in the backward pass gradients per token and channel, values per token and
// thread, and two values per state.
struct ScanSelectiveLayout {
  SIZE step;             // [16, channels]
  SIZE slope;            // [16, channels]
  SIZE input_matrix;     // [16, states]
  SIZE output_matrix;    // [16, states]
  SIZE states;           // [channels, states]
  SIZE forward_end;
  SIZE incoming;         // [16, channels]: dy
  SIZE input_gradient;   // [16, channels]
  SIZE step_gradient;    // [16, channels]
  SIZE before;           // [16, threads]: h_(t-1)
  SIZE input_shares;     // [16, channels, 16]
  SIZE output_shares;    // [16, channels, 16]
  SIZE handed_on;        // [channels, states]: dh handed on to the token before
  SIZE rate_gradients;   // [channels, states]: dA
  SIZE backward_end;
};

CONSTANT_FUNCTION struct ScanSelectiveLayout selective_layout(SIZE padded_states) {
  const SIZE channel_tokens = selective_tile_tokens * selective_channels;
  const SIZE state_tokens = selective_tile_tokens * padded_states;
  const SIZE thread_tokens = selective_tile_tokens * selective_threads;
  const SIZE states = selective_channels * padded_states;
  struct ScanSelectiveLayout layout = {0};
  layout.step = channel_tokens;
  layout.slope = layout.step + channel_tokens;
  layout.input_matrix = layout.slope + channel_tokens;
  layout.output_matrix = layout.input_matrix + state_tokens;
  layout.states = layout.output_matrix + state_tokens;
  layout.forward_end = layout.states + states;
  layout.incoming = layout.output_matrix + state_tokens;
  layout.input_gradient = layout.incoming + channel_tokens;
  layout.step_gradient = layout.input_gradient + channel_tokens;
  layout.before = layout.step_gradient + channel_tokens;
  layout.input_shares = layout.before + thread_tokens;
  layout.output_shares = layout.input_shares + thread_tokens;
  layout.handed_on = layout.output_shares + thread_tokens;
  layout.rate_gradients = layout.handed_on + states;
  layout.backward_end = layout.rate_gradients + states;
  return layout;
}

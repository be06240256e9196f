#pragma once

#include "linear/tokens.cuh"

// A causal convolution over the last few tokens of every channel. Places are counted through the rows of
// the state before the first token, and then the tokens: place 0 is the oldest row of the state.

constexpr int convolution_threads = 128;

struct Operands {
  Rows inputs;         // [b, t, d]
  const float *weight; // [W, d]: the last row meets the newest token
  const float *bias;   // [d], or null
  const float *past;   // [n, W - 1, d]
  int channels;
  int width;
  int applies_silu;
  int strips;          // blocks that share the channels
};

// Tokens of a sequence that one block works on.
struct Piece {
  Sequence sequence;   // `chunk` is the number of the sequence
  int begin;
  int count;
};

// What stands at a place of a sequence.
DEVICE float load_place(const Operands &o, const Sequence &sequence, int place, int channel) {
  const int kept = o.width - 1;
  if (place < kept) return o.past[((i64)sequence.chunk * kept + place) * o.channels + channel];
  const int token = sequence.first + place - kept;
  return o.inputs.load(o.inputs.place(sequence.batch, token, 0) + channel);
}

// The sum at a token, before the silu.
DEVICE float convolve(const Operands &o, const Sequence &sequence, int token, int channel) {
  float sum = o.bias ? o.bias[channel] : 0;
  for (int j = 0; j < o.width; ++j) {
    sum += o.weight[j * o.channels + channel] * load_place(o, sequence, token + j, channel);
  }
  return sum;
}

// σ(x), by e^-|x| ≤ 1 only.
DEVICE float sigmoid(float x) {
  const float small = expf(-fabsf(x));
  return (x > 0 ? 1 : small) / (1 + small);
}

#pragma once

#include "linear/tokens.cuh"

// A causal convolution over the last few tokens of every channel. Places are counted through the rows of
// the state before the first token, and then the tokens: place 0 is the oldest row of the state.

#include "scan/convolution.h"

using Operands = ScanConvolutionOperands;
using Piece = ScanConvolutionPiece;

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

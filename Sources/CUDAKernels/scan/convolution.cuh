#pragma once

#include "linear/tokens.cuh"

// A causal convolution over the last few tokens of every channel. Positions number the rows of the initial
// state, from the oldest at 0, and then the tokens.

#include "scan/convolution.h"

using Operands = ScanConvolutionOperands;
using Piece = ScanConvolutionPiece;

// The input at a position of a sequence.
DEVICE float load_place(const Operands &o, const Sequence &sequence, int place, int channel) {
  const int kept = o.width - 1;
  if (place < kept) return o.past[((i64)sequence.chunk * kept + place) * o.channels + channel];
  const int token = sequence.first + place - kept;
  return o.inputs.load(o.inputs.place(sequence.batch, token, 0) + channel);
}

// The output at a token, before the silu.
DEVICE float convolve(const Operands &o, const Sequence &sequence, int token, int channel) {
  float sum = o.bias ? o.bias[channel] : 0;
  for (int j = 0; j < o.width; ++j) {
    sum += o.weight[j * o.channels + channel] * load_place(o, sequence, token + j, channel);
  }
  return sum;
}

// σ(x), from e^-|x| ≤ 1, which cannot overflow.
DEVICE float sigmoid(float x) {
  const float small = expf(-fabsf(x));
  return (x > 0 ? 1 : small) / (1 + small);
}

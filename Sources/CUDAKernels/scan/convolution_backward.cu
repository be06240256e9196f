// The gradients of the short convolution.
//
// A block processes a piece of a sequence's tokens for 128 channels, one thread per channel: the gradients
// of the piece's inputs, each a sum over the W outputs from its token on, and the piece's shares of the
// gradients of weight and bias, in its own slot. The piece that begins at 0 also computes the gradient of
// the initial state.

#include "scan/convolution.cuh"

// The gradient before the silu; 0 outside of the sequence.
DEVICE float sum_gradient(const ScanConvolutionBackwardParameters &p, const Sequence &sequence, int token,
                          int channel) {
  const Operands &o = p.operands;
  if (token < 0 || token >= sequence.count || !p.output_gradient.base) return 0;
  const float dy = p.output_gradient.load(
      p.output_gradient.place(sequence.batch, sequence.first + token, 0) + channel);
  if (!o.applies_silu) return dy;
  const float sum = convolve(o, sequence, token, channel);
  const float s = sigmoid(sum);
  return dy * s * (1 + sum * (1 - s));
}

// The gradient of the input at a position (convolution.cuh).
DEVICE float place_gradient(const ScanConvolutionBackwardParameters &p, const Sequence &sequence, int place,
                            int channel) {
  const Operands &o = p.operands;
  const int kept = o.width - 1;
  float sum = 0;
  for (int j = 0; j < o.width; ++j) {
    sum += o.weight[j * o.channels + channel] * sum_gradient(p, sequence, place - j, channel);
  }
  if (p.final_state_gradient && place >= sequence.count) {
    const i64 row = (i64)sequence.chunk * kept + place - sequence.count;
    sum += p.final_state_gradient[row * o.channels + channel];
  }
  return sum;
}

extern "C" __global__ void scan_convolution_backward(const __grid_constant__ ScanConvolutionBackwardParameters p) {
  const Operands &o = p.operands;
  const int number = blockIdx.x / o.strips;
  const Piece piece = p.pieces[number];
  const Sequence &sequence = piece.sequence;
  const int channel = blockIdx.x % o.strips * convolution_threads + threadIdx.x;
  if (channel >= o.channels) return;
  const int kept = o.width - 1;
  if (piece.begin == 0) {
    for (int row = 0; row < kept; ++row) {
      p.past[((i64)sequence.chunk * kept + row) * o.channels + channel] =
          place_gradient(p, sequence, row, channel);
    }
  }
  float weight[convolution_widest] = {}, bias = 0;
  for (int token = piece.begin; token < piece.begin + piece.count; ++token) {
    p.inputs.store(p.inputs.place(sequence.batch, sequence.first + token, 0) + channel,
                   place_gradient(p, sequence, token + kept, channel));
    const float gradient = sum_gradient(p, sequence, token, channel);
    bias += gradient;
#pragma unroll
    for (int j = 0; j < convolution_widest; ++j) {
      if (j < o.width) weight[j] += gradient * load_place(o, sequence, token + j, channel);
    }
  }
#pragma unroll
  for (int j = 0; j < convolution_widest; ++j) {
    if (j < o.width) p.weight[((i64)number * o.width + j) * o.channels + channel] = weight[j];
  }
  p.bias[(i64)number * o.channels + channel] = bias;
}

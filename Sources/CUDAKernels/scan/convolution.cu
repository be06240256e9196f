// The short convolution y_t = silu(bias + Σ_j weight_j x_(t - (W - 1) + j)), with or without the silu.
//
// A block processes a piece of a sequence's tokens for 128 channels, one thread per channel.

#include "scan/convolution.cuh"

extern "C" __global__ void scan_convolution(const __grid_constant__ ScanConvolutionParameters p) {
  const Operands &o = p.operands;
  const Piece piece = p.pieces[blockIdx.x / o.strips];
  const Sequence &sequence = piece.sequence;
  const int channel = blockIdx.x % o.strips * convolution_threads + threadIdx.x;
  if (channel >= o.channels) return;
  for (int token = piece.begin; token < piece.begin + piece.count; ++token) {
    const float sum = convolve(o, sequence, token, channel);
    p.output.store(
        p.output.place(sequence.batch, sequence.first + token, 0) + channel,
        o.applies_silu ? sum * sigmoid(sum) : sum);
  }
  if (piece.begin > 0) return;
  const int kept = o.width - 1;
  for (int row = 0; row < kept; ++row) {
    p.final_state[((i64)sequence.chunk * kept + row) * o.channels + channel] =
        load_place(o, sequence, sequence.count + row, channel);
  }
}

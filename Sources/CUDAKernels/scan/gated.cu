// The gated scan h_t = e^(g_t) h_(t-1) + x_t.
//
// A block processes the tokens of one sequence for 32 channels: scan/gated.cuh.

#include "scan/gated.cuh"

extern "C" __global__ void scan_gated(const __grid_constant__ ScanGatedParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  const Shares shares((float *)shared);
  const int number = blockIdx.x / p.strips;
  const int channel = blockIdx.x % p.strips * scan_channels + threadIdx.x % warp_threads;
  const int warp = threadIdx.x / warp_threads;
  const Sequence sequence = p.sequences[number];
  const bool exists = channel < p.channels;
  const i64 place = (i64)number * p.channels + channel;

  float state = p.initial_state && exists ? p.initial_state[place] : 0;
  for (int first = 0; first < sequence.count; first += scan_tile_tokens) {
    const int own = first + warp * scan_warp_tokens;
    float x[scan_warp_tokens];
    Decay decay[scan_warp_tokens];
    float sum = 0, summand = 0;
#pragma unroll
    for (int t = 0; t < scan_warp_tokens; ++t) {
      float g = 0;
      x[t] = 0;
      if (own + t < sequence.count && exists) {
        const int token = sequence.first + own + t;
        x[t] = p.inputs.load(p.inputs.place(sequence.batch, token, 0) + channel);
        g = p.decay.load(p.decay.place(sequence.batch, token, 0) + channel);
      }
      decay[t] = Decay(g);
      sum += g;
      summand = decay[t](summand) + x[t];
    }
    float h = shares.exchange(warp, sum, summand, state);
#pragma unroll
    for (int t = 0; t < scan_warp_tokens; ++t) {
      h = decay[t](h) + x[t];
      if (own + t < sequence.count && exists) {
        const int token = sequence.first + own + t;
        p.output.store(p.output.place(sequence.batch, token, 0) + channel, h);
      }
    }
  }
  if (warp == 0 && exists) p.final_state[place] = state;
}

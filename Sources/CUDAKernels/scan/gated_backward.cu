// The gradients of the gated scan. With dh_t the gradient of h_t,
//
//     dh_t = do_t + e^(g_(t+1)) dh_(t+1) ,   dx_t = dh_t ,   dg_t = e^(g_t) h_(t-1) dh_t
//
// from the last tile of tokens to the first; e^(g_t) dh_t is handed on to the previous token.

#include "scan/gated.cuh"

extern "C" __global__ void scan_gated_backward(const __grid_constant__ ScanGatedBackwardParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  const Shares shares((float *)shared);
  const int number = blockIdx.x / p.strips;
  const int channel = blockIdx.x % p.strips * scan_channels + threadIdx.x % warp_threads;
  const int warp = threadIdx.x / warp_threads;
  const Sequence sequence = p.sequences[number];
  const bool exists = channel < p.channels;
  const i64 place = (i64)number * p.channels + channel;

  float handed_on = p.final_state_gradient && exists ? p.final_state_gradient[place] : 0;
  const int tiles = CEIL_DIVIDE(sequence.count, scan_tile_tokens);
  for (int tile = tiles - 1; tile >= 0; --tile) {
    const int own = tile * scan_tile_tokens + warp * scan_warp_tokens;
    float incoming[scan_warp_tokens];
    Decay decay[scan_warp_tokens];
    float sum = 0, summand = 0;
#pragma unroll
    for (int t = scan_warp_tokens - 1; t >= 0; --t) {
      float g = 0;
      incoming[t] = 0;
      if (own + t < sequence.count && exists) {
        const int token = sequence.first + own + t;
        g = p.decay.load(p.decay.place(sequence.batch, token, 0) + channel);
        if (p.output_gradient.base) {
          incoming[t] =
              p.output_gradient.load(p.output_gradient.place(sequence.batch, token, 0) + channel);
        }
      }
      decay[t] = Decay(g);
      sum += g;
      summand = decay[t](summand + incoming[t]);
    }
    // The last warp's tokens come first.
    float from_later = shares.exchange(scan_warps - 1 - warp, sum, summand, handed_on);
#pragma unroll
    for (int t = scan_warp_tokens - 1; t >= 0; --t) {
      const float gradient = incoming[t] + from_later;
      from_later = decay[t](gradient);
      if (own + t < sequence.count && exists) {
        const int token = sequence.first + own + t;
        float before = p.initial_state ? p.initial_state[place] : 0;
        if (own + t > 0) {
          before = p.output.load(p.output.place(sequence.batch, token - 1, 0) + channel);
        }
        p.inputs_gradient.store(p.inputs_gradient.place(sequence.batch, token, 0) + channel,
                                gradient);
        p.decay_gradient.store(p.decay_gradient.place(sequence.batch, token, 0) + channel,
                               before * from_later);
      }
    }
  }
  if (warp == 0 && exists) p.initial_state_gradient[place] = handed_on;
}

// The selective scan h_t = e^(Δ_t A) h_(t-1) + Δ_t x_t B_t, y_t = C_tᵀ h_t + D x_t.
//
// A block processes the tokens of one sequence for 8 channels: scan/selective.cuh.

#include "scan/selective.cuh"

extern "C" __global__ void scan_selective(const __grid_constant__ ScanSelectiveParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  const Operands &o = p.operands;
  const int padded_states = selective_padded_states(o.states);
  const ScanSelectiveLayout layout = selective_layout(padded_states);
  Tokens tokens((float *)shared, layout, padded_states);
  // The states of the block's channels; each thread accesses only its own.
  float *states = (float *)shared + layout.states;
  const int number = blockIdx.x / o.blocks;
  const int first_channel = blockIdx.x % o.blocks * selective_channels;
  const Sequence sequence = o.sequences[number];
  const int own = threadIdx.x / selective_lanes;
  const int lane = threadIdx.x % selective_lanes;
  const int channel = first_channel + own;
  const bool exists = channel < o.channels;
  const i64 place = ((i64)number * o.channels + channel) * o.states;
  const float skip = o.skip && exists ? o.skip[channel] : 0;

  float *state = states + own * padded_states;
  for (int n = lane; exists && n < o.states; n += selective_lanes) {
    state[n] = o.initial_state ? o.initial_state[place + n] : 0;
  }
  for (int first = 0; first < sequence.count; first += selective_tile_tokens) {
    __syncthreads();
    tokens.load(o, sequence, first, first_channel);
    __syncthreads();
    if (p.states) {
      const i64 tile = sequence.chunk + first / selective_tile_tokens;
      for (int n = lane; exists && n < o.states; n += selective_lanes) {
        p.states[(tile * o.channels + channel) * o.states + n] = state[n];
      }
    }
    for (int t = 0; t < selective_tile_tokens && first + t < sequence.count; ++t) {
      const float step = tokens.step[t * selective_channels + own];
      const float x = tokens.inputs[t * selective_channels + own];
      float sum = 0;
      for (int n = lane; exists && n < o.states; n += selective_lanes) {
        const int factor = t * padded_states + n;
        state[n] = Decay(step * o.rate(channel, n))(state[n]) + step * x * tokens.input_matrix[factor];
        sum += tokens.output_matrix[factor] * state[n];
      }
      sum = lane_sum<selective_lanes>(sum) + skip * x;
      if (lane == 0 && exists) {
        const int token = sequence.first + first + t;
        p.output.store(p.output.place(sequence.batch, token, 0) + channel, sum);
      }
    }
  }
  for (int n = lane; exists && n < o.states; n += selective_lanes) p.final_state[place + n] = state[n];
}

// The gradients of the selective scan, tile by tile from the last. With dh_t the gradient of h_t and
// a_t = e^(Δ_t A),
//
//     dh_t = C_t dy_t + a_(t+1) dh_(t+1) ,   dC_t = Σ dy_t h_t ,   dB_t = Σ Δ_t x_t dh_t
//     dA = Σ Δ_t a_t h_(t-1) dh_t ,   dΔ_t = Σ (A a_t h_(t-1) + x_t B_t) dh_t
//     dx_t = D dy_t + Σ Δ_t B_t dh_t ,   dD = Σ x_t dy_t
//
// The states within a tile are recomputed from the state before it. B and C are shared by all channels: a
// block processes every `blocks`-th group of 8 channels, one after the other, and accumulates its shares of
// dB and dC in its own slot; the slots are added in order afterwards.

#include "scan/selective.cuh"

// Sums a tile's shares of dB or dC [16, channels, 16 states] over the block's channels, for states
// `first` …, into the block's slot: the first group of channels writes, later ones add.
DEVICE void add_to_slot(float *slot, const float *shares, int count, int first, int states,
                        bool is_first) {
  for (int index = threadIdx.x; index < count * selective_lanes; index += selective_threads) {
    const int t = index / selective_lanes;
    const int n = first + index % selective_lanes;
    if (n >= states) continue;
    float sum = 0;
    for (int c = 0; c < selective_channels; ++c) {
      sum += shares[(t * selective_channels + c) * selective_lanes + index % selective_lanes];
    }
    float &target = slot[(i64)t * states + n];
    target = is_first ? sum : target + sum;
  }
}

extern "C" __global__ void scan_selective_backward(const __grid_constant__ ScanSelectiveBackwardParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  const Operands &o = p.operands;
  const int padded_states = selective_padded_states(o.states);
  const ScanSelectiveLayout layout = selective_layout(padded_states);
  float *numbers = (float *)shared;
  Tokens tokens(numbers, layout, padded_states);
  float *incoming = numbers + layout.incoming;
  float *input_gradient = numbers + layout.input_gradient;
  float *step_gradient = numbers + layout.step_gradient;
  float *before = numbers + layout.before;
  float *input_shares = numbers + layout.input_shares;
  float *output_shares = numbers + layout.output_shares;
  float *handed_on = numbers + layout.handed_on;
  float *rate_gradients = numbers + layout.rate_gradients;
  const int number = blockIdx.x / o.blocks;
  const int slot = blockIdx.x % o.blocks;
  const Sequence sequence = o.sequences[number];
  const int own = threadIdx.x / selective_lanes;
  const int lane = threadIdx.x % selective_lanes;
  const int tiles = CEIL_DIVIDE(sequence.count, selective_tile_tokens);
  const i64 first_row = slot * p.tokens + sequence.batch * o.length + sequence.first;

  for (int first_channel = slot * selective_channels; first_channel < o.channels;
       first_channel += o.blocks * selective_channels) {
    const bool is_first = first_channel == slot * selective_channels;
    const int channel = first_channel + own;
    const bool exists = channel < o.channels;
    const i64 place = ((i64)number * o.channels + channel) * o.states;
    const float skip = o.skip && exists ? o.skip[channel] : 0;
    float skip_gradient = 0, bias_gradient = 0;
    for (int n = lane; n < padded_states; n += selective_lanes) {
      const bool has_state = exists && n < o.states && p.final_state_gradient;
      handed_on[own * padded_states + n] = has_state ? p.final_state_gradient[place + n] : 0;
      rate_gradients[own * padded_states + n] = 0;
    }
    for (int tile = tiles - 1; tile >= 0; --tile) {
      const int first = tile * selective_tile_tokens;
      const int count = min(selective_tile_tokens, sequence.count - first);
      __syncthreads();
      tokens.load(o, sequence, first, first_channel);
      for (int index = threadIdx.x; index < selective_tile_tokens * selective_channels;
           index += selective_threads) {
        const int row = index / selective_channels;
        const int c = first_channel + index % selective_channels;
        const int token = sequence.first + first + row;
        const bool is_there = p.output_gradient.base && row < count && c < o.channels;
        incoming[index] =
            is_there ? p.output_gradient.load(p.output_gradient.place(sequence.batch, token, 0) + c)
                     : 0;
        input_gradient[index] = 0;
        step_gradient[index] = 0;
      }
      __syncthreads();

      for (int n = lane; n < padded_states; n += selective_lanes) {
        const bool has_state = exists && n < o.states;
        const float rate = has_state ? o.rate(channel, n) : 0;
        const i64 kept = (i64)sequence.chunk + tile;
        float state = has_state ? p.states[(kept * o.channels + channel) * o.states + n] : 0;
        for (int t = 0; t < count; ++t) {
          const float step = tokens.step[t * selective_channels + own];
          before[t * selective_threads + threadIdx.x] = state;
          state = Decay(step * rate)(state) + step * tokens.inputs[t * selective_channels + own] *
                                                  tokens.input_matrix[t * padded_states + n];
        }
        float later = handed_on[own * padded_states + n];
        float rate_gradient = 0;
        for (int t = count - 1; t >= 0; --t) {
          const int index = t * selective_channels + own;
          const int share = t * selective_threads + threadIdx.x;
          const float step = tokens.step[index];
          const float x = tokens.inputs[index];
          const float written = tokens.input_matrix[t * padded_states + n];
          const float gradient =
              later + tokens.output_matrix[t * padded_states + n] * incoming[index];
          output_shares[share] = incoming[index] * state;
          input_shares[share] = step * x * gradient;
          later = Decay(step * rate)(gradient);
          state = before[share];
          const float flow = state * later;
          rate_gradient += step * flow;
          const float to_input = lane_sum<selective_lanes>(step * written * gradient);
          const float to_step = lane_sum<selective_lanes>(rate * flow + x * written * gradient);
          if (lane == 0) {
            input_gradient[index] += to_input;
            step_gradient[index] += to_step;
          }
        }
        handed_on[own * padded_states + n] = later;
        rate_gradients[own * padded_states + n] += rate_gradient;
        __syncthreads();
        const i64 target = (first_row + first) * o.states;
        add_to_slot(p.input_matrix + target, input_shares, count, n - lane, o.states, is_first);
        add_to_slot(p.output_matrix + target, output_shares, count, n - lane, o.states, is_first);
        __syncthreads();
      }
      if (lane > 0 || !exists) continue;
      for (int t = 0; t < count; ++t) {
        const int index = t * selective_channels + own;
        const int token = sequence.first + first + t;
        // Where Δ has slope 0, its gradient may be NaN if the rate is infinite.
        const float slope = tokens.slope[index];
        const float step = slope == 0 ? 0 : step_gradient[index] * slope;
        skip_gradient += tokens.inputs[index] * incoming[index];
        bias_gradient += step;
        p.inputs.store(p.inputs.place(sequence.batch, token, 0) + channel,
                       input_gradient[index] + skip * incoming[index]);
        p.step.store(p.step.place(sequence.batch, token, 0) + channel, step);
      }
    }
    if (!exists) continue;
    for (int n = lane; n < o.states; n += selective_lanes) {
      p.state_matrix[place + n] = rate_gradients[own * padded_states + n];
      p.initial_state[place + n] = handed_on[own * padded_states + n];
    }
    if (lane == 0) {
      p.skip[(i64)number * o.channels + channel] = skip_gradient;
      p.step_bias[(i64)number * o.channels + channel] = bias_gradient;
    }
  }
}

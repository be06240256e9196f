#pragma once

#include "linear/chunk.cuh"

// Gradients in one channel of a chunk: those of its reads, its writes and its decay.
//
// A read x found something whose gradient is f, a write z left u in the state; h is the state before
// the chunk and dh' the gradient of that after it. Then, Π being the product of e^g between two places,
//
//     dx_i = (f h^T)_i Π + Σ_j dS_ij z_j Π        dS = f u^T
//     dz_j = (u dh'^T)_j Π + Σ_i dS_ij x_i Π
//
// and the gradient of the logarithm g at t counts everything that passes t: from the state to reads
// i ≥ t, from writes j < t to the state, from state to state, and from writes j < t to reads i ≥ t. No
// two of these terms are differences of larger ones.

// What the whole block has computed for the chunk.
struct ChunkGradients {
  float *reads[read_count];                          // [16, k]: f h^T, then dx
  float *writes[write_count];                        // [16, k]: u dh'^T
  float *through;                                    // [k]: Σ over columns of h dh'
  float *score_gradients[read_count][write_count];   // [16, 16]: f u^T
};

// Gradients in the registers of the thread that works on the channel.
struct ChannelGradients {
  float writes[write_count][chunk_tokens];
  float decay[chunk_tokens];
  float bonus;
};

// Leaves dx in `chunk_gradients.reads`, and returns the others. `bonus` is u of the channel.
DEVICE ChannelGradients channel_gradients(const Chunk &chunk, const ChunkGradients &gradients, int d,
                                          bool has_bonus, float bonus) {
  ChannelGradients result;
  result.bonus = 0;
  float f[chunk_tokens], z[write_count][chunk_tokens];
#pragma unroll
  for (int t = 0; t < chunk_tokens; ++t) {
    f[t] = chunk.factors[t * key_pitch + d];
#pragma unroll
    for (int w = 0; w < write_count; ++w) z[w][t] = chunk.writes[w][t * key_pitch + d];
  }

  // From state to state, and from writes to the state.
  const float through = chunk.decay(d).factor() * gradients.through[d];
#pragma unroll
  for (int t = 0; t < chunk_tokens; ++t) result.decay[t] = through;
#pragma unroll
  for (int w = 0; w < write_count; ++w) {
    float factor = 1;
#pragma unroll
    for (int j = chunk_tokens - 1; j >= 0; --j) {
      result.writes[w][j] = factor * gradients.writes[w][j * key_pitch + d];
      factor *= f[j];
    }
    float earlier = 0;
#pragma unroll
    for (int t = 0; t < chunk_tokens; ++t) {
      result.decay[t] += earlier;
      earlier += z[w][t] * result.writes[w][t];
    }
  }

#pragma unroll
  for (int r = 0; r < read_count; ++r) {
    const bool strict = is_strict(r, has_bonus);
    const bool exclusive = is_exclusive(r, has_bonus);
    const float *x = chunk.reads[r] + d;
    float *dx = gradients.reads[r] + d;

    // From the state to reads.
    float factor = 1;
#pragma unroll
    for (int i = 0; i < chunk_tokens; ++i) {
      if (!exclusive) factor *= f[i];
      dx[i * key_pitch] *= factor;
      if (exclusive) factor *= f[i];
    }
    float later = 0;
#pragma unroll
    for (int t = chunk_tokens - 1; t >= 0; --t) {
      const float flow = x[t * key_pitch] * dx[t * key_pitch];
      result.decay[t] += exclusive ? later : later + flow;
      later += flow;
    }

    // From writes to reads.
    for (int i = 0; i < chunk_tokens; ++i) {
      const float own = x[i * key_pitch];
      const int at = i * chunk_tokens;
      // The product of e^g behind t up to i.
      float behind[chunk_tokens];
      float product = 1;
#pragma unroll
      for (int t = chunk_tokens - 1; t >= 0; --t) {
        behind[t] = product;
        if (t < i || (t == i && !strict)) {
#pragma unroll
          for (int w = 0; w < write_count; ++w) {
            result.writes[w][t] += gradients.score_gradients[r][w][at + t] * own * product;
          }
        }
        if (t < i || (t == i && !exclusive)) product *= f[t];
      }
      // What the read gets of the writes up to t, decayed to behind t.
      float sum = 0;
#pragma unroll
      for (int t = 0; t < chunk_tokens; ++t) {
        if (t < i || (t == i && !exclusive)) {
          sum *= f[t];
          result.decay[t] += own * behind[t] * sum;
        }
        if (t < i || (t == i && !strict)) {
#pragma unroll
          for (int w = 0; w < write_count; ++w) {
            sum += gradients.score_gradients[r][w][at + t] * z[w][t];
          }
        }
        if (r == 0 && has_bonus && t == i) {
          // The token's own pair.
          const float pair = gradients.score_gradients[0][key_write][at + t];
          sum += pair * bonus * z[key_write][t];
          result.writes[key_write][t] += pair * bonus * own;
          result.bonus += pair * own * z[key_write][t];
        }
      }
      dx[i * key_pitch] += sum;
    }
  }
  return result;
}

#pragma once

#include "linear/chunk.cuh"

// The gradients of the reads, the writes and the decay of one channel of a chunk.
//
// f is the gradient of the result of a read x, u the values of a write z; h is the state before the chunk
// and dh' the gradient of the state after it. Then, with Π the product of e^g between two positions,
//
//     dx_i = (f h^T)_i Π + Σ_j dS_ij z_j Π        dS = f u^T
//     dz_j = (u dh'^T)_j Π + Σ_i dS_ij x_i Π
//
// and the gradient of the logarithm g at t is the flow through t: from the state to reads i ≥ t, from
// writes j < t to the state, from state to state, and from writes j < t to reads i ≥ t. None of these
// terms is a difference of larger ones.

// Gradients that the whole block has computed for the chunk.
struct ChunkGradients {
  float *read_rows;    // [reads][16, k]: f h^T, then dx
  float *write_rows;   // [writes][16, k]: u dh'^T, then dz
  float *through;      // [k]: Σ over columns of h dh'
  float *score_rows;   // [reads][writes][16, 16]: f u^T

  __device__ float *reads(int r) const { return read_rows + r * rows_size; }
  __device__ float *writes(int w) const { return write_rows + w * rows_size; }
  __device__ float *scores(int r, int w) const {
    return score_rows + (r * write_count + w) * scores_size;
  }
};

// The threads that share a channel: they take its reads round-robin.
constexpr int channel_threads = block_threads / KEYS;

// A thread's shares of the gradients of a channel.
struct ChannelGradients {
  float writes[write_count][chunk_tokens];
  float decay[chunk_tokens];
  float bonus;
};

// Stores dx of the thread's reads in `gradients`, returns its other shares. `bonus` is u of channel `d`.
DEVICE ChannelGradients channel_gradients(const Chunk &chunk, const ChunkGradients &gradients, int d,
                                          int share, bool has_bonus, float bonus) {
  ChannelGradients result = {};
  float f[chunk_tokens], z[write_count][chunk_tokens];
#pragma unroll
  for (int t = 0; t < chunk_tokens; ++t) {
    f[t] = chunk.factors[t * key_pitch + d];
#pragma unroll
    for (int w = 0; w < write_count; ++w) z[w][t] = chunk.writes(w)[t * key_pitch + d];
  }

  if (share == 0) {
    // From state to state, and from writes to the state.
    const float through = chunk.decay(d).factor() * gradients.through[d];
#pragma unroll
    for (int t = 0; t < chunk_tokens; ++t) result.decay[t] = through;
#pragma unroll
    for (int w = 0; w < write_count; ++w) {
      float factor = 1;
#pragma unroll
      for (int j = chunk_tokens - 1; j >= 0; --j) {
        result.writes[w][j] = factor * gradients.writes(w)[j * key_pitch + d];
        factor *= f[j];
      }
      float earlier = 0;
#pragma unroll
      for (int t = 0; t < chunk_tokens; ++t) {
        result.decay[t] += earlier;
        earlier += z[w][t] * result.writes[w][t];
      }
    }
  }

  // From the state and from writes to reads.
#pragma unroll 1
  for (int read = share; read < read_count * chunk_tokens; read += channel_threads) {
    const int r = read / chunk_tokens;
    const int i = read % chunk_tokens;
    const float *scores = gradients.scores(r, 0) + i * chunk_tokens;
    const float own = chunk.reads(r)[i * key_pitch + d];
    float &dx = gradients.reads(r)[i * key_pitch + d];
    const int last_write = is_strict(r, has_bonus) ? i - 1 : i;
    const int last_decay = is_exclusive(r, has_bonus) ? i - 1 : i;
    // The product of e^g after t, up to i.
    float behind[chunk_tokens];
    float product = 1;
#pragma unroll
    for (int t = chunk_tokens - 1; t >= 0; --t) {
      behind[t] = product;
      if (t <= last_write) {
#pragma unroll
        for (int w = 0; w < write_count; ++w) {
          result.writes[w][t] += scores[w * scores_size + t] * own * product;
        }
      }
      if (t <= last_decay) product *= f[t];
    }
    // The read's sum over the state and the writes up to t, decayed to t.
    float sum = dx;
#pragma unroll
    for (int t = 0; t < chunk_tokens; ++t) {
      if (t <= last_decay) {
        sum *= f[t];
        result.decay[t] += own * behind[t] * sum;
      }
      if (t <= last_write) {
#pragma unroll
        for (int w = 0; w < write_count; ++w) sum += scores[w * scores_size + t] * z[w][t];
      }
      if (r == 0 && has_bonus && t == i) {
        // The pair of the token with itself.
        const float pair = scores[key_write * scores_size + t];
        sum += pair * bonus * z[key_write][t];
        result.writes[key_write][t] += pair * bonus * own;
        result.bonus += pair * own * z[key_write][t];
      }
    }
    dx = sum;
  }
  return result;
}

// Computes the gradients of all channels: dx and dz in `gradients`, those of the logarithms g in place of the
// factors. Shares are added in order. Returns the thread's share of the bonus's gradient.
DEVICE float find_channel_gradients(const Chunk &chunk, const ChunkGradients &gradients,
                                    const float *bonus, int dimension) {
  const int d = threadIdx.x % KEYS;
  const int share = threadIdx.x / KEYS;
  const float own_bonus = bonus && d < dimension ? bonus[d] : 0;
  const ChannelGradients own = channel_gradients(chunk, gradients, d, share, bonus, own_bonus);
#pragma unroll 1
  for (int turn = 0; turn < channel_threads; ++turn) {
    __syncthreads();
    if (turn != share) continue;
#pragma unroll
    for (int t = 0; t < chunk_tokens; ++t) {
      float &decay = chunk.factors[t * key_pitch + d];
      decay = turn == 0 ? own.decay[t] : decay + own.decay[t];
#pragma unroll
      for (int w = 0; w < write_count; ++w) {
        float &written = gradients.writes(w)[t * key_pitch + d];
        written = turn == 0 ? own.writes[w][t] : written + own.writes[w][t];
      }
    }
  }
  __syncthreads();
  return own.bonus;
}

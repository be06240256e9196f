// The gradients of linear attention, chunk by chunk from the last.
//
// One block works as in linear/forward.cu, with the gradient of the state in shared memory; the states
// before the chunks come from there. With f the gradient of what r finds,
//
//     du = Aᵀ dO + (z e^(γ - G)) dh' ,   (1 - L)ᵀ f = du ,   dsource = f
//     dv = A'ᵀ dO + (k e^(γ - G)) dh' + Mᵀ f      of a low rank's values, which are written beside u
//     dh = e^γ dh' + (q e^G)ᵀ dO + (r e^G)ᵀ f
//
// A and A' being the scores of q, L and M those of r; additive tokens have no r, and u is v. Of what
// depends on all columns of the values a block writes its share to a slot of its own, and the slots are
// added in order: nothing depends on which block is first. Macros: linear/chunk.cuh.

#include "linear/pairs.cuh"

struct Parameters {
  Operands operands;
  Rows output_gradient;               // [b, t, hv, v], or without a base for zeros
  const float *final_state_gradient;  // [n, hv, k, v], or null for zeros
  const float *states;                // [chunks, hv, k, v]: before each chunk
  Rows values;                        // dv [b, t, hv, v]
  float *initial_state;               // [n, hv, k, v], or null
  // Slots, [slices, b, t, hv, k] each; null where there is no such input.
  float *queries, *keys, *reads, *writes;
  float *decay;                       // [slices, b, t, hv, 1 or k]
  float *beta;                        // [slices, b, t, hv]
  float *bonus;                       // [n, slices, hv, k]
  i64 tokens;                         // b t
  i64 length;                         // t
};

// Reads of the keys' size and what is found, for a token and channel.
using KeyTile = Tile2D<chunk_tokens, KEYS, 4>;
using ScoreTile = Tile2D<chunk_tokens, chunk_tokens, 8>;

// What is only known going backward.
struct Incoming {
  float *found[read_count];   // [16, columns]: dO, f

  __device__ explicit Incoming(Room &room) {
    for (float *&rows : found) rows = room.take(chunk_tokens * column_pitch);
  }
};

DEVICE void load_output_gradient(float *target, const Parameters &p, const Place &at, int first) {
  for (int index = threadIdx.x; index < chunk_tokens * COLUMNS; index += block_threads) {
    const int row = index / COLUMNS;
    const int c = index % COLUMNS;
    const int column = at.first_column + c;
    const bool exists = p.output_gradient.base && first + row < at.sequence.count &&
                        column < p.operands.value_dimension;
    const i64 place =
        p.output_gradient.place(at.sequence.batch, at.sequence.first + first + row, at.head);
    target[row * column_pitch + c] = exists ? p.output_gradient.load(place + column) : 0;
  }
}

// Writes a tile of the values' gradient, each row multiplied by `factors` if there are.
DEVICE void store_value_gradient(const Parameters &p, const Place &at, int first, int i, int c,
                                 float gradient) {
  const int column = at.first_column + c;
  if (first + i >= at.sequence.count || column >= p.operands.value_dimension) return;
  const int token = at.sequence.first + first + i;
  p.values.store(p.values.place(at.sequence.batch, token, at.head) + column, gradient);
}

// β of a token; 0 behind the end.
DEVICE float load_beta(const Parameters &p, const Place &at, int token) {
  if (token >= at.sequence.count) return 0;
  const Rows &beta = p.operands.first_update;
  return beta.load(beta.place(at.sequence.batch, at.sequence.first + token, at.head));
}

extern "C" __global__ void linear_backward(const __grid_constant__ Parameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  Room room{(float *)shared};
  float *state = room.take(state_size);
  float *state_gradient = room.take(state_size);
  const Chunk chunk(room);
  const Incoming incoming(room);
  // What is read and written decayed, then gradients through the state.
  float *reads[read_count], *writes[write_count];
  for (float *&rows : reads) rows = room.take(rows_size);
  for (float *&rows : writes) rows = room.take(rows_size);
  ChunkGradients gradients;
  for (int r = 0; r < read_count; ++r) gradients.reads[r] = reads[r];
  for (int w = 0; w < write_count; ++w) gradients.writes[w] = writes[w];
  for (auto &row : gradients.score_gradients) {
    for (float *&matrix : row) matrix = room.take(scores_size);
  }
  gradients.through = room.take(KEYS);
  const Operands &o = p.operands;
  const Place at(o);
  const float *bonus = at.bonus(o);
  const int lane = threadIdx.x % warp_threads;

  float bonus_gradient[(KEYS + block_threads - 1) / block_threads] = {};
  load_state(state_gradient,
             p.final_state_gradient ? p.final_state_gradient + at.state(o) : nullptr, o, at);
  const int chunks = (at.sequence.count + chunk_tokens - 1) / chunk_tokens;
  for (int number = chunks - 1; number >= 0; --number) {
    const int first = number * chunk_tokens;
    __syncthreads();
    load_state(state, p.states + at.chunk_state(o, number), o, at);
    load_chunk(chunk, o, at, first);
    load_output_gradient(incoming.found[0], p, at, first);
    __syncthreads();
    score_chunk(chunk, reads, bonus, o.key_dimension);
    decay_writes(chunk, writes);
    __syncthreads();

    if constexpr (UPDATE > 0) {
      solve_written(chunk, reads[1], state);
      // du, then f in its place
      TokenTile tile;
      add_found(tile, writes[0], state_gradient);
      add_read(tile, chunk.scores[0][0], incoming.found[0]);
      tile.each([&](int i, int c, float sum) { incoming.found[1][i * column_pitch + c] = sum; });
      __syncthreads();
      const float *lower = chunk.scores[1][0];
      for (int c = threadIdx.x; c < COLUMNS; c += block_threads) {
        float f[chunk_tokens];
#pragma unroll
        for (int i = chunk_tokens - 1; i >= 0; --i) {
          float &place = incoming.found[1][i * column_pitch + c];
          f[i] = place;
#pragma unroll
          for (int j = chunk_tokens - 1; j > i; --j) f[i] += lower[j * chunk_tokens + i] * f[j];
          place = f[i];
        }
      }
      __syncthreads();
    }
    if constexpr (UPDATE == 1) {
      for (int index = threadIdx.x; index < chunk_tokens * COLUMNS; index += block_threads) {
        const int i = index / COLUMNS;
        const int c = index % COLUMNS;
        const float beta = o.is_delta ? load_beta(p, at, first + i) : 1;
        store_value_gradient(p, at, first, i, c, beta * incoming.found[1][i * column_pitch + c]);
      }
    } else {
      TokenTile tile;
      add_found(tile, writes[key_write], state_gradient);
#pragma unroll
      for (int r = 0; r < read_count; ++r) {
        add_read(tile, chunk.scores[r][key_write], incoming.found[r]);
      }
      tile.each([&](int i, int c, float sum) { store_value_gradient(p, at, first, i, c, sum); });
    }

    // dS = f u^T, and through the state.
#pragma unroll
    for (int r = 0; r < read_count; ++r) {
#pragma unroll
      for (int w = 0; w < write_count; ++w) {
        ScoreTile tile;
        tile.add<COLUMNS>(
            [&](int i, int c) { return incoming.found[r][i * column_pitch + c]; },
            [&](int c, int j) { return chunk.written[w][j * column_pitch + c]; });
        tile.each([&](int i, int j, float sum) {
          gradients.score_gradients[r][w][i * chunk_tokens + j] = sum;
        });
      }
    }
    for (int d = threadIdx.x; d < KEYS; d += block_threads) {
      float sum = 0;
      for (int c = 0; c < COLUMNS; ++c) {
        sum += state[d * column_pitch + c] * state_gradient[d * column_pitch + c];
      }
      gradients.through[d] = sum;
    }
    __syncthreads();
#pragma unroll
    for (int w = 0; w < write_count; ++w) {
      KeyTile tile;
      tile.add<COLUMNS>(
          [&](int i, int c) { return chunk.written[w][i * column_pitch + c]; },
          [&](int c, int d) { return state_gradient[d * column_pitch + c]; });
      tile.each([&](int i, int d, float sum) { writes[w][i * key_pitch + d] = sum; });
    }
    __syncthreads();
    {
      StateTile tile;
#pragma unroll
      for (int r = 0; r < read_count; ++r) add_outer(tile, reads[r], incoming.found[r]);
      tile.each([&](int d, int c, float sum) {
        float &number = state_gradient[d * column_pitch + c];
        number = chunk.decay(d)(number) + sum;
      });
    }
    __syncthreads();
#pragma unroll
    for (int r = 0; r < read_count; ++r) {
      KeyTile tile;
      tile.add<COLUMNS>(
          [&](int i, int c) { return incoming.found[r][i * column_pitch + c]; },
          [&](int c, int d) { return state[d * column_pitch + c]; });
      tile.each([&](int i, int d, float sum) { reads[r][i * key_pitch + d] = sum; });
    }
    __syncthreads();

    // Where row 0 of the chunk lies in the slots, counted in tokens and heads.
    const i64 row_of_slots = (at.slice * p.tokens + at.sequence.batch * p.length +
                              at.sequence.first + first) * o.value_heads + at.head;
    for (int d = threadIdx.x, n = 0; d < o.key_dimension; d += block_threads, ++n) {
      const float own_bonus = bonus ? bonus[d] : 0;
      ChannelGradients own = channel_gradients(chunk, gradients, d, bonus, own_bonus);
      bonus_gradient[n] += own.bonus;
#pragma unroll
      for (int t = 0; t < chunk_tokens; ++t) {
        if (first + t >= at.sequence.count) continue;
        const i64 slot = (row_of_slots + (i64)t * o.value_heads) * o.key_dimension + d;
        p.queries[slot] = reads[0][t * key_pitch + d];
        float keys = own.writes[key_write][t];
        if constexpr (UPDATE == 1) {
          float &read = reads[1][t * key_pitch + d];
          if (o.is_delta) {
            // r = -βk. What k d leaves of β's gradient is summed below.
            keys -= load_beta(p, at, first + t) * read;
            read *= chunk.writes[0][t * key_pitch + d];
          } else {
            p.reads[slot] = -read;
          }
        }
        if constexpr (UPDATE == 2) {
          p.reads[slot] = reads[1][t * key_pitch + d];
          p.writes[slot] = own.writes[0][t];
        }
        p.keys[slot] = keys;
        if (o.decay_width == 1) chunk.factors[t * key_pitch + d] = own.decay[t];
        if (o.decay_width > 1) p.decay[slot] = own.decay[t];
      }
    }
    __syncthreads();

    // Sums over channels: of a decay that they share, and of β.
    for (int t = threadIdx.x / warp_threads; t < chunk_tokens; t += block_warps) {
      if (first + t >= at.sequence.count) break;
      const i64 slot = row_of_slots + (i64)t * o.value_heads;
      if (o.decay_width == 1) {
        float sum = 0;
        for (int d = lane; d < o.key_dimension; d += warp_threads) {
          sum += chunk.factors[t * key_pitch + d];
        }
        sum = warp_sum(sum);
        if (lane == 0) p.decay[slot] = sum;
      }
      if (UPDATE == 1 && o.is_delta) {
        float sum = 0;
        for (int d = lane; d < o.key_dimension; d += warp_threads) {
          sum -= reads[read_count - 1][t * key_pitch + d];
        }
        const int token = at.sequence.first + first + t;
        const i64 values = o.values.place(at.sequence.batch, token, at.head);
        for (int c = lane; c < COLUMNS; c += warp_threads) {
          const int column = at.first_column + c;
          if (column < o.value_dimension) {
            sum += o.values.load(values + column) *
                   incoming.found[read_count - 1][t * column_pitch + c];
          }
        }
        sum = warp_sum(sum);
        if (lane == 0) p.beta[slot] = sum;
      }
    }
  }
  __syncthreads();
  if (p.initial_state) store_state(state_gradient, p.initial_state + at.state(o), o, at);
  if (p.bonus) {
    const i64 slot = ((i64)at.number * o.slices + at.slice) * o.value_heads + at.head;
    for (int d = threadIdx.x, n = 0; d < o.key_dimension; d += block_threads, ++n) {
      p.bonus[slot * o.key_dimension + d] = bonus_gradient[n];
    }
  }
}

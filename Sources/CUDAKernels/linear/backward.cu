// The gradients of linear attention, chunk by chunk from the last.
//
// The work is divided as in linear/forward.cu, which stored the states before the chunks; the gradient of
// the state is in shared memory. With f the gradient of what r reads,
//
//     du = Aᵀ dO + (z e^(γ - G)) dh' ,   (1 - L)ᵀ f = du ,   dsource = f
//     dv = A'ᵀ dO + (k e^(γ - G)) dh' + Mᵀ f      in the low-rank update, which writes v beside u
//     dh = e^γ dh' + (q e^G)ᵀ dO + (r e^G)ᵀ f
//
// where A and A' are the scores of q, L and M those of r. In additive updates there is no r, and u is v. A
// block writes its share of gradients that depend on all columns of the values to a slot of its own; the
// slots are added in order, so results are deterministic. Macros: linear/chunk.cuh.

#include "linear/pairs.cuh"

// Gradients of what the chunk's rows read.
struct Incoming {
  float *rows;   // [reads][16, columns]: dO, f

  __device__ float *found(int r) const { return rows + r * values_size; }
};

DEVICE void load_output_gradient(float *target, const LinearBackwardParameters &p, const Place &at, int first) {
  const Rows &rows = p.output_gradient;
#pragma unroll 1
  for (int row = threadIdx.x / warp_threads; row < chunk_tokens; row += block_warps) {
    const bool exists = rows.base && first + row < at.sequence.count;
    load_value_row(target + row * column_pitch, rows,
                   rows.place(at.sequence.batch, at.sequence.first + first + row, at.head), exists,
                   p.operands, at, 1);
  }
}

DEVICE void store_value_gradient(const LinearBackwardParameters &p, const Place &at, int first, int i, int c,
                                 float gradient) {
  const int column = at.first_column + c;
  if (first + i >= at.sequence.count || column >= p.operands.value_dimension) return;
  const int token = at.sequence.first + first + i;
  p.values.store(p.values.place(at.sequence.batch, token, at.head) + column, gradient);
}

// β of a token; 0 after the end.
DEVICE float load_beta(const LinearBackwardParameters &p, const Place &at, int token) {
  if (token >= at.sequence.count) return 0;
  const Rows &beta = p.operands.first_update;
  return beta.load(beta.place(at.sequence.batch, at.sequence.first + token, at.head));
}

// dS = f u^T of each pair of a read and a write, one warp per pair.
DEVICE void find_score_gradients(const Chunk &chunk, const Incoming &incoming,
                                 const ChunkGradients &gradients) {
  const int warp = threadIdx.x / warp_threads;
  if (warp >= read_count * write_count) return;
  const float *found = incoming.found(warp / write_count);
  const float *written = chunk.written(warp % write_count);
  float sum[2][4] = {};
#pragma unroll 1
  for (int c = 0; c < COLUMNS; c += piece_size) {
    add_step(sum, {found + c, column_pitch, 1, written + c, 1, column_pitch}, 0, 0);
  }
  float *target = gradients.score_rows + warp * scores_size;
  each_of_piece(sum, 0, 0, [=](int i, int j, float number) {
    target[i * chunk_tokens + j] = number;
  });
}

// rows [16, k] = columns [16, columns] · state^T
DEVICE void find_key_rows(float *rows, const float *columns, const float *state) {
  multiply<chunk_tokens, KEYS>(
      COLUMNS / piece_size,
      [=](int n) -> Step {
        return {columns + n * piece_size, column_pitch, 1, state + n * piece_size, 1, column_pitch};
      },
      [=](int i, int d, float sum) { rows[i * key_pitch + d] = sum; });
}

// Writes the chunk's shares, whose first row is row `row` of the slots. For r = -βk it replaces the gradient
// of r by the summands of that of β.
DEVICE void store_shares(const LinearBackwardParameters &p, const Place &at, const Chunk &chunk,
                         const ChunkGradients &gradients, int first, i64 row) {
  const Operands &o = p.operands;
#pragma unroll 1
  for (int index = threadIdx.x; index < chunk_tokens * KEYS; index += block_threads) {
    const int t = index / KEYS;
    const int d = index % KEYS;
    if (first + t >= at.sequence.count || d >= o.key_dimension) continue;
    const i64 slot = (row + (i64)t * o.value_heads) * o.key_dimension + d;
    const int place = t * key_pitch + d;
    p.queries[slot] = gradients.reads(0)[place];
    float keys = gradients.writes(key_write)[place];
    if constexpr (UPDATE == 1) {
      float &read = gradients.reads(1)[place];
      if (o.is_delta) {
        // r = -βk
        keys -= load_beta(p, at, first + t) * read;
        read *= -chunk.writes(0)[place];
      } else {
        p.reads[slot] = -read;
      }
    }
    if constexpr (UPDATE == 2) {
      p.reads[slot] = gradients.reads(1)[place];
      p.writes[slot] = gradients.writes(0)[place];
    }
    p.keys[slot] = keys;
    if (o.decay_width > 1) p.decay[slot] = chunk.factors[place];
  }
}

// Writes the gradients that are summed over channels: of a decay per token, and of β.
DEVICE void store_sums(const LinearBackwardParameters &p, const Place &at, const Chunk &chunk,
                       const Incoming &incoming, const ChunkGradients &gradients, int first,
                       i64 row) {
  const Operands &o = p.operands;
  const int lane = threadIdx.x % warp_threads;
#pragma unroll 1
  for (int t = threadIdx.x / warp_threads; t < chunk_tokens; t += block_warps) {
    if (first + t >= at.sequence.count) break;
    const i64 slot = row + (i64)t * o.value_heads;
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
        sum += gradients.reads(read_count - 1)[t * key_pitch + d];
      }
      const int token = at.sequence.first + first + t;
      const i64 values = o.values.place(at.sequence.batch, token, at.head);
      for (int c = lane; c < COLUMNS; c += warp_threads) {
        const int column = at.first_column + c;
        if (column < o.value_dimension) {
          sum += o.values.load(values + column) *
                 incoming.found(read_count - 1)[t * column_pitch + c];
        }
      }
      sum = warp_sum(sum);
      if (lane == 0) p.beta[slot] = sum;
    }
  }
}

constexpr LinearChunkLayout layout = linear_chunk_layout(UPDATE, KEYS, COLUMNS, true);

extern "C" __global__ void __launch_bounds__(block_threads, 1)
    linear_backward(const __grid_constant__ LinearBackwardParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  float *state = (float *)shared;
  float *state_gradient = state + layout.state_gradient;
  const Chunk chunk(state, layout);
  const Incoming incoming = {state + layout.found};
  // Decayed reads and writes, later their gradients through the state.
  float *reads = state + layout.read_gradients;
  float *writes = state + layout.write_gradients;
  const ChunkGradients gradients = {reads, writes, state + layout.through, state + layout.score_gradients};
  const Operands &o = p.operands;
  const Place at(o, chunk_tokens);
  const float *bonus = at.bonus(o);

  float bonus_gradient = 0;
  load_state(state_gradient,
             p.final_state_gradient ? p.final_state_gradient + at.state(o) : nullptr, o, at);
  const int chunks = CEIL_DIVIDE(at.sequence.count, chunk_tokens);
  if (chunks > 0) load_state(state, p.states + at.chunk_state(o, chunks - 1), o, at);
  for (int number = chunks - 1; number >= 0; --number) {
    const int first = number * chunk_tokens;
    __syncthreads();
    load_chunk(chunk, o, at, first);
    load_output_gradient(incoming.found(0), p, at, first);
    prefetch_chunk(o, at, first - chunk_tokens);
    wait_for_copies<0>();
    __syncthreads();
    find_factors(chunk);
    __syncthreads();
    score_chunk(chunk, reads, bonus, o.key_dimension);
    decay_writes(chunk, writes);
    __syncthreads();

    if constexpr (UPDATE > 0) {
      solve_written(chunk, reads + rows_size, state);
      // du, then f in place
      TokenProduct::multiply(
          chunk.shares, key_steps + 1,
          [&](int n) {
            return n < key_steps ? found_step(writes, state_gradient, n)
                                 : read_step(chunk.scores(0, 0), incoming.found(0));
          },
          [&](int i, int c, float sum) { incoming.found(1)[i * column_pitch + c] = sum; });
      __syncthreads();
      solve<true>(chunk.scores(1, 0), incoming.found(1));
      __syncthreads();
    }
    if constexpr (UPDATE == 1) {
      for (int index = threadIdx.x; index < chunk_tokens * COLUMNS; index += block_threads) {
        const int i = index / COLUMNS;
        const int c = index % COLUMNS;
        const float beta = o.is_delta ? load_beta(p, at, first + i) : 1;
        store_value_gradient(p, at, first, i, c, beta * incoming.found(1)[i * column_pitch + c]);
      }
    } else {
      TokenProduct::multiply(
          chunk.shares, key_steps + read_count,
          [&](int n) {
            const int r = n - key_steps;
            return r < 0 ? found_step(writes + key_write * rows_size, state_gradient, n)
                         : read_step(chunk.scores(r, key_write), incoming.found(r));
          },
          [&](int i, int c, float sum) { store_value_gradient(p, at, first, i, c, sum); });
    }

    // dS, and the flow through the state.
    find_score_gradients(chunk, incoming, gradients);
    // Starts with the last warps, which have no scores. Adjacent channels start at adjacent columns, which
    // lie in different banks.
    for (int d = block_threads - 1 - threadIdx.x; d < KEYS; d += block_threads) {
      float sum = 0;
#pragma unroll 4
      for (int n = 0; n < COLUMNS; ++n) {
        const int place = d * column_pitch + (n + d) % COLUMNS;
        sum += state[place] * state_gradient[place];
      }
      gradients.through[d] = sum;
    }
    __syncthreads();
#pragma unroll 1
    for (int w = 0; w < write_count; ++w) {
      find_key_rows(writes + w * rows_size, chunk.written(w), state_gradient);
    }
    __syncthreads();
    advance(state_gradient, chunk, reads, incoming.rows, read_count);
    __syncthreads();
#pragma unroll 1
    for (int r = 0; r < read_count; ++r) {
      find_key_rows(reads + r * rows_size, incoming.found(r), state);
    }
    __syncthreads();

    // Load the state before the previous chunk meanwhile.
    if (number > 0) load_state(state, p.states + at.chunk_state(o, number - 1), o, at);
    bonus_gradient += find_channel_gradients(chunk, gradients, bonus, o.key_dimension);
    const i64 row = (at.slice * p.tokens + at.sequence.batch * p.length + at.sequence.first + first) *
                        o.value_heads + at.head;
    store_shares(p, at, chunk, gradients, first, row);
    __syncthreads();
    store_sums(p, at, chunk, incoming, gradients, first, row);
  }
  wait_for_copies<0>();
  __syncthreads();
  if (p.initial_state) store_state(state_gradient, p.initial_state + at.state(o), o, at);
  if (p.bonus) {
    float *shares = chunk.read_rows;
    shares[threadIdx.x] = bonus_gradient;
    __syncthreads();
    const i64 slot = ((i64)at.number * o.slices + at.slice) * o.value_heads + at.head;
    for (int d = threadIdx.x; d < o.key_dimension; d += block_threads) {
      float sum = 0;
      for (int share = 0; share < channel_threads; ++share) sum += shares[share * KEYS + d];
      p.bonus[slot * o.key_dimension + d] = sum;
    }
  }
}

#pragma once

#include "linear/product.cuh"

// One chunk of 16 tokens of a recurrence with a matrix state, for some columns of the values.
//
//     u_i = source_i + what r_i finds ,   S = D S + Σ over writes of z u^T ,   o = what q finds
//
// Rows that read the state are the queries q and, where tokens erase, r; rows that are written are z,
// with u, and of a low rank k besides, with v:
//
//     additive     z = k, u = v
//     erasing      r = -βk or -y, z = k, source = βv or v
//     low rank     r = a, z = b, no source; k with v
//
// A decay that channels share is treated as one a channel. Everything between two tokens of a chunk
// is a product of their e^g, which are at most 1: there is no exponent of a difference, and e^g may be
// 0. What passes whole chunks, the state's decay, is the exponential of the sum of the logarithms.
//
// Compiled with UPDATE (0 additive, 1 erasing, 2 low rank), KEYS (the key dimension rounded up to 32,
// 64, 128 or 256) and COLUMNS (of the values for one block: 16, 32 or 64). Channels above the key
// dimension are zero.

constexpr int chunk_tokens = 16;
constexpr int read_count = UPDATE == 0 ? 1 : 2;
constexpr int write_count = UPDATE == 2 ? 2 : 1;
// Which write has the keys: the last.
constexpr int key_write = write_count - 1;
// Rows are one number longer, so that those down a column lie in different banks.
constexpr int key_pitch = KEYS + 1;
constexpr int column_pitch = COLUMNS + 1;
constexpr int rows_size = chunk_tokens * key_pitch;
constexpr int scores_size = chunk_tokens * chunk_tokens;
constexpr int state_size = KEYS * column_pitch;

// What all passes read.
struct Operands {
  Rows queries;                 // [b, t, h, k]
  Rows keys;                    // [b, t, h, k]
  Rows values;                  // [b, t, hv, v]
  Rows decay;                   // [b, t, hv, 1 or k]
  Rows first_update;            // β [b, t, hv, 1], y or a [b, t, hv, k]
  Rows second_update;           // b [b, t, hv, k]
  const float *bonus;           // [hv, k], or null: queries read behind their token
  const float *initial_state;   // [n, hv, k, v], or null
  const Sequence *sequences;    // [n]
  float scale;
  float epsilon;                // of the normalisation of queries and keys; negative for none
  int decay_width;              // 0, 1 or k
  int is_delta;
  int heads;
  int value_heads;
  int key_dimension;
  int value_dimension;
  int slices;                   // blocks that share the columns of the values
  int unused;
};

// What a block works on.
struct Place {
  int slice;
  int head;
  int query_head;
  int number;
  int first_column;
  Sequence sequence;

  __device__ explicit Place(const Operands &o) {
    slice = blockIdx.x % o.slices;
    head = blockIdx.x / o.slices % o.value_heads;
    number = blockIdx.x / o.slices / o.value_heads;
    query_head = head / (o.value_heads / o.heads);
    first_column = slice * COLUMNS;
    sequence = o.sequences[number];
  }

  // Where the state [k, v] of this sequence and head begins in [n, hv, k, v].
  __device__ i64 state(const Operands &o) const {
    return ((i64)number * o.value_heads + head) * o.key_dimension * o.value_dimension;
  }
  // The same before a chunk of the sequence, in states of all chunks.
  __device__ i64 chunk_state(const Operands &o, int chunk) const {
    return ((i64)(sequence.chunk + chunk) * o.value_heads + head) * o.key_dimension *
           o.value_dimension;
  }
  __device__ const float *bonus(const Operands &o) const {
    return o.bonus ? o.bonus + head * o.key_dimension : nullptr;
  }
};

// The tokens of a chunk.
struct Chunk {
  float *reads[read_count];                 // [16, k]: q, r
  float *writes[write_count];               // [16, k]: z, k
  float *factors;                           // [16, k]: e^g
  float *whole, *rest;                      // [k]: the decay of the chunk in two parts
  float *written[write_count];              // [16, columns]: u, v
  float *scores[read_count][write_count];   // [16, 16]

  __device__ explicit Chunk(Room &room) {
    for (float *&rows : reads) rows = room.take(rows_size);
    for (float *&rows : writes) rows = room.take(rows_size);
    factors = room.take(rows_size);
    whole = room.take(KEYS);
    rest = room.take(KEYS);
    for (float *&rows : written) rows = room.take(chunk_tokens * column_pitch);
    for (auto &row : scores) {
      for (float *&matrix : row) matrix = room.take(scores_size);
    }
  }

  __device__ Decay decay(int d) const {
    Decay result;
    result.whole = whole[d];
    result.rest = rest[d];
    return result;
  }
};

// Whether read `r` leaves out its own token's write, and its own token's decay.
DEVICE bool is_strict(int r, bool has_bonus) { return r > 0 || has_bonus; }
DEVICE bool is_exclusive(int r, bool has_bonus) { return r > 0 ? UPDATE == 2 : has_bonus; }

// A row of keys to shared memory, by one warp. `epsilon` below 0 does not normalise.
DEVICE void load_key_row(float *target, const Rows &rows, i64 place, bool exists, int dimension,
                         float factor, float epsilon) {
  const int lane = threadIdx.x % warp_threads;
  float x[KEYS / warp_threads];
  float squares = 0;
#pragma unroll
  for (int n = 0; n < KEYS / warp_threads; ++n) {
    const int d = lane + n * warp_threads;
    x[n] = exists && d < dimension ? rows.load(place + d) : 0;
    squares += x[n] * x[n];
  }
  if (epsilon >= 0) factor /= sqrtf(warp_sum(squares) + epsilon);
#pragma unroll
  for (int n = 0; n < KEYS / warp_threads; ++n) target[lane + n * warp_threads] = x[n] * factor;
}

// Loads the tokens from `first` of the sequence on; those behind its end are zeros that do not decay.
DEVICE void load_chunk(const Chunk &chunk, const Operands &o, const Place &at, int first) {
  const int lane = threadIdx.x % warp_threads;
  for (int row = threadIdx.x / warp_threads; row < chunk_tokens; row += block_warps) {
    const bool exists = first + row < at.sequence.count;
    const int token = at.sequence.first + first + row;
    const int batch = at.sequence.batch;
    float *keys = chunk.writes[key_write] + row * key_pitch;
    load_key_row(chunk.reads[0] + row * key_pitch, o.queries,
                 o.queries.place(batch, token, at.query_head), exists, o.key_dimension, o.scale,
                 o.epsilon);
    load_key_row(keys, o.keys, o.keys.place(batch, token, at.query_head), exists, o.key_dimension,
                 1, o.epsilon);
    float source = 1;
    if constexpr (UPDATE > 0) {
      float *reads = chunk.reads[1] + row * key_pitch;
      const i64 place = o.first_update.place(batch, token, at.head);
      if (o.is_delta) {
        source = exists ? o.first_update.load(place) : 0;
        for (int d = lane; d < KEYS; d += warp_threads) reads[d] = -source * keys[d];
      } else {
        load_key_row(reads, o.first_update, place, exists, o.key_dimension, UPDATE == 1 ? -1 : 1,
                     -1);
      }
    }
    if constexpr (UPDATE == 2) {
      load_key_row(chunk.writes[0] + row * key_pitch, o.second_update,
                   o.second_update.place(batch, token, at.head), exists, o.key_dimension, 1, -1);
    }
    const i64 values = o.values.place(batch, token, at.head);
    for (int c = lane; c < COLUMNS; c += warp_threads) {
      const int column = at.first_column + c;
      chunk.written[key_write][row * column_pitch + c] =
          exists && column < o.value_dimension ? source * o.values.load(values + column) : 0;
    }
  }
  for (int d = threadIdx.x; d < KEYS; d += block_threads) {
    float sum = 0;
    for (int row = 0; row < chunk_tokens; ++row) {
      float g = 0;
      if (first + row < at.sequence.count && o.decay_width > 0 && d < o.key_dimension) {
        const int token = at.sequence.first + first + row;
        g = o.decay.load(o.decay.place(at.sequence.batch, token, at.head) +
                         (o.decay_width > 1 ? d : 0));
      }
      chunk.factors[row * key_pitch + d] = expf(g);
      sum += g;
    }
    const Decay decay(sum);
    chunk.whole[d] = decay.whole;
    chunk.rest[d] = decay.rest;
  }
}

// scores_ij = Σ_d x_id z_jd Π e^g between the two, of each read and write; and what reads the state
// before the chunk, x Π e^g from the chunk's first token on, to `decayed`, which may be the reads
// themselves. With a bonus u the diagonal is Σ_d q_d u_d k_d.
//
// Eight threads share a row.
DEVICE void score_chunk(const Chunk &chunk, float *const (&decayed)[read_count],
                        const float *bonus, int dimension) {
  constexpr int row_threads = block_threads / chunk_tokens;
  const int row = threadIdx.x / row_threads;
  const int part = threadIdx.x % row_threads;
#pragma unroll
  for (int r = 0; r < read_count; ++r) {
    const bool exclusive = is_exclusive(r, bonus);
    float sums[write_count][chunk_tokens] = {};
    for (int d = part; d < KEYS; d += row_threads) {
      float x = chunk.reads[r][row * key_pitch + d];
      const float own = r == 0 && bonus ? (d < dimension ? bonus[d] : 0) : 1;
#pragma unroll
      for (int j = chunk_tokens - 1; j >= 0; --j) {
        if (j > row) continue;
        // No token finds with r what it writes itself.
        if (r == 0 || j < row) {
#pragma unroll
          for (int w = 0; w < write_count; ++w) {
            sums[w][j] += (j == row ? own * x : x) * chunk.writes[w][j * key_pitch + d];
          }
        }
        if (j < row || !exclusive) x *= chunk.factors[j * key_pitch + d];
      }
      decayed[r][row * key_pitch + d] = x;
    }
#pragma unroll
    for (int w = 0; w < write_count; ++w) {
#pragma unroll
      for (int j = 0; j < chunk_tokens; ++j) {
        const float sum = lane_sum<row_threads>(sums[w][j]);
        if (part == j % row_threads) chunk.scores[r][w][row * chunk_tokens + j] = sum;
      }
    }
  }
}

// What is written, decayed to the end of the chunk, to `decayed`, which may be the writes themselves.
DEVICE void decay_writes(const Chunk &chunk, float *const (&decayed)[write_count]) {
  for (int d = threadIdx.x; d < KEYS; d += block_threads) {
    float factor = 1;
    for (int row = chunk_tokens - 1; row >= 0; --row) {
#pragma unroll
      for (int w = 0; w < write_count; ++w) {
        decayed[w][row * key_pitch + d] = factor * chunk.writes[w][row * key_pitch + d];
      }
      factor *= chunk.factors[row * key_pitch + d];
    }
  }
}

// A result for each token and column.
using TokenTile = Tile2D<chunk_tokens, COLUMNS, 8>;
// One of the state's size.
using StateTile = Tile2D<KEYS, COLUMNS, 16>;

// tile += rows [16, k] · state [k, columns]
DEVICE void add_found(TokenTile &tile, const float *rows, const float *state) {
  tile.add<KEYS>([=](int i, int d) { return rows[i * key_pitch + d]; },
                 [=](int d, int c) { return state[d * column_pitch + c]; });
}

// tile += scores [16, 16] · written [16, columns]
DEVICE void add_written(TokenTile &tile, const float *scores, const float *written) {
  tile.add<chunk_tokens>([=](int i, int j) { return scores[i * chunk_tokens + j]; },
                         [=](int j, int c) { return written[j * column_pitch + c]; });
}

// The same with the scores transposed: from those who read to those who wrote.
DEVICE void add_read(TokenTile &tile, const float *scores, const float *found) {
  tile.add<chunk_tokens>([=](int j, int i) { return scores[i * chunk_tokens + j]; },
                         [=](int i, int c) { return found[i * column_pitch + c]; });
}

// tile += rows^T [k, 16] · columns [16, columns]
DEVICE void add_outer(StateTile &tile, const float *rows, const float *columns) {
  tile.add<chunk_tokens>([=](int d, int i) { return rows[i * key_pitch + d]; },
                         [=](int i, int c) { return columns[i * column_pitch + c]; });
}

// u of tokens that erase: (1 - L) u = source + what `reads`, r decayed from the chunk's start, find in
// the state, L being the scores of r and z. A thread solves one column.
DEVICE void solve_written(const Chunk &chunk, const float *reads, const float *state) {
  TokenTile tile;
  add_found(tile, reads, state);
  if constexpr (UPDATE == 2) add_written(tile, chunk.scores[1][1], chunk.written[1]);
  tile.each([&](int i, int c, float sum) {
    float &u = chunk.written[0][i * column_pitch + c];
    u = UPDATE == 2 ? sum : u + sum;
  });
  __syncthreads();
  const float *lower = chunk.scores[read_count - 1][0];
  for (int c = threadIdx.x; c < COLUMNS; c += block_threads) {
    float u[chunk_tokens];
#pragma unroll
    for (int i = 0; i < chunk_tokens; ++i) {
      u[i] = chunk.written[0][i * column_pitch + c];
#pragma unroll
      for (int j = 0; j < i; ++j) u[i] += lower[i * chunk_tokens + j] * u[j];
      chunk.written[0][i * column_pitch + c] = u[i];
    }
  }
  __syncthreads();
}

// Copies the block's columns of a state [k, v] into shared memory; zeros where `source` is null.
DEVICE void load_state(float *state, const float *source, const Operands &o, const Place &at) {
  for (int index = threadIdx.x; index < KEYS * COLUMNS; index += block_threads) {
    const int d = index / COLUMNS;
    const int c = index % COLUMNS;
    const int column = at.first_column + c;
    const bool exists = source && d < o.key_dimension && column < o.value_dimension;
    state[d * column_pitch + c] = exists ? source[(i64)d * o.value_dimension + column] : 0;
  }
}

DEVICE void store_state(const float *state, float *target, const Operands &o, const Place &at) {
  for (int index = threadIdx.x; index < KEYS * COLUMNS; index += block_threads) {
    const int d = index / COLUMNS;
    const int c = index % COLUMNS;
    const int column = at.first_column + c;
    if (d < o.key_dimension && column < o.value_dimension) {
      target[(i64)d * o.value_dimension + column] = state[d * column_pitch + c];
    }
  }
}

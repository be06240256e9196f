#pragma once

#include "linear/operands.cuh"
#include "linear/product.cuh"

// One chunk of 16 tokens of a recurrence with a matrix state, for some columns of the values.
//
//     u_i = source_i + Sᵀ r_i ,   S = D S + Σ over writes of z uᵀ ,   o = Sᵀ q
//
// The rows that read the state are the queries q and, in erasing updates, r. The rows that are written
// are z, with values u, and in the low-rank update also k, with values v:
//
//     additive     z = k, u = v
//     erasing      r = -βk or -y, z = k, source = βv or v
//     low rank     r = a, z = b, no source; also k with v
//
// A decay per token is treated as one per channel. The decay between two tokens of a chunk is a product
// of factors e^g, at most 1, never the exponential of a difference, and e^g may be 0. The decay of the
// state over a whole chunk is the exponential of the sum of the logarithms.
//
// Compiled with UPDATE (0 additive, 1 erasing, 2 low rank), KEYS (the key dimension rounded up to 32,
// 64, 128 or 256) and COLUMNS (of the values, per block: 16, 32 or 64). Channels beyond the key
// dimension are zero.

constexpr int chunk_tokens = linear_chunk_tokens;
constexpr int read_count = linear_reads(UPDATE);
constexpr int write_count = linear_writes(UPDATE);
// The index of the write that has the keys: the last.
constexpr int key_write = write_count - 1;
constexpr int key_pitch = linear_key_pitch(KEYS);
constexpr int column_pitch = linear_column_pitch(COLUMNS);
constexpr int rows_size = chunk_tokens * key_pitch;
constexpr int values_size = chunk_tokens * column_pitch;
constexpr int scores_size = chunk_tokens * chunk_tokens;

// Products with one result per token and column.
using TokenProduct = SharedProduct<COLUMNS>;
constexpr int key_steps = KEYS / piece_size;

// The tokens of a chunk.
struct Chunk {
  float *read_rows;      // [reads][16, k]: q, r
  float *write_rows;     // [writes][16, k]: z, k
  float *factors;        // [16, k]: e^g
  float *whole, *rest;   // [k]: the decay of the chunk in two parts
  float *written_rows;   // [writes][16, columns]: u, v
  float *score_rows;     // [reads][writes][16, 16]
  float *shares;         // partial sums of products that warps share

  // The arrays in a block's shared memory.
  __device__ Chunk(float *shared, const LinearChunkLayout &layout)
      : read_rows(shared + layout.reads),
        write_rows(shared + layout.writes),
        factors(shared + layout.factors),
        whole(shared + layout.whole),
        rest(shared + layout.rest),
        written_rows(shared + layout.written),
        score_rows(shared + layout.scores),
        shares(shared + layout.shares) {}

  __device__ float *reads(int r) const { return read_rows + r * rows_size; }
  __device__ float *writes(int w) const { return write_rows + w * rows_size; }
  __device__ float *written(int w) const { return written_rows + w * values_size; }
  __device__ float *scores(int r, int w) const {
    return score_rows + (r * write_count + w) * scores_size;
  }
  __device__ Decay decay(int d) const {
    Decay result;
    result.whole = whole[d];
    result.rest = rest[d];
    return result;
  }
};

// Whether read `r` excludes its own token's write, and its own token's decay.
DEVICE bool is_strict(int r, bool has_bonus) { return r > 0 || has_bonus; }
DEVICE bool is_exclusive(int r, bool has_bonus) { return r > 0 ? UPDATE == 2 : has_bonus; }

// Loads a row of the keys' size into shared memory, normalised if `epsilon` >= 0. Called by one warp.
DEVICE void load_key_row(float *target, const Rows &rows, i64 place, bool exists, int dimension,
                         float factor, float epsilon) {
  const int lane = threadIdx.x % warp_threads;
  float x[KEYS / warp_threads];
  rows.load(x, place, exists ? dimension : 0);
  if (epsilon >= 0) {
    float squares = 0;
#pragma unroll
    for (float number : x) squares += number * number;
    factor /= sqrtf(warp_sum(squares) + epsilon);
  }
#pragma unroll
  for (int n = 0; n < KEYS / warp_threads; ++n) target[lane + n * warp_threads] = x[n] * factor;
}

// Loads the block's columns of a row of values into shared memory. Called by one warp.
DEVICE void load_value_row(float *target, const Rows &rows, i64 place, bool exists, const Operands &o,
                           const Place &at, float factor) {
  constexpr int count = CEIL_DIVIDE(COLUMNS, warp_threads);
  const int lane = threadIdx.x % warp_threads;
  float x[count];
  rows.load(x, place + at.first_column,
            exists ? min(COLUMNS, o.value_dimension - at.first_column) : 0);
#pragma unroll
  for (int n = 0; n < count; ++n) {
    const int c = lane + n * warp_threads;
    if (c < COLUMNS) target[c] = x[n] * factor;
  }
}

// Loads the sequence's tokens from `first` on; those after its end are zeros that do not decay. `factors`
// receives the logarithms g instead of e^g.
DEVICE void load_chunk(const Chunk &chunk, const Operands &o, const Place &at, int first) {
  const int lane = threadIdx.x % warp_threads;
  const int warp = threadIdx.x / warp_threads;
  const int batch = at.sequence.batch;
  auto exists = [&](int row) { return first + row < at.sequence.count; };
  auto token = [&](int row) { return at.sequence.first + first + row; };

  // Rows of the keys' size, in the order of `Operands`; one loop for all kinds keeps the code small.
#pragma unroll 1
  for (int kind = 0; kind < 5; ++kind) {
    const bool is_update = kind > 2;
    if (kind == 2 && o.decay_width <= 1) continue;
    if (is_update && (kind - 2 > UPDATE || o.is_delta)) break;
    const Rows &rows = kind == 0   ? o.queries
                       : kind == 1 ? o.keys
                       : kind == 2 ? o.decay
                       : kind == 3 ? o.first_update
                                   : o.second_update;
    float *target = kind == 0   ? chunk.reads(0)
                    : kind == 1 ? chunk.writes(key_write)
                    : kind == 2 ? chunk.factors
                    : kind == 3 ? chunk.reads(read_count - 1)
                                : chunk.writes(0);
    const float factor = kind == 0 ? o.scale : kind == 3 && UPDATE == 1 ? -1 : 1;
#pragma unroll
    for (int n = 0; n < chunk_tokens / block_warps; ++n) {
      const int row = warp + n * block_warps;
      load_key_row(target + row * key_pitch, rows,
                   rows.place(batch, token(row), kind < 2 ? at.query_head : at.head), exists(row),
                   o.key_dimension, factor, kind < 2 ? o.epsilon : -1);
    }
  }
#pragma unroll 1
  for (int row = warp; row < chunk_tokens; row += block_warps) {
    float factor = 1;
    if (UPDATE == 1 && o.is_delta) {
      // r = -βk, computed by the lanes that loaded the keys.
      factor = exists(row) ? o.first_update.load(o.first_update.place(batch, token(row), at.head)) : 0;
      for (int d = lane; d < KEYS; d += warp_threads) {
        chunk.reads(read_count - 1)[row * key_pitch + d] =
            -factor * chunk.writes(0)[row * key_pitch + d];
      }
    }
    load_value_row(chunk.written(key_write) + row * column_pitch, o.values,
                   o.values.place(batch, token(row), at.head), exists(row), o, at, factor);
    if (o.decay_width <= 1) {
      const bool decays = o.decay_width > 0 && exists(row);
      const float g = decays ? o.decay.load(o.decay.place(batch, token(row), at.head)) : 0;
      for (int d = lane; d < KEYS; d += warp_threads) {
        chunk.factors[row * key_pitch + d] = d < o.key_dimension ? g : 0;
      }
    }
  }
}

// Prefetches the sequence's tokens from `first` on into L2.
DEVICE void prefetch_chunk(const Operands &o, const Place &at, int first) {
  constexpr int line_bytes = 128;
  constexpr int kinds = 6;
  for (int index = threadIdx.x; index < kinds * chunk_tokens; index += block_threads) {
    const int kind = index / chunk_tokens;
    const int row = index % chunk_tokens;
    const Rows &rows = kind == 0   ? o.queries
                       : kind == 1 ? o.keys
                       : kind == 2 ? o.values
                       : kind == 3 ? o.decay
                       : kind == 4 ? o.first_update
                                   : o.second_update;
    if (!rows.base || first + row < 0 || first + row >= at.sequence.count) continue;
    const int numbers = kind == 2                       ? COLUMNS
                        : kind == 3                     ? o.decay_width
                        : kind == 4 && o.is_delta       ? 1
                                                        : o.key_dimension;
    const i64 place = rows.place(at.sequence.batch, at.sequence.first + first + row,
                                 kind < 2 ? at.query_head : at.head) +
                      (kind == 2 ? at.first_column : 0);
    const u8 *bytes = (const u8 *)rows.base + place * rows.number_bytes();
    for (int n = 0; n < numbers * rows.number_bytes(); n += line_bytes) prefetch(bytes + n);
  }
}

// Replaces the logarithms of the decay by factors, and computes the decay of the whole chunk.
DEVICE void find_factors(const Chunk &chunk) {
  for (int d = threadIdx.x; d < KEYS; d += block_threads) {
    float sum = 0;
#pragma unroll 4
    for (int row = 0; row < chunk_tokens; ++row) {
      float &factor = chunk.factors[row * key_pitch + d];
      sum += factor;
      factor = expf(factor);
    }
    const Decay decay(sum);
    chunk.whole[d] = decay.whole;
    chunk.rest[d] = decay.rest;
  }
}

// Computes scores_ij = Σ_d x_id z_jd Π e^g, the decay between the two, of each read x and write z; with a
// bonus u, the diagonal of the queries' scores is Σ_d q_d u_d k_d. `decayed` [reads][16, k], which may alias
// the reads, receives the reads of the state before the chunk: x Π e^g from the chunk's first token on.
//
// Sixteen threads share a row.
DEVICE void score_chunk(const Chunk &chunk, float *decayed, const float *bonus, int dimension) {
  constexpr int row_threads = block_threads / chunk_tokens;
  const int row = threadIdx.x / row_threads;
  const int part = threadIdx.x % row_threads;
#pragma unroll 1
  for (int r = 0; r < read_count; ++r) {
    const bool exclusive = is_exclusive(r, bonus);
    const bool has_bonus = r == 0 && bonus;
    // r does not read its own token's write.
    const int last = r == 0 ? row : row - 1;
    const int last_decay = exclusive ? row - 1 : row;
    float sums[write_count][chunk_tokens] = {};
    for (int d = part; d < KEYS; d += row_threads) {
      float x = chunk.reads(r)[row * key_pitch + d];
      const float own = has_bonus ? (d < dimension ? bonus[d] : 0) : 1;
#pragma unroll
      for (int j = chunk_tokens - 1; j >= 0; --j) {
        if (j <= last) {
#pragma unroll
          for (int w = 0; w < write_count; ++w) {
            sums[w][j] += (j == row ? own * x : x) * chunk.writes(w)[j * key_pitch + d];
          }
        }
        if (j <= last_decay) x *= chunk.factors[j * key_pitch + d];
      }
      decayed[r * rows_size + row * key_pitch + d] = x;
    }
#pragma unroll
    for (int w = 0; w < write_count; ++w) {
#pragma unroll
      for (int j = 0; j < chunk_tokens; ++j) {
        const float sum = lane_sum<row_threads>(sums[w][j]);
        if (part == j) chunk.scores(r, w)[row * chunk_tokens + j] = sum;
      }
    }
  }
}

// Stores the writes, decayed to the end of the chunk, in `decayed` [writes][16, k], which may alias them.
DEVICE void decay_writes(const Chunk &chunk, float *decayed) {
  for (int d = threadIdx.x; d < KEYS; d += block_threads) {
    float factor = 1;
#pragma unroll 4
    for (int row = chunk_tokens - 1; row >= 0; --row) {
#pragma unroll
      for (int w = 0; w < write_count; ++w) {
        const int place = w * rows_size + row * key_pitch + d;
        decayed[place] = factor * chunk.write_rows[place];
      }
      factor *= chunk.factors[row * key_pitch + d];
    }
  }
}

// rows [16, k] · state [k, columns], summed over 16 channels from 16 × `n` on.
DEVICE Step found_step(const float *rows, const float *state, int n) {
  return {rows + n * piece_size, key_pitch, 1, state + n * piece_size * column_pitch, column_pitch, 1};
}

// Scores [16, 16] · written [16, columns].
DEVICE Step written_step(const float *scores, const float *written) {
  return {scores, chunk_tokens, 1, written, column_pitch, 1};
}

// The same with the scores transposed, for gradients from reads to writes.
DEVICE Step read_step(const float *scores, const float *found) {
  return {scores, 1, chunk_tokens, found, column_pitch, 1};
}

// state = e^γ state + Σ over `count` of rows^T [k, 16] · columns [16, columns]
DEVICE void advance(float *state, const Chunk &chunk, const float *rows, const float *columns,
                    int count) {
  multiply<KEYS, COLUMNS>(
      count,
      [=](int n) -> Step {
        return {rows + n * rows_size, 1, key_pitch, columns + n * values_size, column_pitch, 1};
      },
      [&](int d, int c, float sum) {
        float &number = state[d * column_pitch + c];
        number = chunk.decay(d)(number) + sum;
      });
}

// Solves (1 - L) x = b in place, with a strictly lower L [16, 16] or, with `Transposed`, its transpose, for
// the columns of b [16, columns]. A thread solves one column.
template <bool Transposed>
DEVICE void solve(const float *lower, float *columns) {
  for (int c = threadIdx.x; c < COLUMNS; c += block_threads) {
    float x[chunk_tokens];
#pragma unroll
    for (int n = 0; n < chunk_tokens; ++n) {
      const int i = Transposed ? chunk_tokens - 1 - n : n;
      float &place = columns[i * column_pitch + c];
      x[n] = place;
#pragma unroll
      for (int m = 0; m < n; ++m) {
        const int j = Transposed ? chunk_tokens - 1 - m : m;
        x[n] += lower[Transposed ? j * chunk_tokens + i : i * chunk_tokens + j] * x[m];
      }
      place = x[n];
    }
  }
}

// Solves for u of an erasing update: (1 - L) u = source + reads · state, with L the scores of r and z, and
// `reads` r decayed from the chunk's start.
DEVICE void solve_written(const Chunk &chunk, const float *reads, const float *state) {
  TokenProduct::multiply(
      chunk.shares, key_steps + (UPDATE == 2),
      [&](int n) {
        return n < key_steps ? found_step(reads, state, n)
                             : written_step(chunk.scores(1, key_write), chunk.written(key_write));
      },
      [&](int i, int c, float sum) {
        float &u = chunk.written(0)[i * column_pitch + c];
        u = UPDATE == 2 ? sum : u + sum;
      });
  __syncthreads();
  solve<false>(chunk.scores(read_count - 1, 0), chunk.written(0));
  __syncthreads();
}

// Starts copying the block's columns of a state [k, v] into shared memory, or zeros if `source` is null. The
// copy is complete after wait_for_copies and a barrier.
DEVICE void load_state(float *state, const float *source, const Operands &o, const Place &at) {
#pragma unroll 1
  for (int index = threadIdx.x; index < KEYS * COLUMNS; index += block_threads) {
    const int d = index / COLUMNS;
    const int c = index % COLUMNS;
    const int column = at.first_column + c;
    const bool exists = source && d < o.key_dimension && column < o.value_dimension;
    copy_number(shared_address(state + d * column_pitch + c),
                source + (i64)d * o.value_dimension + column, exists);
  }
  close_copies();
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

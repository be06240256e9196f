// Linear attention in its step form, forward only, for calls with one token or a few.
//
// One block keeps 32 columns of the state of one sequence and head in registers: one lane per column, and
// every eighth key per warp. Compiled with KEYS, the key dimension rounded up to 32, 64, 128 or 256; the
// update is chosen at run time.

#include "linear/tokens.cuh"

#include "linear/chunks.h"

#define UPDATE 0
#define COLUMNS linear_step_columns
#include "linear/chunk.cuh"

constexpr int warps = linear_threads / warp_threads;
constexpr LinearStepLayout layout = linear_step_layout(KEYS);
constexpr int own_keys = KEYS / warps;

// The sum of the warps' shares of each column, added in order, in every warp.
DEVICE float sum_warps(float *shares, float share) {
  const int lane = threadIdx.x % warp_threads;
  shares[threadIdx.x] = share;
  __syncthreads();
  float sum = 0;
  for (int warp = 0; warp < warps; ++warp) sum += shares[warp * warp_threads + lane];
  return sum;
}

extern "C" __global__ void linear_step(const __grid_constant__ LinearStepParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  float *queries = (float *)shared;
  float *keys = queries + layout.keys;
  float *reads = queries + layout.reads;
  float *writes = queries + layout.writes;
  float *whole = queries + layout.whole;
  float *rest = queries + layout.rest;
  float *found_shares = queries + layout.found_shares;
  float *output_shares = queries + layout.output_shares;
  const Operands &o = p.operands;
  const Place at(o);
  const float *bonus = at.bonus(o);
  const int lane = threadIdx.x % warp_threads;
  const int warp = threadIdx.x / warp_threads;
  const int column = at.first_column + lane;
  const bool exists = column < o.value_dimension;
  const bool reads_before_decay = p.update == 2;

  float state[own_keys];
#pragma unroll
  for (int n = 0; n < own_keys; ++n) {
    const int d = n * warps + warp;
    state[n] = o.initial_state && exists && d < o.key_dimension
                   ? o.initial_state[at.state(o) + (i64)d * o.value_dimension + column]
                   : 0;
  }
  for (int t = 0; t < at.sequence.count; ++t) {
    const int token = at.sequence.first + t;
    const int batch = at.sequence.batch;
    const i64 update = p.update ? o.first_update.place(batch, token, at.head) : 0;
    if (warp == 0) {
      load_key_row(queries, o.queries, o.queries.place(batch, token, at.query_head), true,
                   o.key_dimension, o.scale, o.epsilon);
    } else if (warp == 1) {
      load_key_row(keys, o.keys, o.keys.place(batch, token, at.query_head), true,
                   o.key_dimension, 1, o.epsilon);
    } else if (warp == 2 && p.update > 0 && !o.is_delta) {
      load_key_row(reads, o.first_update, update, true, o.key_dimension, p.update == 1 ? -1 : 1,
                   -1);
    } else if (warp == 3 && p.update == 2) {
      load_key_row(writes, o.second_update, o.second_update.place(batch, token, at.head), true,
                   o.key_dimension, 1, -1);
    } else if (warp == 4) {
      const i64 decays = o.decay.place(batch, token, at.head);
      for (int d = lane; d < KEYS; d += warp_threads) {
        const bool decaying = o.decay_width > 0 && d < o.key_dimension;
        const Decay decay(decaying ? o.decay.load(decays + (o.decay_width > 1 ? d : 0)) : 0);
        whole[d] = decay.whole;
        rest[d] = decay.rest;
      }
    }
    const float beta = o.is_delta ? o.first_update.load(update) : 1;
    const float value =
        exists ? o.values.load(o.values.place(batch, token, at.head) + column) : 0;
    __syncthreads();

    // Queries with a bonus, and a of the low-rank update, read the state before the token.
    float output = 0, found = 0;
#pragma unroll
    for (int n = 0; n < own_keys; ++n) {
      const int d = n * warps + warp;
      if (bonus) output += queries[d] * state[n];
      if (reads_before_decay) found += reads[d] * state[n];
      Decay decay;
      decay.whole = whole[d];
      decay.rest = rest[d];
      state[n] = decay(state[n]);
      if (p.update == 1) found += (o.is_delta ? -beta * keys[d] : reads[d]) * state[n];
    }
    if (p.update > 0) found = sum_warps(found_shares, found);
    const float written = p.update == 0 ? value : p.update == 1 ? beta * value + found : value;
#pragma unroll
    for (int n = 0; n < own_keys; ++n) {
      const int d = n * warps + warp;
      state[n] += keys[d] * written;
      if (p.update == 2) state[n] += writes[d] * found;
      if (bonus) {
        if (d < o.key_dimension) output += queries[d] * bonus[d] * keys[d] * value;
      } else {
        output += queries[d] * state[n];
      }
    }
    output = sum_warps(output_shares, output);
    if (warp == 0 && exists) {
      p.output.store(p.output.place(batch, token, at.head) + column, output);
    }
  }
#pragma unroll
  for (int n = 0; n < own_keys; ++n) {
    const int d = n * warps + warp;
    if (exists && d < o.key_dimension) {
      p.final_state[at.state(o) + (i64)d * o.value_dimension + column] = state[n];
    }
  }
}

#pragma once

#include "linear/hopper_block.cuh"

// The score group's work, what state groups read and write, and the block that they make up.

// Keys behind the end are zeros before anybody multiplies with them but the products of keys and queries with
// the state, whose columns of those tokens nobody reads.
DEVICE void clear_behind(u8 *keys, int count) {
  if (count >= chunk_tokens) return;
  clear_rows<KeyTile>(keys, count);
  meet_own_group();
}

// Calls body(token, product) for each product of a token with itself that a thread has, once for all slices.
template <typename Body>
DEVICE void each_diagonal(const Place &at, const TokenSums &products, const Member &own, int count, const Body &body) {
  float found[2] = {};
  const int second = own.row() - own.column();
#pragma unroll
  for (int j = 0; j < chunk_tokens / 8; ++j) {
    const float left = products[j][j % 2 * 2], right = products[j][j % 2 * 2 + 1];
    if (j / 2 == own.warp) found[j % 2] = second == 1 ? right : left;
  }
  if (at.slice != 0 || second < 0 || second > 1) return;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int token = own.warp * warp_rows + half * 8 + own.row();
    if (token < count) body(token, found[half]);
  }
}

// The score group's work.
DEVICE void score_all(const Parameters &p, const Layout &layout, const Place &at, const Memory &memory) {
  TokenSums sums;
  for (Walk walk = walk_through(p, at); walk.exists(); walk.next()) {
    const Member own;
    const int turn = walk.turn;
    const u32 keys = layout.key_tile(turn);
    const Gates &gates = memory.gates(turn);
    layout.gate_ring.wait(turn);

    const int count = walk.count();

    // 1. Nothing behind the end is multiplied.
    layout.key_ring.wait(turn);
    clear_behind(memory.at(keys), count);
#if ERASERS
    layout.eraser_ring.wait(turn);
    clear_behind(memory.at(layout.eraser_tile(turn)), count);
    leave(layout.eraser_ring, turn);
#endif

    // 2. Q Kᵀ
#if READS
    layout.query_ring.wait(turn);
    // Here queries are written to the state, too.
    if (REVERSED && UPDATE == 1) clear_behind(memory.at(layout.query_tile(turn)), count);
    open_products();
    if (turned_scores) {
      multiply_tiles<Element, KeyTile, KeyTile>(sums, keys, 0, layout.query_tile(turn));
    } else {
      multiply_tiles<Element, KeyTile, KeyTile>(sums, layout.query_tile(turn), 0, keys);
    }
    close_products();
#endif
    layout.score_ring.wait_for_place(turn);
#if READS
    wait_for_products<0>();
    keep(sums);
    leave(layout.query_ring, turn);
#endif
    leave(layout.key_ring, turn);

#if BETAS
    // The gradient of β, of the products of each token's gradient of the values with what it wrote: both are multiples
    // of β.
    each_diagonal(at, sums, own, count, [&](int token, float product) {
      const float beta = gates.betas[token];
      const i64 place = p.betas.place(at.sequence.batch, at.sequence.first + walk.first() + token, at.head);
      ((float *)p.betas.base)[place] = product / beta / beta;
    });
#endif
#if FLOWS && CHANNELS && !REVERSED
    each_diagonal(at, sums, own, count, [&](int token, float product) {
      p.flows.pairs[flow_place(p.operands, at, walk.first() + token)] = p.operands.scale * product;
    });
#endif

    // 3. P, before the next turn's product takes its registers.
#if READS
    store_scores(memory.at(layout.score_tile(turn)), gates, sums, own);
#endif
    show_to_products();
    layout.score_ring.fill(turn);
#if PARTNERS && !REVERSED
    // 4. What passes between tokens of the chunk.
    TokenSums others;
    layout.value_ring.wait(turn);
    open_products();
    multiply_tiles<Element, ValueTile, ValueTile>(others, layout.partner_tile(turn), 0, layout.value_tile(turn));
    close_products();
    wait_for_products<0>();
    keep(others);
    leave(layout.value_ring, turn);
#pragma unroll
    for (int j = 0; j < chunk_tokens / 8; ++j) {
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[j][i] *= others[j][i];
    }
    store_pair_sums(memory.shares(), p.flows, p.operands, at, gates, sums, own, walk.first(), count);
#endif
    leave(layout.gate_ring, turn);
  }
}

// The first number of the state [k, v] that a thread has, in memory, and how far the next row and column are.
struct StatePlace {
  float *first;
  i64 row_step, column_step;

  // In states of `width` columns, those from `column` on.
  __device__ StatePlace(const float *states, const Operands &o, const Place &at, int width, int column,
                        bool is_transposed)
      : row_step(is_transposed ? 1 : width), column_step(is_transposed ? KEYS : 1) {
    const int lane = threadIdx.x % warp_threads;
    const i64 number = (i64)at.number * o.value_heads + at.head;
    const int own_column = column + threadIdx.x / warp_threads * 16 + lane / 4;
    first = (float *)states + number * KEYS * width + own_column * column_step + lane % 4 * 2 * row_step;
  }
  __device__ float &at(int j, int i) const { return first[(j * 8 + i % 2) * row_step + i / 2 * 8 * column_step]; }
};

// A warp's 16 columns of the values as left operand; tokens from `count` on are zero.
DEVICE void load_values(TokenLeft &values, u32 tile, int column, int count) {
#pragma unroll
  for (int step = 0; step < chunk_tokens / 16; ++step) {
    load_matrices_transposed(values[step].word, tile + transposed_place<ValueTile>(column, step));
  }
  if (count >= chunk_tokens) return;
#pragma unroll
  for (int step = 0; step < chunk_tokens / 16; ++step) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int token = step * 16 + i / 2 * 8 + own_lane() % 4 * 2;
      if (token >= count) values[step].word[i] = 0;
      if (token + 1 == count) values[step].word[i] &= 0xffff;
    }
  }
}

// The state before the first token; of a map, columns of the unit matrix.
DEVICE void begin_state(StateSums &state, const Parameters &p, const Place &at, bool is_map) {
  const Operands &o = p.operands;
  if (o.initial_state) {
    const StatePlace initial(o.initial_state, o, at, o.value_dimension, at.first_column,
                             p.is_transposed);
#pragma unroll
    for (int j = 0; j < KEYS / 8; ++j) {
#pragma unroll
      for (int i = 0; i < 4; ++i) state[j][i] = initial.at(j, i);
    }
  }
  // A map's columns are counted behind those of the values.
  const int map_column = at.first_column - o.value_dimension, warp_column = threadIdx.x / warp_threads * 16;
  if (is_map) {
#pragma unroll
    for (int j = 0; j < KEYS / 8; ++j) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int row = j * 8 + threadIdx.x % 4 * 2 + i % 2;
        const int column = map_column + warp_column + threadIdx.x % warp_threads / 4 + i / 2 * 8;
        state[j][i] = row == column ? 1 : 0;
      }
    }
  }
}

// The state times what its channels decay.
DEVICE void scale_channels(StateSums &state, const float *factors) {
#pragma unroll
  for (int j = 0; j < KEYS / 8; ++j) {
    if (CHANNELS == 1) {
      const float2 factor = factors_at(factors, j);
#pragma unroll
      for (int i = 0; i < 4; ++i) state[j][i] *= i % 2 ? factor.y : factor.x;
    } else {
      const float *own = factors + threadIdx.x / warp_threads * 16 + threadIdx.x % warp_threads / 4;
#pragma unroll
      for (int i = 0; i < 4; ++i) state[j][i] *= own[i / 2 * 8];
    }
  }
}

// And behind the last.
DEVICE void end_state(const StateSums &state, const Parameters &p, const Place &at, bool is_map) {
  const Operands &o = p.operands;
  const int map_column = at.first_column - o.value_dimension;
  if (float *states = is_map ? p.maps : p.final_state) {
    const StatePlace final(states, o, at, is_map ? KEYS : o.value_dimension, is_map ? map_column : at.first_column,
                           p.is_transposed && !is_map);
#pragma unroll
    for (int j = 0; j < KEYS / 8; ++j) {
#pragma unroll
      for (int i = 0; i < 4; ++i) final.at(j, i) = state[j][i];
    }
  }
}

// A group's columns of the outputs of a chunk: where a thread's eight numbers of each of its rows are.
struct OutputPlace {
  const Parameters &p;
  const Place &at;
  int first_token, count;
  static constexpr int parts = chunk_tokens * OutputTile::chunks / group_threads;

  // Calls body(n, row, chunk, place) for each of them.
  template <typename Body>
  __device__ void each(const Body &body) const {
#pragma unroll
    for (int n = 0; n < parts; ++n) {
      const int index = own_thread() + n * group_threads;
      const int row = index / OutputTile::chunks, part = index % OutputTile::chunks;
      if (row >= count) continue;
      const int token = first_token + row;
      if (!LOW_RANK || p.output_rows == linear_all_rows) {
        body(n, row, part, target(p.output, token, part));
        continue;
      }
      const bool is_second = row % token_rows > 0, splits = p.output_rows == linear_first_rows;
      if (!is_second && !splits) continue;
      body(n, row, part, target(is_second && splits ? p.second_output : p.output, token / token_rows, part));
    }
  }

  // A thread's numbers of a row of a tensor.
  __device__ uint4 *target(const LinearRows &rows, int token, int part) const {
    const int column = at.first_column + threadIdx.x / group_threads * group_columns + part * OutputTile::chunk_numbers;
    return (uint4 *)((u16 *)rows.base + rows.place(at.sequence.batch, token, at.head) + column);
  }
};

// What is there already, loaded long before it is needed.
struct HeldOutputs {
  uint4 numbers[OutputPlace::parts];

  __device__ explicit HeldOutputs(const OutputPlace &place) {
    if (ACCUMULATES) place.each([&](int n, int, int, const uint4 *source) { numbers[n] = *source; });
  }
  // With own numbers.
  __device__ uint4 joined(int n, const uint4 &own) const {
    const u32 held[4] = {numbers[n].x, numbers[n].y, numbers[n].z, numbers[n].w};
    const u32 words[4] = {own.x, own.y, own.z, own.w};
    u32 result[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      result[i] = Element::pack(
          Element::widen((u16)words[i]) + ACCUMULATES * Element::widen((u16)held[i]),
          Element::widen((u16)(words[i] >> 16)) + ACCUMULATES * Element::widen((u16)(held[i] >> 16)));
    }
    return {result[0], result[1], result[2], result[3]};
  }
};

// The outputs, transposed back.
DEVICE void store_output(const Layout &layout, const Memory &memory, const OutputPlace &place,
                         const HeldOutputs &held, const TokenLeft &output, int turn) {
  const u32 tile = layout.output_tile(turn, threadIdx.x / group_threads);
#pragma unroll
  for (int step = 0; step < chunk_tokens / 16; ++step) {
    store_matrices_transposed(tile + transposed_place<OutputTile>(threadIdx.x / warp_threads * 16 % group_columns, step),
                              output[step].word);
  }
  meet_own_group();
  place.each([&](int n, int row, int part, uint4 *target) {
    const uint4 own = *(const uint4 *)(memory.at(tile) + OutputTile::place(row, part));
    *target = ACCUMULATES ? held.joined(n, own) : own;
  });
}

// A state group's work, of which each kernel has its own.
DEVICE void recur(const Parameters &p, const Layout &layout, const Place &at, const Memory &memory, bool is_map);

// A block: its barriers, and its groups at their work.
DEVICE void run_block(const Parameters &p) {
  extern __shared__ __align__(1024) u8 shared[];
  const Place at(p.operands, chunk_tokens, segment_tokens);
  const Layout layout(shared_address(shared));
  const bool is_map = UPDATE == 1 && !OUTPUTS && at.first_column >= p.operands.value_dimension;

  if (threadIdx.x == 0) {
    layout.query_ring.open(computing_warps + NORMALIZES);
    layout.key_ring.open(computing_warps + NORMALIZES);
    layout.value_ring.open(PARTNERS && !REVERSED ? computing_warps : state_warps);
    layout.score_ring.open(state_warps, group_threads);
    layout.gate_ring.open(computing_warps, warp_threads);
    layout.inverse_ring.open(state_warps);
    layout.eraser_ring.open(computing_warps);
    show_barriers();
  }
  // Above the diagonal blocks P is zero, and nobody writes there.
  clear<block_threads>(shared + (layout.scores - layout.base), layout.inverses - layout.scores);
  show_to_products();
  __syncthreads();

  const Memory memory = {shared, layout};
  const int group = threadIdx.x / group_threads;
  if (group < state_groups) {
    take_registers<state_registers>();
    recur(p, layout, at, memory, is_map);
  } else if (group == score_group) {
    give_registers<score_registers>();
    score_all(p, layout, at, memory);
  } else {
    give_registers<copying_registers>();
    const int warp = threadIdx.x / warp_threads % group_warps;
    if (warp == 0 && threadIdx.x % warp_threads == 0) copy_all(p, layout, at, is_map);
    if (warp == 1) find_all_gates(p, layout, at, memory);
    if (NORMALIZES && warp >= group_warps - measuring_warps) measure_all(p, layout, at, memory, warp == 3);
  }
}

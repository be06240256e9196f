// Linear attention in chunks of 64 tokens, forward, for Hopper.
//
// With G the inclusive sum of the log-decay in a chunk, γ the whole chunk's, and S the state before it:
//
//     additive     W = V
//     delta rule   W = A (V − e^G K S) ,  A = (I + L)⁻¹ β ,  L_ij = β_i k_i·k_j e^(G_i − G_j) for j < i
//     O = scale e^G Q S + P W ,           P_ij = scale q_i·k_j e^(G_i − G_j) for j ≤ i
//     S ← e^γ S + (e^(γ − G) K)ᵀ W
//
// Everything that depends on the state is computed transposed: Sᵀ, and with it each Wᵀ, is the left operand
// that a warpgroup has in registers, so that the state never passes through shared memory. P and A come
// from the score group, a chunk ahead.
//
// Compiled with what linear/hopper.cuh lists, and
//   OUTPUTS   whether there are outputs. Without them a block finds what a piece of a sequence does to the state:
//             S ↦ M S + B. B is the state that it leaves of none; where tokens erase, columns of M are those
//             that it leaves, without values, of a one; otherwise M is the piece's decay, a number.

#include "linear/hopper_block.cuh"

// Keys behind the end are zeros before anybody multiplies with them but the products of keys and queries with
// the state, whose columns of those tokens nobody reads.
DEVICE void clear_behind(u8 *keys, int count) {
  if (count >= chunk_tokens) return;
  clear_rows<KeyTile>(keys, count);
  meet_own_group();
}

// The score group's work.
DEVICE void score_all(const Parameters &p, const Layout &layout, const Place &at, const Memory &memory,
                      int turns) {
  TokenSums sums;
  // K Kᵀ of a turn whose L will be needed.
  auto issue_lower = [&](int turn) {
    const u32 keys = layout.key_tile(turn);
    layout.key_ring.wait(turn);
    clear_behind(memory.at(keys), at.sequence.count - chunk_of(turn, turns) * chunk_tokens);
    open_products();
    multiply_tiles<Element, KeyTile, KeyTile>(sums, keys, 0, keys);
    close_products();
  };
  if (UPDATE == 1 && turns > 0) issue_lower(0);

  for (int turn = 0; turn < turns; ++turn) {
    const Member own;
    const u32 keys = layout.key_tile(turn);
    const Gates &gates = memory.gates(turn);
    layout.gate_ring.wait(turn);

    // 1. L, and its inverse.
#if UPDATE == 1
    wait_for_products<0>();
    keep(sums);
    store_lower(memory.lower(), gates, sums, own);
    meet_own_group();
    invert(memory.lower(), own);
#else
    layout.key_ring.wait(turn);
    clear_behind(memory.at(keys), at.sequence.count - chunk_of(turn, turns) * chunk_tokens);
#endif

    // 2. Q Kᵀ while the inverse is rounded.
#if OUTPUTS
    layout.query_ring.wait(turn);
    open_products();
    if (REVERSED) {
      multiply_tiles<Element, KeyTile, KeyTile>(sums, keys, 0, layout.query_tile(turn));
    } else {
      multiply_tiles<Element, KeyTile, KeyTile>(sums, layout.query_tile(turn), 0, keys);
    }
    close_products();
#endif
    layout.score_ring.wait_for_place(turn);
#if UPDATE == 1
    round_lower(memory.at(layout.inverse_tile(turn)), memory.lower(), gates.betas, own);
#endif
#if OUTPUTS
    wait_for_products<0>();
    keep(sums);
    leave(layout.query_ring, turn);
#endif
    leave(layout.key_ring, turn);

    // 3. P, before the next turn's product takes its registers.
#if OUTPUTS
    store_scores(memory.at(layout.score_tile(turn)), gates, sums, own);
#endif
    show_to_products();
    layout.score_ring.fill(turn);
#if FLOWS && !REVERSED
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
    const int chunk = chunk_of(turn, turns);
    store_pair_sums(memory.shares(), p.flows, p.operands, at, gates, sums, own, chunk,
                    at.sequence.count - chunk * chunk_tokens);
#endif
    leave(layout.gate_ring, turn);
    if (UPDATE == 1) {
      if (turn + 1 < turns) issue_lower(turn + 1);
      // L is written again.
      meet_own_group();
    }
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
    first = (float *)states + number * KEYS * width + (column + threadIdx.x / warp_threads * 16 + lane / 4) * column_step +
            lane % 4 * 2 * row_step;
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

// A state group's work.
DEVICE void recur(const Parameters &p, const Layout &layout, const Place &at, const Memory &memory, bool is_map,
                  int turns) {
  const Operands &o = p.operands;
#if OUTPUTS
  const int group = threadIdx.x / group_threads;
#endif
  const int warp_column = threadIdx.x / warp_threads * 16;
  StateSums state = {};
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
  const int map_column = at.first_column - o.value_dimension;
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
  float passed = 1;

  for (int turn = 0; turn < turns; ++turn) {
    const int chunk = chunk_of(turn, turns);
    const int count = min(chunk_tokens, at.sequence.count - chunk * chunk_tokens);
    const u32 keys = layout.key_tile(turn);
    const Gates &gates = memory.gates(turn);
#if OUTPUTS
    TokenSums output;
#endif
    TokenLeft written;

#if FLOWS && !REVERSED
    if (chunk % segment_chunks == 0) {
      store_segment_state(segment_state(p.flows, o, at, chunk / segment_chunks), state);
    }
#endif
    // 1. What keys and queries find in the state. Behind the end keys are cleared before the scores are there.
    Element::Left rounded[KEYS / 16];
    round_left(rounded, state);
    layout.key_ring.wait(turn);
    if (count < chunk_tokens) layout.score_ring.wait(turn);
#if UPDATE == 1
    TokenSums found;
    open_products();
    multiply_transposed<Element, KeyTile>(found, rounded, keys, false);
    close_products();
#endif
#if OUTPUTS
    layout.query_ring.wait(turn);
    open_products();
    multiply_transposed<Element, KeyTile>(output, rounded, layout.query_tile(turn), false);
    close_products();
#endif

    // 2. The values, without what is there already: V − e^G K S, and W = A times that. Both products are waited
    // for, which frees the registers of their left operand; meanwhile the other state group's go on.
    if (!is_map) layout.value_ring.wait(turn);
    layout.score_ring.wait(turn);
    wait_for_products<0>();
#if UPDATE == 1
    keep(found);
#endif
#if OUTPUTS
    keep(output);
    leave(layout.query_ring, turn);
#endif
    if (is_map) {
      written[0] = written[1] = written[2] = written[3] = {};
    } else {
      load_values(written, layout.value_tile(turn), warp_column, count);
    }
#if UPDATE == 1 || DECAYS || NORMALIZES || REVERSED
    TokenSums sums;
    widen_left(sums, written);
#endif
#if UPDATE == 1
#pragma unroll
    for (int j = 0; j < chunk_tokens / 8; ++j) {
      const float2 factor = factors_at(gates.erase, j);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        found[j][i] = sums[j][i] - (i % 2 ? factor.y : factor.x) * found[j][i];
      }
    }
    round_left(written, found);
    open_products();
    multiply_transposed<Element, ScoreTile>(sums, written, layout.inverse_tile(turn), false);
    close_products();
    wait_for_products<0>();
    keep(sums);
    round_left(written, sums);
#endif

    // 3. O = scale e^G Q S + P W
#if OUTPUTS
    if (DECAYS || NORMALIZES || !REVERSED) scale_columns(output, gates.read);
#if FLOWS
    TokenLeft partner;
    load_values(partner, layout.partner_tile(turn), warp_column, count);
    store_row_products(p.flows, o, at, output, partner, chunk, count);
#endif
    open_products();
    if (REVERSED) {
      add_registers<Element, ScoreTile>(output, written, layout.score_tile(turn));
    } else {
      multiply_transposed<Element, ScoreTile>(output, written, layout.score_tile(turn), true);
    }
    close_products();
#endif

    // 4. S = e^γ S + (e^(γ − G) K)ᵀ W
#if DECAYS || NORMALIZES || REVERSED
    TokenLeft decayed;
    scale_columns(sums, gates.write);
    round_left(decayed, sums);
#else
    const TokenLeft &decayed = written;
#endif
    if (DECAYS) scale(state, gates.whole);
    if (DECAYS && !OUTPUTS) passed *= gates.whole;
    open_products();
    add_registers<Element, KeyTile>(state, decayed, keys);
    close_products();
    // Not before what was loaded has been used: a load may still be under way when its warp arrives.
    if (!is_map) leave(layout.value_ring, turn);

    // 5. The output, transposed back.
#if OUTPUTS
    wait_for_products<1>();
    keep(output);
    const u32 tile = layout.output_tile(turn, group);
#pragma unroll
    for (int step = 0; step < chunk_tokens / 16; ++step) {
      const Element::Left columns = Element::as_left(output[2 * step], output[2 * step + 1]);
      store_matrices_transposed(
          tile + transposed_place<OutputTile>(warp_column % group_columns, step), columns.word);
    }
    meet_own_group();
    for (int index = threadIdx.x % group_threads; index < count * OutputTile::chunks;
         index += group_threads) {
      const int row = index / OutputTile::chunks, part = index % OutputTile::chunks;
      const int token = at.sequence.first + chunk * chunk_tokens + row;
      u16 *target = (u16 *)p.output.base + p.output.place(at.sequence.batch, token, at.head) +
                    at.first_column + group * group_columns + part * OutputTile::chunk_numbers;
      *(uint4 *)target = *(const uint4 *)(memory.at(tile) + OutputTile::place(row, part));
    }
#endif
    wait_for_products<0>();
    keep(state);
#if FLOWS && REVERSED
    if (chunk % segment_chunks == 0) store_state_product(p.flows, o, at, state, chunk / segment_chunks);
#endif
    leave(layout.key_ring, turn);
    leave(layout.score_ring, turn);
    leave(layout.gate_ring, turn);
  }

  if (float *states = is_map ? p.maps : p.final_state) {
    const StatePlace final(states, o, at, is_map ? KEYS : o.value_dimension, is_map ? map_column : at.first_column,
                           p.is_transposed && !is_map);
#pragma unroll
    for (int j = 0; j < KEYS / 8; ++j) {
#pragma unroll
      for (int i = 0; i < 4; ++i) final.at(j, i) = state[j][i];
    }
  }
  if (UPDATE == 0 && !OUTPUTS && at.slice == 0 && threadIdx.x == 0) {
    p.maps[(i64)at.number * o.value_heads + at.head] = passed;
  }
}

extern "C" __global__ void __launch_bounds__(block_threads, 1)
    linear_hopper_forward(const __grid_constant__ Parameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  const Place at(p.operands, segment_tokens);
  const Layout layout(shared_address(shared));
  const int turns = (at.sequence.count + chunk_tokens - 1) / chunk_tokens;
  const bool is_map = UPDATE == 1 && !OUTPUTS && at.first_column >= p.operands.value_dimension;

  if (threadIdx.x == 0) {
    layout.query_ring.open(computing_warps + NORMALIZES);
    layout.key_ring.open(computing_warps + NORMALIZES);
    layout.value_ring.open(FLOWS && !REVERSED ? computing_warps : state_groups * group_warps);
    layout.score_ring.open(state_groups * group_warps, group_threads);
    layout.gate_ring.open(computing_warps, warp_threads);
    show_barriers();
  }
  // Above the diagonal blocks P, A and L are zero, and nobody writes there.
  clear<block_threads>(shared + (layout.scores - layout.base), layout.outputs - layout.scores);
  clear<block_threads>(shared + (layout.lower - layout.base), layout.sizes - layout.lower);
  show_to_products();
  __syncthreads();

  const Memory memory = {shared, layout};
  const int group = threadIdx.x / group_threads;
  if (group < state_groups) {
    take_registers<state_registers>();
    recur(p, layout, at, memory, is_map, turns);
  } else if (group == score_group) {
    give_registers<score_registers>();
    score_all(p, layout, at, memory, turns);
  } else {
    give_registers<copying_registers>();
    const int warp = threadIdx.x / warp_threads % group_warps;
    if (warp == 0 && threadIdx.x % warp_threads == 0) copy_all(p, layout, at, is_map, turns);
    if (warp == 1) find_all_gates(p, layout, at, memory, turns);
    if (NORMALIZES && warp >= group_warps - measuring_warps) measure_all(p, layout, memory, warp == 3, turns);
  }
}

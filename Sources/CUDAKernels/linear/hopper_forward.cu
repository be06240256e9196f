// Linear attention in chunks of 64 tokens, forward, for Hopper.
//
// With G the inclusive sum of the log-decay in a chunk, γ the whole chunk's, and S the state before it:
//
//     additive     W = V
//     delta rule   W = A β (V − e^G K S) ,  A = (I + L)⁻¹ ,  L_ij = β_i k_i·k_j e^(G_i − G_j) for j < i
//     O = scale e^G Q S + P W ,           P_ij = scale q_i·k_j e^(G_i − G_j) for j ≤ i
//     S ← e^γ S + (e^(γ − G) K)ᵀ W
//
// Everything that depends on the state is computed transposed: Sᵀ, and with it each Wᵀ, is the left operand
// that a warpgroup has in registers, so that the state never passes through shared memory. P comes from the
// score group, a chunk ahead, and A from memory (linear/hopper_inverse.cu).
//
// Without outputs a block finds what a piece of a sequence does to the state: S ↦ M S + B. B is the state that it
// leaves of none; where tokens erase, columns of M are those that it leaves, without values, of a one; otherwise M
// is the piece's decay, a number or one for each channel.
//
// Where channels decay, what stands above is the same without e^G, of queries and keys that have it in them, and with e^γ
// in two parts, before the chunk's tokens and behind them.
//
// Reversed, an additive update goes from the last token to the first: rows of the tile of scores are keys then.
//
// Compiled with what linear/hopper.cuh lists.

// Whether queries are read.
#define READS (OUTPUTS == 1)

#include "linear/hopper_groups.cuh"

// A state group's work.
DEVICE void recur(const Parameters &p, const Layout &layout, const Place &at, const Memory &memory, bool is_map) {
  const Operands &o = p.operands;
  const int warp_column = threadIdx.x / warp_threads * 16;
  StateSums state = {};
  begin_state(state, p, at, is_map);
  // What decays in all, of a channel of each thread if those decay.
  float passed = 1;

  for (Walk walk = walk_through(p, at); walk.exists(); walk.next()) {
    const int turn = walk.turn, count = min(chunk_tokens, walk.count());
    const u32 keys = layout.key_tile(turn);
    const Gates &gates = memory.gates(turn);
#if OUTPUTS
    const OutputPlace output_place = {p, at, at.sequence.first + walk.first(), count};
    const HeldOutputs held(output_place);
#endif
#if READS
    TokenSums output;
#endif
    TokenLeft written;

#if FLOWS && !REVERSED
    if (p.flows.states && begins_segment(walk)) store_segment_state(segment_state(p.flows, o, at, walk.chunk()), state);
#endif
#if CHANNELS
    layout.gate_ring.wait(turn);
    scale_channels(state, gates.enter);
    const int channel = threadIdx.x;
    if (UPDATE == 0 && !OUTPUTS && channel < decaying_channels) passed *= gates.enter[channel] * gates.leave[channel];
#endif
    // 1. What keys and queries find in the state. Behind the end keys are cleared before the scores are there.
    Element::Left rounded[KEYS / 16];
    round_left(rounded, state);
    layout.key_ring.wait(turn);
    if (count < chunk_tokens) layout.score_ring.wait(turn);
#if UPDATE == 1
    TokenSums found;
#if ERASERS
    layout.eraser_ring.wait(turn);
#endif
    open_products();
    multiply_transposed<Element, KeyTile>(found, rounded, ERASERS ? layout.eraser_tile(turn) : keys, false);
    close_products();
#endif
#if READS
    layout.query_ring.wait(turn);
    open_products();
    multiply_transposed<Element, KeyTile>(output, rounded, layout.query_tile(turn), false);
    close_products();
#endif

    // 2. The values, without what is there already: V − e^G K S, and W = A times that. Both products are waited
    // for, which frees the registers of their left operand; meanwhile the other state group's go on.
    if (!is_map) layout.value_ring.wait(turn);
    layout.score_ring.wait(turn);
    layout.gate_ring.wait(turn);
    wait_for_products<0>();
#if UPDATE == 1
    keep(found);
#endif
#if ERASERS
    leave(layout.eraser_ring, turn);
#endif
#if READS
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
      const float2 beta = factors_at(gates.betas, j);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        found[j][i] = (i % 2 ? beta.y : beta.x) * (sums[j][i] - (i % 2 ? factor.y : factor.x) * found[j][i]);
      }
    }
    round_left(written, found);
    layout.inverse_ring.wait(turn);
    open_products();
    multiply_transposed<Element, ScoreTile>(sums, written, layout.inverse_tile(turn), false);
    close_products();
    wait_for_products<0>();
    keep(sums);
    leave(layout.inverse_ring, turn);
    round_left(written, sums);
#endif

    // 3. O = scale e^G Q S + P W
#if READS
    if (DECAYS || NORMALIZES || !REVERSED) scale_columns(output, gates.read);
#if PARTNERS
    TokenLeft partner;
    load_values(partner, layout.partner_tile(turn), warp_column, count);
    store_row_products(p.flows, o, at, output, partner, walk.first(), count);
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
#if READS
    wait_for_products<1>();
    keep(output);
    round_left(written, output);
#endif
#if OUTPUTS
    store_output(layout, memory, output_place, held, written, turn);
#endif
    wait_for_products<0>();
    keep(state);
#if CHANNELS
    scale_channels(state, gates.leave);
    keep(state);
#endif
#if FLOWS && REVERSED
    if (begins_segment(walk)) store_state_product(p.flows, o, at, state, walk.chunk());
#endif
    leave(layout.key_ring, turn);
    leave(layout.score_ring, turn);
    leave(layout.gate_ring, turn);
  }

  end_state(state, p, at, is_map);
  if (UPDATE != 0 || OUTPUTS) return;
  const i64 number = (i64)at.number * o.value_heads + at.head;
  if (!CHANNELS) {
    if (at.slice == 0 && threadIdx.x == 0) p.maps[number] = passed;
  } else if ((CHANNELS == 2 || at.slice == 0) && threadIdx.x < decaying_channels) {
    const int width = CHANNELS == 2 ? o.value_dimension : KEYS, first = CHANNELS == 2 ? at.first_column : 0;
    p.maps[number * width + first + threadIdx.x] = passed;
  }
}

extern "C" __global__ void __launch_bounds__(block_threads, 1)
    linear_hopper_forward(const __grid_constant__ Parameters p) {
  run_block(p);
}

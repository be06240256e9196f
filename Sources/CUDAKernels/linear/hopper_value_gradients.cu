// The gradients of the delta rule's values, from the last token to the first, for Hopper.
//
// With W what linear/hopper_forward.cu writes, dO the gradient of the outputs and dS that of the state behind a
// chunk, which becomes that of the state before it:
//
//     dW = Pᵀ dO + e^(γ − G) K dS
//     dV = β (I + L)⁻ᵀ dW
//     dS ← e^γ dS + scale (e^G Q)ᵀ dO − (e^G K)ᵀ dV
//
// P, L and G are those of the forward pass, and so is the way of a block through its chunks. The values here are dO,
// the outputs dV. Without outputs a block finds what a piece of a sequence does to dS.
//
// Compiled with what linear/hopper.cuh lists, UPDATE 1 and REVERSED 1.

// Queries are read in any case.
#define READS 1

#include "linear/hopper_groups.cuh"

#if LOW_RANK
// Copies the second rows of a tile of values to memory, for the passes that read them beside the first rows of the
// outputs.
DEVICE void copy_values(const u8 *tile, const OutputPlace &place) {
  const int first_chunk = threadIdx.x / group_threads * OutputTile::chunks;
#pragma unroll
  for (int n = 0; n < OutputPlace::parts; ++n) {
    const int index = own_thread() + n * group_threads;
    const int row = index / OutputTile::chunks, part = index % OutputTile::chunks;
    if (row >= place.count || row % token_rows == 0) continue;
    const int token = (place.first_token + row) / token_rows;
    *place.target(place.p.values_copy, token, part) = *(const uint4 *)(tile + ValueTile::place(row, first_chunk + part));
  }
}
#endif

// A state group's work.
DEVICE void recur(const Parameters &p, const Layout &layout, const Place &at, const Memory &memory, bool is_map) {
  const int warp_column = threadIdx.x / warp_threads * 16;
  StateSums state = {};
  begin_state(state, p, at, is_map);

  for (Walk walk = walk_through(p, at); walk.exists(); walk.next()) {
    const int turn = walk.turn, count = min(chunk_tokens, walk.count());
    const u32 keys = layout.key_tile(turn), queries = layout.query_tile(turn);
    const Gates &gates = memory.gates(turn);

#if OUTPUTS
    const OutputPlace output_place = {p, at, at.sequence.first + walk.first(), count};
    const HeldOutputs held(output_place);
#endif
#if CHANNELS
    layout.gate_ring.wait(turn);
    scale_channels(state, gates.enter);
#endif
    // 1. What keys find in dS, and what the outputs of the chunk add: dW.
    Element::Left rounded[KEYS / 16];
    round_left(rounded, state);
    TokenSums found;
    layout.key_ring.wait(turn);
    if (count < chunk_tokens) layout.score_ring.wait(turn);
    open_products();
    multiply_transposed<Element, KeyTile>(found, rounded, keys, false);
    close_products();
    if (!is_map) layout.value_ring.wait(turn);
    layout.score_ring.wait(turn);
    layout.gate_ring.wait(turn);
    wait_for_products<0>();
    keep(found);
    TokenLeft incoming;
    if (is_map) {
      incoming[0] = incoming[1] = incoming[2] = incoming[3] = {};
    } else {
      load_values(incoming, layout.value_tile(turn), warp_column, count);
    }
    if (DECAYS) scale_columns(found, gates.read);
    open_products();
    add_registers<Element, ScoreTile>(found, incoming, layout.score_tile(turn));
    close_products();
    wait_for_products<0>();
    keep(found);

    // 2. dV, of sums over the inverse's rows.
    TokenLeft gradients;
    round_left(gradients, found);
    TokenSums sums = {};
    layout.inverse_ring.wait(turn);
    open_products();
    add_registers<Element, ScoreTile>(sums, gradients, layout.inverse_tile(turn));
    close_products();
    // Meanwhile dO with its decay.
    TokenLeft decayed;
    widen_left(found, incoming);
    scale_columns(found, gates.write);
    round_left(decayed, found);
    if (DECAYS) scale(state, gates.whole);
    wait_for_products<0>();
    keep(sums);
    leave(layout.inverse_ring, turn);
    scale_columns(sums, gates.betas);

    // 3. dS
    open_products();
    layout.query_ring.wait(turn);
    add_registers<Element, KeyTile>(state, decayed, queries);
    close_products();
    round_left(gradients, sums);
    scale_columns(sums, gates.erase);
    TokenLeft erased;
    round_left(erased, sums);
#if ERASERS
    layout.eraser_ring.wait(turn);
#endif
    open_products();
    add_registers<Element, KeyTile>(state, erased, ERASERS ? layout.eraser_tile(turn) : keys);
    close_products();
#if LOW_RANK && OUTPUTS
    copy_values(memory.at(layout.value_tile(turn)), output_place);
#endif
    if (!is_map) leave(layout.value_ring, turn);

#if OUTPUTS
    store_output(layout, memory, output_place, held, gradients, turn);
#endif
    wait_for_products<0>();
    keep(state);
#if CHANNELS
    scale_channels(state, gates.leave);
    keep(state);
#endif
#if ERASERS
    leave(layout.eraser_ring, turn);
#endif
    leave(layout.query_ring, turn);
    leave(layout.key_ring, turn);
    leave(layout.score_ring, turn);
    leave(layout.gate_ring, turn);
  }
  end_state(state, p, at, is_map);
}

extern "C" __global__ void __launch_bounds__(block_threads, 1)
    linear_hopper_value_gradients(const __grid_constant__ Parameters p) {
  run_block(p);
}

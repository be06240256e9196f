#pragma once

#include "linear/flows.cuh"
#include "linear/scores.cuh"

// A block of linear/hopper_forward.cu: its parameters, what its warpgroups share, and the work of the copying
// group, which fills the rings of tiles and of gates.
//
// What orders accesses to shared memory:
//   tiles copied by TMA   Readers wait for the full barrier. They arrive at the free barrier when their products have
//                         ended or what they loaded has been used, and the next copy waits for it.
//   scores                Each thread of the score group fences its writes (show_to_products) and arrives at the full
//                         barrier; they are written again after the state groups' products have ended.
//   keys behind the end   The score group clears them when the gate ring is full. Warps that measure keys have met the
//                         gate warp by then, and state groups multiply with a cleared tile after the score ring is
//                         full. The fence comes before the clearing threads meet, and orders the clearing before the
//                         next copy, too.
//   gates                 Every reader waits for the full barrier.
//   outputs               A state group writes its tile, meets and reads it; another meeting, of the next turn, lies
//                         between these reads and the next writes to the same stage.
// The order of measured and then cleared keys follows from two barriers, one after the other: race checkers that
// consider each barrier alone report it.

using Parameters = LinearHopperParameters;

// The turns of a block.
DEVICE Walk walk_through(const Parameters &p, const Place &at) {
  const i64 first = (i64)at.sequence.chunk * p.operands.value_heads + at.head;
  return Walk(at.sequence.count, CHANNELS ? p.levels + first : nullptr, p.operands.value_heads);
}

constexpr int key_stages = linear_key_stages(ERASERS);
constexpr int value_stages = linear_value_stages;
constexpr int score_stages = linear_score_stages;
constexpr int output_stages = linear_output_stages;
constexpr int gate_stages = linear_gate_stages;
constexpr LinearHopperLayout layout_offsets =
    linear_hopper_layout(KEYS, COLUMNS, sizeof(Element::Number), UPDATE == 1, ERASERS, PARTNERS, PARTNERS && !REVERSED,
                         decaying_channels);
// Warps of the copying group: one copies, one has the gates, up to two measure queries and keys.
constexpr int measuring_warps = NORMALIZES ? 1 + READS : 0;
constexpr int gate_threads = (1 + measuring_warps) * warp_threads;

// Barriers of the block by number, beside those of the warpgroups: lengths have been measured; and used.
enum Meeting { measured = state_groups + 3, used };

// Addresses in shared memory of what the block shares.
struct Layout {
  u32 base;
  u32 queries = base;
  u32 keys = base + layout_offsets.keys;
  u32 erasers = base + layout_offsets.erasers;
  u32 values = base + layout_offsets.values;
  u32 partners = base + layout_offsets.partners;
  u32 scores = base + layout_offsets.scores;
  u32 inverses = base + layout_offsets.inverses;
  u32 outputs = base + layout_offsets.outputs;
  u32 gates = base + layout_offsets.gates;
  u32 sizes = base + layout_offsets.sizes;
  u32 shares = base + layout_offsets.shares;
  u32 barriers = base + layout_offsets.barriers;
  Ring<key_stages> query_ring = {barriers};
  Ring<key_stages> key_ring = {barriers + Ring<key_stages>::bytes};
  Ring<value_stages> value_ring = {barriers + 2 * Ring<key_stages>::bytes};
  Ring<score_stages> score_ring = {barriers + 2 * Ring<key_stages>::bytes + Ring<value_stages>::bytes};
  Ring<gate_stages> gate_ring = {barriers + 2 * Ring<key_stages>::bytes + Ring<value_stages>::bytes +
                                 Ring<score_stages>::bytes};
  Ring<score_stages> inverse_ring = {gate_ring.barriers + Ring<gate_stages>::bytes};
  Ring<key_stages> eraser_ring = {inverse_ring.barriers + Ring<score_stages>::bytes};

  __device__ explicit Layout(u32 base) : base(base) {}
  __device__ u32 query_tile(int turn) const { return queries + turn % key_stages * KeyTile::bytes; }
  __device__ u32 key_tile(int turn) const { return keys + turn % key_stages * KeyTile::bytes; }
  __device__ u32 eraser_tile(int turn) const { return erasers + turn % key_stages * KeyTile::bytes; }
  __device__ u32 value_tile(int turn) const { return values + turn % value_stages * ValueTile::bytes; }
  __device__ u32 partner_tile(int turn) const { return partners + turn % value_stages * ValueTile::bytes; }
  __device__ u32 score_tile(int turn) const { return scores + turn % score_stages * ScoreTile::bytes; }
  __device__ u32 inverse_tile(int turn) const {
    return inverses + turn % score_stages * ScoreTile::bytes;
  }
  __device__ u32 output_tile(int turn, int group) const {
    return outputs + (turn % output_stages * state_groups + group) * OutputTile::bytes;
  }
};

// Where memory of the block is, by offsets in it.
struct Memory {
  u8 *shared;
  const Layout &layout;

  __device__ u8 *at(u32 address) const { return shared + (address - layout.base); }
  __device__ Gates &gates(int turn) const { return ((Gates *)at(layout.gates))[turn % gate_stages]; }
  __device__ PairShares &shares() const { return *(PairShares *)at(layout.shares); }
  // Reciprocal lengths of queries and keys, [2][64].
  __device__ float *sizes() const { return (float *)at(layout.sizes); }
};

// The copying group's work: one thread requests the tiles in the order in which they are read.
DEVICE void copy_all(const Parameters &p, const Layout &layout, const Place &at, bool is_map) {
  for (Walk walk = walk_through(p, at); walk.exists(); walk.next()) {
    const int turn = walk.turn, first = walk.first(), row = at.sequence.first + first;
    copy_token_rows<KeyTile>(layout.key_tile(turn), p.keys, layout.key_ring.claim(turn, KeyTile::bytes),
                             at.head / p.key_group, row, at.sequence.batch, p.key_rows, KEYS);
#if ERASERS
    copy_token_rows<KeyTile>(layout.eraser_tile(turn), p.erasers, layout.eraser_ring.claim(turn, KeyTile::bytes),
                             at.head, row, at.sequence.batch, linear_first_rows, KEYS);
#endif
#if UPDATE == 1
    copy_blocks<ScoreTile>(layout.inverse_tile(turn), p.inverses,
                           layout.inverse_ring.claim(turn, ScoreTile::bytes), at.head,
                           at.sequence.chunk * chunk_tokens + first, 0);
#endif
#if READS
    copy_token_rows<KeyTile>(layout.query_tile(turn), p.queries, layout.query_ring.claim(turn, KeyTile::bytes),
                             at.head / p.query_group, row, at.sequence.batch, p.query_rows, KEYS);
#endif
    if (is_map) continue;
    const u32 barrier = layout.value_ring.claim(turn, (1 + PARTNERS) * ValueTile::bytes);
    copy_token_rows<ValueTile>(layout.value_tile(turn), p.values, barrier, at.head / p.value_group, row,
                               at.sequence.batch, p.value_rows, p.operands.value_dimension, at.first_column);
#if PARTNERS
    copy_blocks<ValueTile>(layout.partner_tile(turn), p.partners, barrier, at.head / p.partner_group, row,
                           at.sequence.batch, at.first_column);
#endif
  }
}

// The gates, by a warp that waits for the two that measure, if there are any.
DEVICE void find_all_gates(const Parameters &p, const Layout &layout, const Place &at, const Memory &memory) {
  Walk walk = walk_through(p, at);
  LoadedGates loaded(p.operands, at, walk.first());
  while (walk.exists()) {
    const int turn = walk.turn;
    layout.gate_ring.wait_for_place(turn);
    if (NORMALIZES) synchronize(measured, gate_threads);
    find_gates(memory.gates(turn), loaded, memory.sizes(), walk.count(), p.operands, p.scales_second_rows);
#if CHANNELS
    find_edges(memory.gates(turn), p.operands, p.edges, CHANNELS == 2 ? p.operands.value_dimension : KEYS,
               CHANNELS == 2 ? at.first_column : 0, at, walk);
#endif
    layout.gate_ring.fill(turn);
    walk.next();
    loaded = LoadedGates(p.operands, at, walk.first());
    if (NORMALIZES) synchronize(used, gate_threads);
  }
}

// The lengths of queries, or of keys, by a warp.
DEVICE void measure_all(const Parameters &p, const Layout &layout, const Place &at, const Memory &memory,
                        bool of_keys) {
  const Ring<key_stages> &ring = of_keys ? layout.key_ring : layout.query_ring;
  for (Walk walk = walk_through(p, at); walk.exists(); walk.next()) {
    const int turn = walk.turn;
    ring.wait(turn);
    const u32 tile = of_keys ? layout.key_tile(turn) : layout.query_tile(turn);
    measure_rows(memory.sizes() + of_keys * chunk_tokens, memory.at(tile), p.operands.epsilon);
    leave(ring, turn);
    synchronize(measured, gate_threads);
    synchronize(used, gate_threads);
  }
}

#pragma once

#include "linear/flows.cuh"
#include "linear/scores.cuh"

// A block of linear/hopper_forward.cu: its parameters, what its warpgroups share, and the work of the copying
// group, which fills the rings of tiles and of gates.

// What linear/channel_gates.cu leaves of every chunk.
struct Channels {
  const u8 *levels;     // how often a chunk is halved [chunks, hv]
  const float *edges;   // factors of the state before the tokens and behind them [chunks, hv, 2, channels]
};

struct Parameters {
  TensorMap queries, keys, values;
  TensorMap partners;   // of PARTNERS, as the outputs; as the values are copied
  TensorMap inverses;   // of erasing tokens (linear/hopper_inverse.cu)
  TensorMap erasers;    // of ERASERS, as the keys
  Operands operands;
  Rows output;          // [b, t, hv, v]
  float *final_state;   // as the initial one, or null
  float *maps;          // M [n, hv, k, k] or, of additive tokens, [n, hv]; without outputs
  // Value heads that share a head of the queries, of the keys, of the values and of the partners.
  int query_group, key_group, value_group, partner_group;
  // Whether states lie transposed in memory, [n, hv, v, k].
  int is_transposed;
  int unused;
  Flows flows;
  Rows betas;           // the gradient of β [b, t, hv, 1] in float32
  Channels channels;    // of CHANNELS
};

// The turns of a block.
DEVICE Walk walk_through(const Parameters &p, const Place &at) {
  const i64 first = (i64)at.sequence.chunk * p.operands.value_heads + at.head;
  return Walk(at.sequence.count, CHANNELS ? p.channels.levels + first : nullptr, p.operands.value_heads);
}

constexpr int key_stages = ERASERS ? 2 : 3;
constexpr int value_stages = 2;
constexpr int score_stages = 2;
constexpr int output_stages = 2;
constexpr int gate_stages = 3;
// Warps of the copying group: one copies, one has the gates, up to two measure queries and keys.
constexpr int measuring_warps = NORMALIZES ? 1 + READS : 0;
constexpr int gate_threads = (1 + measuring_warps) * warp_threads;

// Barriers of the block by number, beside those of the warpgroups: lengths have been measured; and used.
enum Meeting { measured = state_groups + 3, used };

// Offsets in shared memory of what the block shares.
struct Layout {
  u32 base;
  u32 queries = base;
  u32 keys = queries + key_stages * KeyTile::bytes;
  u32 erasers = keys + key_stages * KeyTile::bytes;
  u32 values = erasers + (ERASERS ? key_stages * KeyTile::bytes : 0);
  u32 partners = values + value_stages * ValueTile::bytes;
  u32 scores = partners + (PARTNERS ? value_stages * ValueTile::bytes : 0);
  u32 inverses = scores + score_stages * ScoreTile::bytes;
  u32 outputs = inverses + (UPDATE == 1 ? score_stages * ScoreTile::bytes : 0);
  u32 gates = outputs + output_stages * state_groups * OutputTile::bytes;
  u32 sizes = gates + gate_stages * (u32)sizeof(Gates);
  u32 shares = sizes + 2 * chunk_tokens * (u32)sizeof(float);
  u32 barriers = shares + (PARTNERS && !REVERSED ? (u32)sizeof(PairShares) : 0);
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
    copy_blocks<KeyTile>(layout.key_tile(turn), p.keys, layout.key_ring.claim(turn, KeyTile::bytes),
                         at.head / p.key_group, row, at.sequence.batch);
#if ERASERS
    copy_blocks<KeyTile>(layout.eraser_tile(turn), p.erasers, layout.eraser_ring.claim(turn, KeyTile::bytes), at.head,
                         row, at.sequence.batch);
#endif
#if UPDATE == 1
    copy_blocks<ScoreTile>(layout.inverse_tile(turn), p.inverses,
                           layout.inverse_ring.claim(turn, ScoreTile::bytes), at.head,
                           at.sequence.chunk * chunk_tokens + first, 0);
#endif
#if READS
    copy_blocks<KeyTile>(layout.query_tile(turn), p.queries,
                         layout.query_ring.claim(turn, KeyTile::bytes), at.head / p.query_group, row,
                         at.sequence.batch);
#endif
    if (is_map) continue;
    const u32 barrier = layout.value_ring.claim(turn, (1 + PARTNERS) * ValueTile::bytes);
    copy_blocks<ValueTile>(layout.value_tile(turn), p.values, barrier, at.head / p.value_group, row,
                           at.sequence.batch, at.first_column);
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
    find_gates(memory.gates(turn), loaded, memory.sizes(), walk.count(), p.operands);
#if CHANNELS
    find_edges(memory.gates(turn), p.operands, p.channels.edges, CHANNELS == 2 ? p.operands.value_dimension : KEYS,
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

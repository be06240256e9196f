// Exact attention, forward, for Hopper: O = softmax(scale Q Kᵀ, masked) V and the rows' log-sum-exp.
//
// As forward.cu, with the matrix and copying instructions of sm_90a. A warpgroup owns 64 queries; one more
// requests tiles of `KEY_ROWS` keys and values as stages become free. While a warpgroup computes the weights of
// a tile, the values of its previous tile are multiplied, and another warpgroup issues products
// (Shah et al., FlashAttention-3, 2024).
//
// Compiled with what operands.cuh lists, half precision without KEY_MASK, COSINE and TERMS, and
//   KEY_DIMENSION, VALUE_DIMENSION   64 or 128
//   KEY_ROWS                         64, 96 or 128
//   WARPGROUPS                       as hopper.cuh has it

#include "attention/forward.cuh"
#include "attention/hopper.cuh"
#include "attention/layout.h"

constexpr int query_rows = group_rows * WARPGROUPS;
constexpr int score_columns = KEY_ROWS / 8;
constexpr int value_columns = VALUE_DIMENSION / 8;
constexpr int stages = attention_stages;
constexpr AttentionLayout layout_offsets =
    attention_layout(owns_queries, query_rows, KEY_ROWS, KEY_DIMENSION, VALUE_DIMENSION, sizeof(Number), stages,
                     0, true);

using QueryTile = BlockedTile<Element, query_rows, KEY_DIMENSION>;
using OutputTile = BlockedTile<Element, query_rows, VALUE_DIMENSION>;
using KeyTile = BlockedTile<Element, KEY_ROWS, KEY_DIMENSION>;
using ValueTile = BlockedTile<Element, KEY_ROWS, VALUE_DIMENSION>;

// Addresses of the block's shared memory.
struct Layout {
  u32 queries;
  u32 keys = queries + layout_offsets.first_passing;
  u32 values = queries + layout_offsets.second_passing;
  u32 query_barrier = queries + layout_offsets.barriers;
  Ring<stages> key_ring = {query_barrier + barrier_bytes};
  Ring<stages> value_ring = {query_barrier + barrier_bytes + Ring<stages>::bytes};

  __device__ Layout(u32 shared) : queries(shared) {}
  __device__ u32 key_tile(int turn) const { return keys + turn % stages * KeyTile::bytes; }
  __device__ u32 value_tile(int turn) const { return values + turn % stages * ValueTile::bytes; }
};

// What the copying thread does.
DEVICE void copy_all(const AttentionHopperForwardParameters &p, const Layout &layout, const Segment &segment, Range tiles,
                     int first_row, int head) {
  const int group = head / p.forward.operands.heads_per_group;
  arrive_expecting(layout.query_barrier, QueryTile::bytes);
  copy_blocks<QueryTile>(layout.queries, p.maps.queries, layout.query_barrier, head,
                         segment.query_start + first_row, segment.batch);
  for (int tile = tiles.first; tile < tiles.end; ++tile) {
    const int turn = tile - tiles.first;
    const int row = segment.key_start + tile * KEY_ROWS;
    copy_blocks<KeyTile>(layout.key_tile(turn), p.maps.keys, layout.key_ring.claim(turn, KeyTile::bytes),
                         group, row, segment.batch);
    copy_blocks<ValueTile>(layout.value_tile(turn), p.maps.values,
                           layout.value_ring.claim(turn, ValueTile::bytes), group, row, segment.batch);
  }
}

extern "C" __global__ void __launch_bounds__(block_threads, 1)
    attention_hopper_forward(const __grid_constant__ AttentionHopperForwardParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  const Operands &o = p.forward.operands;
  const Segment segment = o.segment();
  // Later queries of a causal sequence see more keys: the longest work starts first.
  const int first_row = (gridDim.x - 1 - blockIdx.x) * query_rows;
  const int row_count = min(query_rows, segment.query_count - first_row);
  if (row_count <= 0) return;
  const int head = blockIdx.y;
  const Range queries = {first_row, first_row + row_count};
  const Range tiles = segment.band().visible_tiles(queries, KEY_ROWS);
  const Range whole = segment.band().whole_tiles(queries, KEY_ROWS);
  const Layout layout(shared_address(shared));

  if (threadIdx.x == 0) {
    open_barrier(layout.query_barrier, 1);
    layout.key_ring.open(readers / warp_threads);
    layout.value_ring.open(readers / warp_threads);
    show_barriers();
  }
  __syncthreads();
  if (threadIdx.x >= readers) {
    give_registers<copying_registers>();
    if (threadIdx.x == readers) copy_all(p, layout, segment, tiles, first_row, head);
    return;
  }
  take_registers<reading_registers>();

  const int lane = threadIdx.x % warp_threads;
  const int group = threadIdx.x / group_threads;
  const int warp_row = threadIdx.x / warp_threads * 16;
  const float scale = o.scale_of(head);
  const float size = fmaxf(fabsf(scale) * log2_e, smallest_factor);
  const PerRow<1> factor = {{size, size}};
  RunningBound<1> softmax(0);
  PerRow<1> shrink;
  float output[1][value_columns][4] = {};
  float score[1][score_columns][4];
  Element::Left a[KEY_ROWS / 16];

  // Masks a tile's scores and turns them into weights, as powers of two.
  auto weigh_tile = [&](int tile) {
    if (tile < whole.first || tile >= whole.end) {
#pragma unroll
      for (int column = 0; column < score_columns; ++column) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int key = tile * KEY_ROWS + column * 8 + lane % 4 * 2 + i % 2;
          const int row = first_row + warp_row + i / 2 * 8 + lane / 4;
          if (!segment.band().sees(row, key)) score[0][column][i] = -infinity;
        }
      }
    }
    const bool shrinks = softmax.raise_bounds(score, factor, shrink);
#pragma unroll
    for (int step = 0; step < KEY_ROWS / 16; ++step) weigh(softmax, score, step, factor);
    return shrinks;
  };
  auto await_values = [&](int turn) {
    layout.value_ring.wait(turn);
#if PACKED
    const int rest = segment.keys - (tiles.first + turn) * KEY_ROWS;
    if (rest < KEY_ROWS) {
      clear_rows<ValueTile>(shared + (layout.value_tile(turn) - layout.queries), rest);
      meet_own_group();
    }
#endif
  };
  auto multiply_values = [&](int turn) {
    open_products();
    add_registers<Element, ValueTile>(output[0], a, layout.value_tile(turn));
    close_products();
  };

  // 1. Queries arrive. A negative scale turns the order of the scores around: the queries' signs are
  // turned instead.
  wait_for_phase(layout.query_barrier, 0);
  if (scale < 0) {
    for (u32 place = threadIdx.x * 4; place < QueryTile::bytes; place += readers * 4) {
      *(u32 *)(shared + place) ^= Element::sign_bits;
    }
    show_to_products();
    synchronize(all_readers, readers);
  }

  const int turns = tiles.end - tiles.first;
  const Turns order(turns);
  for (int turn = 0; turn < turns; ++turn) {
    // 2. S = Q Kᵀ, and O += P V of the tile before while S becomes weights.
    layout.key_ring.wait(turn);
    if (turn > 0) await_values(turn - 1);
    order.await();
    open_products();
    multiply_tiles<Element, QueryTile, KeyTile>(score[0], layout.queries, group * group_rows,
                                                layout.key_tile(turn));
    close_products();
    if (turn > 0) {
      multiply_values(turn - 1);
      order.pass_on(turn);
      wait_for_products<1>();
    } else {
      order.pass_on(turn);
      wait_for_products<0>();
    }
    keep(score[0]);
    release(layout.key_ring, turn);
    const bool shrinks = weigh_tile(tiles.first + turn);
    wait_for_products<0>();
    keep(output[0]);
    if (turn > 0) release(layout.value_ring, turn - 1);
    if (shrinks) softmax.scale(output, shrink);
#pragma unroll
    for (int step = 0; step < KEY_ROWS / 16; ++step) {
      a[step] = Element::as_left(score[0][2 * step], score[0][2 * step + 1]);
    }
  }

  // 3. The last tile's values.
  if (turns > 0) {
    await_values(turns - 1);
    multiply_values(turns - 1);
    wait_for_products<0>();
    keep(output[0]);
  }
  finish_rows<OutputTile>(p.forward, segment, softmax, output, factor, warp_row, first_row, row_count, head,
                          shared);
  meet_own_group();
  const Range rows = {group * group_rows, min(row_count, (group + 1) * group_rows)};
  write_rows<OutputTile, group_threads>(p.forward, segment, rows, first_row, head, shared,
                                        threadIdx.x % group_threads);
}

// Exact attention, backward: the gradients of the queries, for Hopper. See backward.cuh.
//
// As backward_queries.cu, with the instructions of sm_90a: keys and values pass in tiles of `KEY_ROWS`.
// Products run while weights are computed: dP = dO Vᵀ during the exponentials of S, dQ += dS K of a tile
// with S of the next.
//
// Compiled with what backward.cuh lists, half precision without KEY_MASK, COSINE and TERMS, and
//   KEY_DIMENSION, VALUE_DIMENSION   64 or 128
//   KEY_ROWS                         64, 96 or 128
//   STAGES                           pipeline stages
//   WARPGROUPS                       as hopper.cuh has it

#include "attention/backward_again.cuh"
#include "attention/backward_variants.h"
#include "attention/hopper.cuh"
#include "attention/layout.h"

constexpr int query_rows = group_rows * WARPGROUPS;
constexpr int score_columns = KEY_ROWS / 8;
constexpr int stages = STAGES;
constexpr AttentionLayout layout_offsets =
    attention_layout(owns_queries_and_outputs, query_rows, KEY_ROWS, KEY_DIMENSION, VALUE_DIMENSION, sizeof(Number), stages,
                     0, true);

using QueryTile = BlockedTile<Element, query_rows, KEY_DIMENSION>;
using OutputTile = BlockedTile<Element, query_rows, VALUE_DIMENSION>;
using KeyTile = BlockedTile<Element, KEY_ROWS, KEY_DIMENSION>;
using ValueTile = BlockedTile<Element, KEY_ROWS, VALUE_DIMENSION>;

// Addresses of the block's shared memory.
struct Layout {
  u32 queries;
  u32 outputs = queries + layout_offsets.second_owned;
  u32 keys = queries + layout_offsets.first_passing;
  u32 values = queries + layout_offsets.second_passing;
  u32 query_barrier = queries + layout_offsets.barriers;
  Ring<stages> key_ring = {query_barrier + barrier_bytes};
  Ring<stages> value_ring = {query_barrier + barrier_bytes + Ring<stages>::bytes};

  __device__ Layout(u32 shared) : queries(shared) {}
  __device__ u32 key_tile(int turn) const { return keys + turn % stages * KeyTile::bytes; }
  __device__ u32 value_tile(int turn) const { return values + turn % stages * ValueTile::bytes; }
};

// What the copying thread does. Where sums are large, keys pass twice.
DEVICE void copy_all(const AttentionHopperBackwardParameters &p, const Layout &layout, const Segment &segment, Range tiles,
                     Range queries, int head) {
  const int first_row = queries.first;
  const int query = segment.query_start + first_row;
  arrive_expecting(layout.query_barrier, QueryTile::bytes + OutputTile::bytes);
  copy_blocks<QueryTile>(layout.queries, p.maps.queries, layout.query_barrier, head, query, segment.batch);
  copy_blocks<OutputTile>(layout.outputs, p.output_gradient, layout.query_barrier, head, query,
                          segment.batch);
  const int group = head / p.backward.operands.heads_per_group;
  const int last = tiles.end - tiles.first - 1;
  int tile = tiles.first;
#pragma unroll 1
  for (int turn = 0; tile < tiles.end; ++turn, ++tile) {
    const int row = segment.key_start + tile * KEY_ROWS;
    copy_blocks<KeyTile>(layout.key_tile(turn), p.maps.keys, layout.key_ring.claim(turn, KeyTile::bytes),
                         group, row, segment.batch);
    copy_blocks<ValueTile>(layout.value_tile(turn), p.maps.values,
                           layout.value_ring.claim(turn, ValueTile::bytes), group, row, segment.batch);
    if (turn == last && p.backward.sees_large(segment, head, queries, 0, 1)) tile = tiles.first - 1;
  }
}

extern "C" __global__ void __launch_bounds__(block_threads, 1)
    attention_hopper_backward_queries(const __grid_constant__ AttentionHopperBackwardParameters mapped) {
  extern __shared__ __align__(1024) u8 shared[];
  const BackwardParameters &p = mapped.backward;
  const Operands &o = p.operands;
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
    if (threadIdx.x == readers) copy_all(mapped, layout, segment, tiles, queries, head);
    return;
  }
  take_registers<reading_registers>();

  const int lane = threadIdx.x % warp_threads;
  const int group_row = threadIdx.x / group_threads * group_rows;
  const int warp_row = threadIdx.x / warp_threads * 16;
  const float scale = o.scale_of(head);
  const float factor = scale * log2_e;
  auto place_of = [&](int half) {
    const int row = first_row + min(warp_row + half * 8 + lane / 4, row_count - 1);
    return o.query_place(segment.batch, head, segment.query_start + row);
  };
  float shift[2], delta[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    shift[half] = p.shift[place_of(half)];
    delta[half] = p.delta[place_of(half)];
  }
  const bool has_large = p.has_large(segment, head, queries);
  const int first_turn = has_large ? tiles.end - tiles.first : 0;
  const int end_turn = first_turn + tiles.end - tiles.first;
  const Turns order(end_turn);
  wait_for_phase(layout.query_barrier, 0);
  auto hide_unseen = [&](int tile, float (&c)[score_columns][4], float hidden) {
    if (tile >= whole.first && tile < whole.end) return;
    hide(c, hidden, [&](int row, int column) {
      return segment.band().sees(first_row + warp_row + row, tile * KEY_ROWS + column);
    });
  };

  // Rows of large sums go over the keys once before.
  if (has_large) {
    RowSums<1> sums(PerRow<1>{{factor, factor}});
    for (int turn = 0; turn < first_turn; ++turn) {
      float score[1][score_columns][4];
      layout.key_ring.wait(turn);
      layout.value_ring.wait(turn);
      order.await();
      open_products();
      multiply_tiles<Element, QueryTile, KeyTile>(score[0], layout.queries, group_row, layout.key_tile(turn));
      close_products();
      order.pass_on(turn);
      wait_for_products<0>();
      keep(score[0]);
      release(layout.key_ring, turn);
      release(layout.value_ring, turn);
      sums.add(score, [&](float (&c)[1][score_columns][4]) {
        hide_unseen(tiles.first + turn, c[0], -infinity);
      });
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const RowShift row = sums.resolve(0, half, scale, p.sink(head));
      if (shift[half] != unknown_shift) continue;
      shift[half] = row.shift;
      if (warp_row + half * 8 + lane / 4 < row_count) p.keep_shift(place_of(half), row);
    }
  }
  float gradient[KEY_DIMENSION / 8][4] = {};
  Element::Left a[KEY_ROWS / 16] = {};

  for (int turn = first_turn; turn < end_turn; ++turn) {
    const int tile = tiles.first + turn - first_turn;
    // 1. This tile is there.
    layout.key_ring.wait(turn);
    layout.value_ring.wait(turn);
#if PACKED
    const int rest = segment.keys - tile * KEY_ROWS;
    if (rest < KEY_ROWS) {
      clear_rows<KeyTile>(shared + (layout.key_tile(turn) - layout.queries), rest);
      clear_rows<ValueTile>(shared + (layout.value_tile(turn) - layout.queries), rest);
      meet_own_group();
    }
#endif

    // 2. dQ += dS K of the tile before, S = Q Kᵀ and dP = dO Vᵀ start. Nothing is issued over the loop's
    // edge, where the compiler would wait for it; before the first tile dS is zero.
    order.await();
    open_products();
    add_registers<Element, KeyTile>(gradient, a, layout.key_tile(max(first_turn, turn - 1)));
    close_products();
    float weight[score_columns][4], slope[score_columns][4];
    open_products();
    multiply_tiles<Element, QueryTile, KeyTile>(weight, layout.queries, group_row, layout.key_tile(turn));
    close_products();
    open_products();
    multiply_tiles<Element, OutputTile, ValueTile>(slope, layout.outputs, group_row, layout.value_tile(turn));
    close_products();

    order.pass_on(turn);
    wait_for_products<2>();
    keep(gradient);
    if (turn > first_turn) release(layout.key_ring, turn - 1);

    // 3. P = exp(scale S − log Σ), masked
    wait_for_products<1>();
    keep(weight);
    if (has_large) subtract_from_rows(weight, p.offset[place_of(0)], p.offset[place_of(1)]);
#pragma unroll
    for (int column = 0; column < score_columns; ++column) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float &value = weight[column][i];
        value = exp2_fast(fmaf(factor, value, -shift[i / 2]));
      }
    }
    hide_unseen(tile, weight, 0);

    // 4. dS = P ∘ (dP − δ)
    wait_for_products<0>();
    keep(slope);
    release(layout.value_ring, turn);
#pragma unroll
    for (int column = 0; column < score_columns; ++column) {
#pragma unroll
      for (int i = 0; i < 4; ++i) slope[column][i] = weight[column][i] * (slope[column][i] - delta[i / 2]);
    }
#pragma unroll
    for (int step = 0; step < KEY_ROWS / 16; ++step) {
      a[step] = Element::as_left(slope[2 * step], slope[2 * step + 1]);
    }
  }
  open_products();
  if (end_turn > 0) add_registers<Element, KeyTile>(gradient, a, layout.key_tile(end_turn - 1));
  close_products();
  wait_for_products<0>();
  keep(gradient);

  // 5. The rows' gradients, and their parts of the scale's.
  UnfitRows unfit;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = warp_row + half * 8 + lane / 4;
    const int query = segment.query_start + first_row + row;
    const float along = p.scale_gradient
        ? dot_with_row<QueryTile>(gradient, half, shared, row) : 0;
    unfit.note(half * 8, zeros_of(gradient, half) + along * 0);
    if (row >= row_count) continue;
    if (p.scale_gradient && lane % 4 == 0) {
      p.scale_gradient[o.query_place(segment.batch, head, query)] = along;
    }
    store_row<QueryTile>(p.queries_gradient.at(segment.batch, query, head), gradient, half,
                                  scale, 0, shared, row);
  }
  if (unfit.rows != 0) query_gradients_again(p, head, first_row + warp_row, queries.end, unfit);
}

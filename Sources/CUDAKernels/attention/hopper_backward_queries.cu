// Exact attention, backward: the gradients of the queries, for Hopper. See backward.cuh.
//
// As backward_queries.cu, with the matrix instructions of sm_90a: a warpgroup owns 64 queries, keys and
// values go by in tiles of `KEY_ROWS`. A product goes on while weights are computed: dP = dO Vᵀ during the
// exponentials of S, dQ += dS K of a tile with S of the next.
//
// Compiled with what backward.cuh lists, half precision without KEY_MASK, COSINE and TERMS, and
//   KEY_DIMENSION, VALUE_DIMENSION   64 or 128
//   KEY_ROWS                         64, 96 or 128
//   WARPGROUPS                       of a block

#include "attention/backward.cuh"
#include "tile/warpgroup.cuh"

constexpr int query_rows = 64 * WARPGROUPS;
constexpr int threads = 4 * WARPGROUPS * warp_threads;
constexpr int score_columns = KEY_ROWS / 8;
constexpr int stages = 2;

using QueryTile = BlockedTile<Element, query_rows, KEY_DIMENSION>;
using OutputTile = BlockedTile<Element, query_rows, VALUE_DIMENSION>;
using KeyTile = BlockedTile<Element, KEY_ROWS, KEY_DIMENSION>;
using ValueTile = BlockedTile<Element, KEY_ROWS, VALUE_DIMENSION>;

extern "C" __global__ void __launch_bounds__(threads, 1)
    attention_hopper_backward_queries(const __grid_constant__ BackwardParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  const Operands &o = p.operands;
  const Segment segment = o.segment();
  // Later queries of a causal sequence see more keys: the longest work starts first.
  const int first_row = (gridDim.x - 1 - blockIdx.x) * query_rows;
  const int row_count = min(query_rows, segment.query_count - first_row);
  if (row_count <= 0) return;
  const int head = blockIdx.y;
  const int group = head / o.heads_per_group;
  const Range queries = {first_row, first_row + row_count};
  const Range tiles = segment.band.visible_tiles(queries, KEY_ROWS);
  const Range whole = segment.band.whole_tiles(queries, KEY_ROWS);

  const u32 query_tile = shared_address(shared);
  const u32 output_tile = query_tile + QueryTile::bytes;
  const u32 key_tiles = output_tile + OutputTile::bytes;
  const u32 value_tiles = key_tiles + stages * KeyTile::bytes;

  auto copy_stage = [&](int tile) {
    const int stage = tile % stages;
    const int first = tile * KEY_ROWS;
    o.copy_keys<KeyTile, threads>(key_tiles + stage * KeyTile::bytes, o.keys, first, group);
    o.copy_keys<ValueTile, threads>(value_tiles + stage * ValueTile::bytes, o.values, first, group);
  };

  o.copy_queries<QueryTile, threads>(query_tile, o.queries, first_row, head);
  o.copy_queries<OutputTile, threads>(output_tile, p.output_gradient, first_row, head);
  if (tiles.first < tiles.end) copy_stage(tiles.first);
  close_copies();

  const int lane = threadIdx.x % warp_threads;
  const int group_row = threadIdx.x / (4 * warp_threads) * 64;
  const int warp_row = threadIdx.x / warp_threads * 16;
  const float scale = o.scale_of(head);
  const float factor = scale * log2_e;
  float shift[2], delta[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = first_row + min(warp_row + half * 8 + lane / 4, row_count - 1);
    const i64 place = o.query_place(segment.batch, head, segment.query_start + row);
    shift[half] = p.shift[place];
    delta[half] = p.delta[place];
  }
  float gradient[KEY_DIMENSION / 8][4] = {};
  Element::Left a[KEY_ROWS / 16] = {};
  u32 earlier_tile = key_tiles + tiles.first % stages * KeyTile::bytes;

  for (int tile = tiles.first; tile < tiles.end; ++tile) {
    const u32 key_tile = key_tiles + tile % stages * KeyTile::bytes;
    const u32 value_tile = value_tiles + tile % stages * ValueTile::bytes;
    // 1. This tile is there.
    wait_for_copies<0>();
    show_to_products();
    __syncthreads();

    // 2. dQ += dS K of the tile before, S = Q Kᵀ and dP = dO Vᵀ start. Nothing is issued over the loop's
    // edge, where the compiler would wait for it; before the first tile dS is zero.
    open_products();
    add_registers<Element, KeyTile>(gradient, a, earlier_tile);
    close_products();
    float weight[score_columns][4], slope[score_columns][4];
    open_products();
    multiply_tiles<Element, QueryTile, KeyTile>(weight, query_tile, group_row, key_tile);
    close_products();
    open_products();
    multiply_tiles<Element, OutputTile, ValueTile>(slope, output_tile, group_row, value_tile);
    close_products();

    // 3. Nobody reads the tile before any more: its place takes the next.
    wait_for_products<2>();
    keep(gradient);
    __syncthreads();
    if (tile + 1 < tiles.end) copy_stage(tile + 1);
    close_copies();

    // 4. P = exp(scale S − log Σ), masked
    wait_for_products<1>();
    keep(weight);
    const bool masked = tile < whole.first || tile >= whole.end;
#pragma unroll
    for (int column = 0; column < score_columns; ++column) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float &value = weight[column][i];
        value = exp2_fast(fmaf(factor, value, -shift[i / 2]));
      }
    }
    if (masked) {
#pragma unroll
      for (int column = 0; column < score_columns; ++column) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int key = tile * KEY_ROWS + column * 8 + lane % 4 * 2 + i % 2;
          const int row = first_row + warp_row + i / 2 * 8 + lane / 4;
          if (!segment.band.sees(row, key)) weight[column][i] = 0;
        }
      }
    }

    // 5. dS = P ∘ (dP − δ)
    wait_for_products<0>();
    keep(slope);
#pragma unroll
    for (int column = 0; column < score_columns; ++column) {
#pragma unroll
      for (int i = 0; i < 4; ++i) slope[column][i] = weight[column][i] * (slope[column][i] - delta[i / 2]);
    }
#pragma unroll
    for (int step = 0; step < KEY_ROWS / 16; ++step) {
      a[step] = Element::as_left(slope[2 * step], slope[2 * step + 1]);
    }
    earlier_tile = key_tile;
  }
  open_products();
  if (tiles.first < tiles.end) add_registers<Element, KeyTile>(gradient, a, earlier_tile);
  close_products();
  wait_for_products<0>();
  keep(gradient);
  wait_for_copies<0>();
  __syncthreads();

  // 6. The rows' gradients, and their parts of the scale's.
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = warp_row + half * 8 + lane / 4;
    const int query = segment.query_start + first_row + row;
    const float along = p.scale_gradient
        ? dot_with_row<QueryTile>(gradient, half, shared, row) : 0;
    if (row >= row_count) continue;
    if (p.scale_gradient && lane % 4 == 0) {
      p.scale_gradient[o.query_place(segment.batch, head, query)] = along;
    }
    store_row<QueryTile>(p.queries_gradient.at(segment.batch, query, head), gradient, half,
                                  scale, 0, shared, row);
  }
}

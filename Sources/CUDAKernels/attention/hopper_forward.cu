// Exact attention, forward, for Hopper: O = softmax(scale Q Kᵀ, masked) V and the rows' log-sum-exp.
//
// As forward.cu, with the matrix instructions of sm_90a: a warpgroup owns 64 queries, keys and values go by
// in tiles of `KEY_ROWS`. While the weights of a tile are computed, the values of the tile before are
// multiplied (Shah et al., FlashAttention-3, 2024).
//
// Compiled with what operands.cuh lists, half precision without KEY_MASK, COSINE and TERMS, and
//   KEY_DIMENSION, VALUE_DIMENSION   64 or 128
//   KEY_ROWS                         64, 96 or 128
//   WARPGROUPS                       of a block

#include "attention/forward.cuh"
#include "tile/warpgroup.cuh"

constexpr int query_rows = 64 * WARPGROUPS;
constexpr int threads = 4 * WARPGROUPS * warp_threads;
constexpr int score_columns = KEY_ROWS / 8;
constexpr int value_columns = VALUE_DIMENSION / 8;
constexpr int stages = 2;

using QueryTile = BlockedTile<Element, query_rows, KEY_DIMENSION>;
using OutputTile = BlockedTile<Element, query_rows, VALUE_DIMENSION>;
using KeyTile = BlockedTile<Element, KEY_ROWS, KEY_DIMENSION>;
using ValueTile = BlockedTile<Element, KEY_ROWS, VALUE_DIMENSION>;

constexpr int query_bytes =
    QueryTile::bytes > OutputTile::bytes ? QueryTile::bytes : OutputTile::bytes;

extern "C" __global__ void __launch_bounds__(threads, 1)
    attention_hopper_forward(const __grid_constant__ ForwardParameters p) {
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
  const u32 key_tiles = query_tile + query_bytes;
  const u32 value_tiles = key_tiles + stages * KeyTile::bytes;
  auto key_tile = [&](int tile) { return key_tiles + tile % stages * KeyTile::bytes; };
  auto value_tile = [&](int tile) { return value_tiles + tile % stages * ValueTile::bytes; };

  const int lane = threadIdx.x % warp_threads;
  const int group_row = threadIdx.x / (4 * warp_threads) * 64;
  const int warp_row = threadIdx.x / warp_threads * 16;
  const float scale = o.scale_of(head);
  const float size = fmaxf(fabsf(scale) * log2_e, smallest_factor);
  const PerRow<1> factor = {{size, size}};
  RunningBound<1> softmax(0);
  PerRow<1> shrink;
  float output[1][value_columns][4] = {};
  float score[1][score_columns][4];
  Element::Left a[KEY_ROWS / 16];

  // What becomes of a tile's scores: masked, and weights in powers of two.
  auto weigh_tile = [&](int tile) {
    if (tile < whole.first || tile >= whole.end) {
#pragma unroll
      for (int column = 0; column < score_columns; ++column) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int key = tile * KEY_ROWS + column * 8 + lane % 4 * 2 + i % 2;
          const int row = first_row + warp_row + i / 2 * 8 + lane / 4;
          if (!segment.band.sees(row, key)) score[0][column][i] = -infinity;
        }
      }
    }
    const bool shrinks = softmax.raise_bounds(score, factor, shrink);
#pragma unroll
    for (int step = 0; step < KEY_ROWS / 16; ++step) weigh(softmax, score, step, factor);
    return shrinks;
  };
  auto pack_weights = [&] {
#pragma unroll
    for (int step = 0; step < KEY_ROWS / 16; ++step) {
      a[step] = Element::as_left(score[0][2 * step], score[0][2 * step + 1]);
    }
  };

  // 1. Queries and the first keys arrive. A negative scale turns the order of the scores around: the
  // queries' signs are turned instead.
  o.copy_queries<QueryTile, threads>(query_tile, o.queries, first_row, head);
  if (tiles.first < tiles.end) {
    o.copy_keys<KeyTile, threads>(key_tile(tiles.first), o.keys, tiles.first * KEY_ROWS, group);
  }
  close_copies();
  wait_for_copies<0>();
  if (scale < 0) {
    __syncthreads();
    for (u32 place = threadIdx.x * 4; place < QueryTile::bytes; place += threads * 4) {
      *(u32 *)(shared + place) ^= Element::sign_bits;
    }
  }

  for (int tile = tiles.first; tile < tiles.end; ++tile) {
    // 2. The tile's keys and the values of the tile before are there, and nobody reads what was before
    // them: its place takes the next keys and this tile's values.
    wait_for_copies<0>();
    show_to_products();
    __syncthreads();
    if (tile + 1 < tiles.end) {
      o.copy_keys<KeyTile, threads>(key_tile(tile + 1), o.keys, (tile + 1) * KEY_ROWS, group);
    }
    o.copy_keys<ValueTile, threads>(value_tile(tile), o.values, tile * KEY_ROWS, group);
    close_copies();

    // 3. S = Q Kᵀ, and O += P V of the tile before while S becomes weights.
    open_products();
    multiply_tiles<Element, QueryTile, KeyTile>(score[0], query_tile, group_row, key_tile(tile));
    close_products();
    if (tile > tiles.first) {
      open_products();
      add_registers<Element, ValueTile>(output[0], a, value_tile(tile - 1));
      close_products();
      wait_for_products<1>();
    } else {
      wait_for_products<0>();
    }
    keep(score[0]);
    const bool shrinks = weigh_tile(tile);
    wait_for_products<0>();
    keep(output[0]);
    if (shrinks) softmax.scale(output, shrink);
    pack_weights();
  }

  // 4. The last tile's values.
  wait_for_copies<0>();
  show_to_products();
  __syncthreads();
  if (tiles.first < tiles.end) {
    open_products();
    add_registers<Element, ValueTile>(output[0], a, value_tile(tiles.end - 1));
    close_products();
    wait_for_products<0>();
    keep(output[0]);
  }
  store_output<OutputTile, threads>(p, segment, softmax, output, factor, warp_row, first_row, row_count, head, shared);
}

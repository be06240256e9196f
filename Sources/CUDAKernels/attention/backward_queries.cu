// Exact attention, backward: the gradients of the queries. See backward.cuh.
//
// One block owns `query_rows` queries of one head; keys and values go by in tiles of `key_rows`. Each
// warp owns whole rows, as in the forward pass.
//
// Compiled with
//   ELEMENT                          bf16 or f16
//   KEY_DIMENSION, VALUE_DIMENSION   multiples of 16
//   QUERY_ROWS, KEY_ROWS, WARPS      the tile: QUERY_ROWS / WARPS is a multiple of 16
//   BLOCKS                           blocks that share a multiprocessor
//   KEY_MASK                         0 or 1: some keys may not be attended
//   COSINE                           0 or 1: queries and keys are divided by their lengths

#include "attention/backward.cuh"

using Element = ELEMENT;

constexpr int threads = WARPS * warp_threads;
constexpr int strips = QUERY_ROWS / WARPS / 16;
constexpr int score_columns = KEY_ROWS / 8;
constexpr int stages = 2;

using QueryTile = Tile<QUERY_ROWS, KEY_DIMENSION>;
using OutputTile = Tile<QUERY_ROWS, VALUE_DIMENSION>;
using KeyTile = Tile<KEY_ROWS, KEY_DIMENSION>;
using ValueTile = Tile<KEY_ROWS, VALUE_DIMENSION>;

extern "C" __global__ void __launch_bounds__(threads, BLOCKS)
    attention_backward_queries(const __grid_constant__ BackwardParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  const Segment segment = p.segments[blockIdx.z];
  // Later queries of a causal sequence see more keys: the longest work starts first.
  const int first_row = (gridDim.x - 1 - blockIdx.x) * QUERY_ROWS;
  const int row_count = min(QUERY_ROWS, segment.query_count - first_row);
  if (row_count <= 0) return;
  const int head = blockIdx.y;
  const int group = head / p.heads_per_group;
  const Range block_rows = {first_row, first_row + row_count};
  const Range tiles = segment.band.visible_tiles(block_rows, KEY_ROWS);
  const Range whole = segment.band.whole_tiles(block_rows, KEY_ROWS);

  const u32 query_tile = shared_address(shared);
  const u32 output_tile = query_tile + QueryTile::bytes;
  const u32 key_tiles = output_tile + OutputTile::bytes;
  const u32 value_tiles = key_tiles + stages * KeyTile::bytes;
  const u32 key_length_tiles = value_tiles + stages * ValueTile::bytes;

  auto copy_stage = [&](int tile) {
    const Segment &s = p.segments[blockIdx.z];
    const int batch = read_again(s.batch);
    const int key_start = read_again(s.key_start);
    const int first = tile * KEY_ROWS;
    const int count = read_again(s.band.keys) - first;
    copy_tile<KeyTile, threads>(key_tiles + tile % stages * KeyTile::bytes,
                                p.keys.at(batch, key_start + first, group), p.keys.row, count);
    copy_tile<ValueTile, threads>(value_tiles + tile % stages * ValueTile::bytes,
                                  p.values.at(batch, key_start + first, group), p.values.row,
                                  count);
#if COSINE
    const int thread = read_thread_index();
    if (thread < KEY_ROWS) {
      const bool exists = thread < count;
      const int groups = gridDim.y / p.heads_per_group;
      const i64 row = (i64)batch * p.key_length + key_start + first + (exists ? thread : 0);
      copy_number(key_length_tiles + (tile % stages * KEY_ROWS + thread) * 4,
                  p.key_lengths + row * groups + group, exists);
    }
#endif
  };

  copy_tile<QueryTile, threads>(
      query_tile, p.queries.at(segment.batch, segment.query_start + first_row, head), p.queries.row,
      row_count);
  copy_tile<OutputTile, threads>(
      output_tile, p.output_gradient.at(segment.batch, segment.query_start + first_row, head),
      p.output_gradient.row, row_count);
  if (tiles.first < tiles.end) copy_stage(tiles.first);
  close_copies();

  const int lane = threadIdx.x % warp_threads;
  const int warp_row = threadIdx.x / warp_threads * strips * 16;
  const float scale = p.scale[head];
  float factor[strips][2], shift[strips][2], delta[strips][2];
#pragma unroll
  for (int strip = 0; strip < strips; ++strip) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = first_row + min(warp_row + strip * 16 + half * 8 + lane / 4, row_count - 1);
      const int query = segment.query_start + row;
      const i64 place = number_place(segment.batch, gridDim.y, head, p.query_length, query);
      shift[strip][half] = log_sum_shift(p.log_sum_exp[place]);
      delta[strip][half] = p.delta[place];
      factor[strip][half] = scale * log2_e;
#if COSINE
      factor[strip][half] *=
          p.query_lengths[((i64)segment.batch * p.query_length + query) * gridDim.y + head];
#endif
    }
  }
  const auto query_operands = left_operands<QueryTile>(query_tile, warp_row);
  const auto output_operands = left_operands<OutputTile>(output_tile, warp_row);
  float gradient[strips][KEY_DIMENSION / 8][4] = {};

  for (int tile = tiles.first; tile < tiles.end; ++tile) {
    // 1. This tile is there, and nobody reads the one before any more: its place takes the next.
    wait_for_copies<0>();
    __syncthreads();
    if (tile + 1 < tiles.end) copy_stage(tile + 1);
    close_copies();
    const int stage = tile % stages;

    // 2. S = Q Kᵀ and dP = dO Vᵀ
    float weight[strips][score_columns][4] = {};
    multiply_rows<Element, KEY_DIMENSION / 16>(
        weight, query_operands, right_operands<KeyTile>(key_tiles + stage * KeyTile::bytes));
    float slope[strips][score_columns][4] = {};
    multiply_rows<Element, VALUE_DIMENSION / 16>(
        slope, output_operands, right_operands<ValueTile>(value_tiles + stage * ValueTile::bytes));

    // 3. P = exp(scale S − log Σ), masked; dS = P ∘ (dP − δ)
    const bool masked = KEY_MASK || tile < whole.first || tile >= whole.end;
    const Band band = masked ? read_again(p.segments[blockIdx.z].band) : Band{};
    const float2 *lengths =
        (const float2 *)(shared + (key_length_tiles - query_tile)) + stage * (KEY_ROWS / 2);
#pragma unroll
    for (int column = 0; column < score_columns; ++column) {
      float2 length = {1, 1};
      if (COSINE) length = lengths[column * 4 + lane % 4];
#pragma unroll
      for (int odd = 0; odd < 2; ++odd) {
        const float reciprocal = odd ? length.y : length.x;
        const int key = tile * KEY_ROWS + column * 8 + lane % 4 * 2 + odd;
        bool kept = true;
        if (KEY_MASK && key < band.keys) {
          kept = p.key_mask[(i64)segment.batch * p.key_length + segment.key_start + key] != 0;
        }
#pragma unroll
        for (int strip = 0; strip < strips; ++strip) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const float score = COSINE ? weight[strip][column][2 * half + odd] * reciprocal
                                       : weight[strip][column][2 * half + odd];
            float p = exp2_fast(fmaf(factor[strip][half], score, -shift[strip][half]));
            if (masked) {
              const int row = first_row + warp_row + strip * 16 + half * 8 + lane / 4;
              if (!kept || !band.sees(row, key)) p = 0;
            }
            float &ds = slope[strip][column][2 * half + odd];
            ds = p * (ds - delta[strip][half]);
            if (COSINE) ds *= reciprocal;
          }
        }
      }
    }

    // 4. dQ += dS K
    const auto operands =
        right_operands_transposed<KeyTile>(key_tiles + stage * KeyTile::bytes);
#pragma unroll
    for (int step = 0; step < KEY_ROWS / 16; ++step) {
      u32 a[strips][4];
#pragma unroll
      for (int strip = 0; strip < strips; ++strip) {
        as_left<Element>(a[strip], slope[strip][2 * step], slope[strip][2 * step + 1]);
      }
      add_product<Element>(gradient, a, operands, step);
    }
  }
  wait_for_copies<0>();
  __syncthreads();

  // 5. The rows' gradients, and their parts of the scale's.
#pragma unroll
  for (int strip = 0; strip < strips; ++strip) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = warp_row + strip * 16 + half * 8 + lane / 4;
      const int query = segment.query_start + first_row + row;
      float reciprocal = 1;
#if COSINE
      if (row < row_count) {
        reciprocal = p.query_lengths[((i64)segment.batch * p.query_length + query) * gridDim.y + head];
      }
#endif
      float along = 0;
      if (COSINE || p.scale_gradient) {
        along = dot_with_row<Element, QueryTile>(gradient[strip], half, shared, row) * reciprocal;
      }
      if (row >= row_count) continue;
      if (p.scale_gradient && lane % 4 == 0) {
        p.scale_gradient[number_place(segment.batch, gridDim.y, head, p.query_length, query)] = along;
      }
      store_row<Element, QueryTile>(p.queries_gradient.at(segment.batch, query, head),
                                    gradient[strip], half, scale * reciprocal,
                                    COSINE ? along * reciprocal : 0, shared, row);
    }
  }
}

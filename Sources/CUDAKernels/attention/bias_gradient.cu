// Exact attention, backward: the gradient of a bias, which is dS summed over the axes along which the bias
// broadcasts. See backward.cuh.
//
// A block owns a tile of QUERY_ROWS × KEY_ROWS pairs. It computes the tile's dS for each sequence and head
// that shares the bias, one after the other, and sums them in registers. If the bias broadcasts along queries
// or keys, it also sums over their other tiles, and over the tile's rows or columns at the end; tiles of
// queries are then distributed over slots, which are summed after this kernel.
//
// Compiled with the macros of backward.cuh, and
//   KEY_DIMENSION, VALUE_DIMENSION   multiples of 16
//   QUERY_ROWS, KEY_ROWS             multiples of 16

#include "attention/backward.cuh"
#include "attention/backward_variants.h"
#include "attention/layout.h"

constexpr int warps = QUERY_ROWS / 16;
constexpr int threads = warps * warp_threads;
constexpr int score_columns = KEY_ROWS / 8;
constexpr AttentionLayout layout =
    attention_layout(owns_queries_and_outputs, QUERY_ROWS, KEY_ROWS, KEY_DIMENSION, VALUE_DIMENSION,
                     sizeof(Number), 1, 0, 0, false);

using QueryTile = Tile<Element, QUERY_ROWS, KEY_DIMENSION>;
using OutputTile = Tile<Element, QUERY_ROWS, VALUE_DIMENSION>;
using KeyTile = Tile<Element, KEY_ROWS, KEY_DIMENSION>;
using ValueTile = Tile<Element, KEY_ROWS, VALUE_DIMENSION>;

// Grid: tiles of keys, or 1; tiles of queries, or slots; heads × sequences that are not summed over.
extern "C" __global__ void __launch_bounds__(threads)
    attention_bias_gradient(const __grid_constant__ AttentionBiasGradientParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  const Operands &o = p.backward.operands;
  const int own_heads = o.heads / p.heads;
  const int first_head = blockIdx.z % own_heads * p.heads;
  const int first_sequence = blockIdx.z / own_heads * p.sequences;

  const u32 query_tile = shared_address(shared);
  const u32 output_tile = query_tile + layout.second_owned;
  const u32 key_tile = query_tile + layout.first_passing;
  const u32 value_tile = query_tile + layout.second_passing;
  const int warp_row = threadIdx.x / warp_threads * 16;
  float sum[score_columns][4] = {};

  auto add_tile = [&](const Segment &s, int head, int first_query, int first_key) {
    const int row_count = min(QUERY_ROWS, s.query_count - first_query);
    const int key_count = min(KEY_ROWS, s.keys - first_key);
    const Range visible =
        s.band().visible_tiles({first_query, first_query + row_count}, KEY_ROWS);
    if (first_key < visible.first * KEY_ROWS || first_key >= visible.end * KEY_ROWS) return;
    const int group = head / o.heads_per_group;
    const int query_start = s.query_start + first_query;
    const int key_start = s.key_start + first_key;
    __syncthreads();
    copy_tile<QueryTile, threads>(query_tile, o.queries.at(s.batch, query_start, head),
                                  o.queries.row, row_count);
    copy_tile<OutputTile, threads>(output_tile,
                                   p.backward.output_gradient.at(s.batch, query_start, head),
                                   p.backward.output_gradient.row, row_count);
    copy_tile<KeyTile, threads>(key_tile, o.keys.at(s.batch, key_start, group), o.keys.row,
                                key_count);
    copy_tile<ValueTile, threads>(value_tile, o.values.at(s.batch, key_start, group), o.values.row,
                                  key_count);
    close_copies();
    wait_for_copies<0>();
    __syncthreads();

    float weight[1][score_columns][4] = {};
    multiply_rows<Element, KEY_DIMENSION>(weight, LeftOperands<QueryTile>(query_tile, warp_row),
                                          RightOperands<KeyTile>(key_tile));
    float slope[1][score_columns][4] = {};
    multiply_rows<Element, VALUE_DIMENSION>(slope, LeftOperands<OutputTile>(output_tile, warp_row),
                                            RightOperands<ValueTile>(value_tile));
    const HeadTerms terms(o.terms, s, head, o.heads, o.query_length);
    const float scale = o.scale_of(head);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = warp_row + fragment_row(half);
      if (row >= row_count) continue;
      const int query = first_query + row;
      const i64 place = o.query_place(s.batch, head, s.query_start + query);
      const float offset = p.backward.offset[place];
      float size = scale;
      if (COSINE) size *= *o.query_length_at(s.batch, s.query_start + query, head);
#pragma unroll
      for (int column = 0; column < score_columns; ++column) {
#pragma unroll
        for (int odd = 0; odd < 2; ++odd) {
          const int key = first_key + fragment_column(column, odd);
          if (!s.band().sees(query, key) || !o.keeps(s, key)) continue;
          float score = weight[0][column][2 * half + odd];
          if (COSINE) score *= *o.key_length_at(s.batch, s.key_start + key, group);
          score *= size;
          // As in backward_queries.cu: a large row's offset is its maximum.
          const float exponent = terms.apply(score, query, key).score - offset;
          // Skips masked pairs, whose dP may be NaN.
          if (exponent == -infinity) continue;
          const float weight = exp2_fast(fmaf(log2_e, exponent, -p.backward.shift[place]));
          if (weight == 0) continue;
          sum[column][2 * half + odd] +=
              weight * (slope[0][column][2 * half + odd] - p.backward.delta[place]);
        }
      }
    }
  };

  for (int i = 0; i < p.sequences; ++i) {
    const Segment s = o.segment(first_sequence + i);
    for (int head = first_head; head < first_head + p.heads; ++head) {
      for (int j = 0; j < p.query_tiles; ++j) {
        const int first_query = ((int)blockIdx.y * p.query_tiles + j) * QUERY_ROWS;
        if (first_query >= s.query_count) break;
        for (int k = 0; k < p.key_tiles; ++k) {
          const int first_key = ((int)blockIdx.x * p.key_tiles + k) * KEY_ROWS;
          if (first_key >= s.keys) break;
          add_tile(s, head, first_query, first_key);
        }
      }
    }
  }

  // Store the tile, then write it, summed over broadcast axes.
  __syncthreads();
  float *tile = (float *)shared;
#pragma unroll
  for (int column = 0; column < score_columns; ++column) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      tile[(warp_row + fragment_row(i / 2)) * KEY_ROWS + fragment_column(column, i % 2)] =
          sum[column][i];
    }
  }
  __syncthreads();
  const Segment s = o.segment(first_sequence);
  const int first_query = p.sums_queries ? 0 : blockIdx.y * QUERY_ROWS;
  const int first_key = p.sums_keys ? 0 : blockIdx.x * KEY_ROWS;
  const int rows = p.sums_queries ? 1 : min(QUERY_ROWS, s.query_count - first_query);
  const int columns = p.sums_keys ? 1 : min(KEY_ROWS, s.keys - first_key);
  if (rows <= 0 || columns <= 0) return;
  float *target = p.gradient + (p.sums_queries ? blockIdx.y * p.slot : 0) + s.batch * p.batch +
                  first_head * p.head + (s.query_start + first_query) * p.query +
                  (s.key_start + first_key) * p.key;
  for (int index = threadIdx.x; index < rows * columns; index += threads) {
    const int row = index / columns;
    const int column = index % columns;
    float total = 0;
    for (int i = row; i < (p.sums_queries ? QUERY_ROWS : row + 1); ++i) {
      for (int j = column; j < (p.sums_keys ? KEY_ROWS : column + 1); ++j) {
        total += tile[i * KEY_ROWS + j];
      }
    }
    target[row * p.query + column * p.key] = total;
  }
}

// Exact attention, backward: the gradients of the queries. See backward.cuh.
//
// One block owns QUERY_ROWS queries of one head; keys and values are streamed in tiles of KEY_ROWS. Each
// warp owns whole rows, as in the forward pass.
//
// Compiled with the macros of backward.cuh, and
//   KEY_DIMENSION, VALUE_DIMENSION   multiples of 16
//   QUERY_ROWS, KEY_ROWS, WARPS      the tile: QUERY_ROWS / WARPS is a multiple of 16
//   BLOCKS                           the occupancy: blocks per multiprocessor

#include "attention/backward_again.cuh"
#include "attention/layout.h"

constexpr int threads = WARPS * warp_threads;
constexpr int strips = QUERY_ROWS / WARPS / 16;
constexpr int score_columns = KEY_ROWS / 8;
constexpr int stages = attention_stages;
constexpr AttentionLayout layout =
    attention_layout(owns_queries_and_outputs, QUERY_ROWS, KEY_ROWS, KEY_DIMENSION, VALUE_DIMENSION, sizeof(Number), stages, 0,
                     attention_passing_numbers(owns_queries_and_outputs, COSINE, false, false), false);

using QueryTile = Tile<Element, QUERY_ROWS, KEY_DIMENSION>;
using OutputTile = Tile<Element, QUERY_ROWS, VALUE_DIMENSION>;
using KeyTile = Tile<Element, KEY_ROWS, KEY_DIMENSION>;
using ValueTile = Tile<Element, KEY_ROWS, VALUE_DIMENSION>;

extern "C" __global__ void __launch_bounds__(threads, BLOCKS)
    attention_backward_queries(const __grid_constant__ BackwardParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  const Operands &o = p.operands;
  const Segment segment = o.segment();
  // Later queries of a causal sequence have more keys: the longest blocks start first.
  const int first_row = (gridDim.x - 1 - blockIdx.x) * QUERY_ROWS;
  const int row_count = min(QUERY_ROWS, segment.query_count - first_row);
  if (row_count <= 0) return;
  const int head = blockIdx.y;
  const int group = head / o.heads_per_group;
  const Range queries = {first_row, first_row + row_count};
  const Range tiles = segment.band().visible_tiles(queries, KEY_ROWS);
  const Range whole = segment.band().whole_tiles(queries, KEY_ROWS);

  const u32 query_tile = shared_address(shared);
  const u32 output_tile = query_tile + layout.second_owned;
  const u32 key_tiles = query_tile + layout.first_passing;
  const u32 value_tiles = query_tile + layout.second_passing;
  const u32 key_length_tiles = query_tile + layout.numbers;

  auto copy_stage = [&](int tile) {
    const int stage = tile % stages;
    const int first = tile * KEY_ROWS;
    o.copy_keys<KeyTile, threads>(key_tiles + stage * KeyTile::bytes, o.keys, first, group);
    o.copy_keys<ValueTile, threads>(value_tiles + stage * ValueTile::bytes, o.values, first, group);
    if (COSINE) {
      o.copy_key_lengths<KEY_ROWS, threads>(key_length_tiles + stage * KEY_ROWS * 4, first, group);
    }
  };

  o.copy_queries<QueryTile, threads>(query_tile, o.queries, first_row, head);
  o.copy_queries<OutputTile, threads>(output_tile, p.output_gradient, first_row, head);
  if (tiles.first < tiles.end) copy_stage(tiles.first);
  close_copies();

  const int warp_row = threadIdx.x / warp_threads * strips * 16;
  auto query_of = [&](int strip, int half) {
    return first_row + warp_row + strip * 16 + fragment_row(half);
  };
  const float scale = o.scale_of(head);
  // The factors that convert scores to base 2 and, with TERMS, products to scores.
  PerRow<strips> factor, shift, delta;
#if TERMS
  PerRow<strips> sizes;
#endif
#pragma unroll
  for (int strip = 0; strip < strips; ++strip) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = first_row + min(warp_row + strip * 16 + fragment_row(half), row_count - 1);
      const int query = segment.query_start + row;
      const i64 place = o.query_place(segment.batch, head, query);
      shift[strip][half] = p.shift[place];
      delta[strip][half] = p.delta[place];
      float size = scale;
      if (COSINE) size *= *o.query_length_at(segment.batch, query, head);
#if TERMS
      sizes[strip][half] = size;
      factor[strip][half] = log2_e;
#else
      factor[strip][half] = size * log2_e;
#endif
    }
  }
#if TERMS
  const HeadTerms terms(o.terms, segment, head, o.heads, o.query_length);
  float sums[strips][2] = {};
#endif
  const LeftOperands<QueryTile> query_operands(query_tile, warp_row);
  const LeftOperands<OutputTile> output_operands(output_tile, warp_row);

  // Turns a tile's products into scores that `factor` converts to base 2, and computes their derivatives.
  using Scores = float[strips][score_columns][4];
  auto lengths_of = [&](int stage) -> Lengths {
    return (const float2 *)(shared + (key_length_tiles - query_tile)) + stage * (KEY_ROWS / 2);
  };
  auto finish_scores = [&](int tile, Scores &score, Scores &change) {
    const Lengths lengths = lengths_of(tile % stages);
#pragma unroll
    for (int strip = 0; strip < strips; ++strip) {
      transform(score[strip], [](float s, int, float length) { return s * length; }, lengths);
#if TERMS
      transform(score[strip], [&](float s, int half) { return s * sizes[strip][half]; });
      visit(score[strip], change[strip], [&](float &value, float &change, int row, int column) {
        const int query = first_row + warp_row + strip * 16 + row, key = tile * KEY_ROWS + column;
        change = 1;
        if (query >= queries.end || key >= segment.keys) return;
        const TermScore term = terms.apply(value, query, key);
        value = term.score;
        change = term.slope;
      });
#endif
    }
  };
  auto hide_unseen = [&](int tile, Scores &c, float hidden) {
    if (!KEY_MASK && tile >= whole.first && tile < whole.end) return;
    const Band band = o.band();
#pragma unroll
    for (int column = 0; column < score_columns; ++column) {
#pragma unroll
      for (int odd = 0; odd < 2; ++odd) {
        const int key = tile * KEY_ROWS + fragment_column(column, odd);
        const bool kept = o.keeps(segment, key);
#pragma unroll
        for (int strip = 0; strip < strips; ++strip) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            if (!kept || !band.sees(query_of(strip, half), key)) c[strip][column][2 * half + odd] = hidden;
          }
        }
      }
    }
  };
  // Rows of large sums are rare: their indices are recomputed instead of being kept in registers.
  auto for_each_row = [&](auto body) {
    const int first = (gridDim.x - 1 - blockIdx.x) * QUERY_ROWS;
    const i64 place = o.query_place(o.batch_entry(), blockIdx.y, o.query_start());
    const int thread = read_thread_index();
#pragma unroll
    for (int strip = 0; strip < strips; ++strip) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = first + thread / warp_threads * strips * 16 + strip * 16 + half * 8 +
                        thread % warp_threads / 4;
        body(strip, half, place + min(row, o.query_count() - 1), row < o.query_count());
      }
    }
  };

  // Rows of large sums need an extra pass over the keys.
  const bool has_large = p.has_large(segment, head, queries);
  if (has_large) {
    RowSums<strips> sums(factor);
#pragma unroll 1
    for (int tile = tiles.first; tile < tiles.end; ++tile) {
      wait_for_copies<0>();
      __syncthreads();
      if (tile + 1 < tiles.end) copy_stage(tile + 1);
      close_copies();
      Scores score = {}, change;
      multiply_rows<Element, KEY_DIMENSION>(
          score, query_operands, RightOperands<KeyTile>(key_tiles + tile % stages * KeyTile::bytes));
      finish_scores(tile, score, change);
      sums.add(score, [&](Scores &c) { hide_unseen(tile, c, -infinity); });
    }
    for_each_row([&](int strip, int half, i64 place, bool exists) {
      const RowShift row =
          sums.resolve(strip, half, TERMS ? 1 : factor[strip][half] / log2_e, p.sink(head));
      if (shift[strip][half] != unknown_shift) return;
      shift[strip][half] = row.shift;
      if (exists) p.keep_shift(place, row);
    });
    wait_for_copies<0>();
    __syncthreads();
    if (tiles.first < tiles.end) copy_stage(tiles.first);
    close_copies();
  }
  float gradient[strips][KEY_DIMENSION / 8][4] = {};

  for (int tile = tiles.first; tile < tiles.end; ++tile) {
    // 1. Wait for this tile; copy the next one into the previous one's stage, which is no longer read.
    wait_for_copies<0>();
    __syncthreads();
    if (tile + 1 < tiles.end) copy_stage(tile + 1);
    close_copies();
    const int stage = tile % stages;

    // 2. S = Q Kᵀ
    const Lengths lengths = lengths_of(stage);
    Scores weight = {}, change;
    multiply_rows<Element, KEY_DIMENSION>(
        weight, query_operands, RightOperands<KeyTile>(key_tiles + stage * KeyTile::bytes));
    finish_scores(tile, weight, change);
    if (has_large) {
      for_each_row([&](int strip, int half, i64 place, bool) {
        const float offset = p.offset[place];
#pragma unroll
        for (int column = 0; column < score_columns; ++column) {
#pragma unroll
          for (int i = 2 * half; i < 2 * half + 2; ++i) {
            weight[strip][column][i] -= offset;
            settle(weight[strip][column][i]);
          }
        }
      });
    }

    // 3. dP = dO Vᵀ, and P = exp(scale S − log Σ), masked
    Scores slope = {};
    multiply_rows<Element, VALUE_DIMENSION>(
        slope, output_operands, RightOperands<ValueTile>(value_tiles + stage * ValueTile::bytes));
#pragma unroll
    for (int strip = 0; strip < strips; ++strip) {
      transform(weight[strip], [&](float s, int half) {
        return exp2_fast(fmaf(factor[strip][half], s, -shift[strip][half]));
      });
    }
    hide_unseen(tile, weight, 0);

    // 4. dS = P ∘ (dP − δ)
#pragma unroll
    for (int strip = 0; strip < strips; ++strip) {
      combine(slope[strip], weight[strip], [&](float dp, float weight, int half) {
        const float ds = weight * (dp - delta[strip][half]);
#if TERMS
        sums[strip][half] += ds;
#endif
        return ds;
      });
#if TERMS
      combine(slope[strip], change[strip], [](float ds, float change, int) { return ds * change; });
#endif
      transform(slope[strip], [](float ds, int, float length) { return ds * length; }, lengths);
    }

    // 5. dQ += dS K
    const TransposedOperands<KeyTile> operands(key_tiles + stage * KeyTile::bytes);
#pragma unroll
    for (int step = 0; step < KEY_ROWS / 16; ++step) {
      add_product<Element>(gradient, slope, operands, step);
    }
  }
  wait_for_copies<0>();
  __syncthreads();

  // 6. Write the rows' gradients, and their parts of the scale's gradient.
  UnfitRows unfit;
#pragma unroll
  for (int strip = 0; strip < strips; ++strip) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = warp_row + strip * 16 + fragment_row(half);
      const int query = segment.query_start + first_row + row;
      float reciprocal = 1;
      if (COSINE && row < row_count) {
        reciprocal = *o.query_length_at(segment.batch, query, head);
      }
      float along = 0;
      if (COSINE || p.scale_gradient) {
        along = dot_with_row<QueryTile>(gradient[strip], half, shared, row) * reciprocal;
      }
      float zeros = zeros_of(gradient[strip], half) + reciprocal * 0 + along * 0;
#if TERMS
      const float sum = row_sum(sums[strip][half]);
      zeros += sum * 0;
#endif
      unfit.note(strip * 16 + half * 8, zeros);
      if (row >= row_count) continue;
      const i64 place = o.query_place(segment.batch, head, query);
      if (p.scale_gradient && leads_row()) p.scale_gradient[place] = along;
#if TERMS
      if (p.query_sums && leads_row()) p.query_sums[place] = sum;
#endif
      store_row<QueryTile>(p.queries_gradient.at(segment.batch, query, head), gradient[strip], half,
                           scale * reciprocal, COSINE ? along * reciprocal : 0, shared, row);
    }
  }
  if (unfit.rows != 0) query_gradients_again(p, head, first_row + warp_row, queries.end, unfit);
}

// Exact attention, forward: O = softmax(scale Q Kᵀ, masked) V and the rows' log-sum-exp.
//
// One block computes QUERY_ROWS queries of one head: the queries are resident in shared memory; keys and
// values are streamed in tiles of KEY_ROWS, the next tile being copied while this one is multiplied. Each
// warp owns whole rows, so the softmax needs no communication between warps.
//
// SPLIT is for few queries and many keys: a block's rows are the queries of all heads of a group, which read
// the same keys, and several blocks share the keys of a row. merge.cu merges their results.
//
// Compiled with the macros of operands.cuh and forward.cuh, and
//   KEY_DIMENSION, VALUE_DIMENSION   multiples of 16
//   QUERY_ROWS, KEY_ROWS, WARPS      the tile: QUERY_ROWS / WARPS is a multiple of 16
//   BLOCKS                           the occupancy: blocks per multiprocessor
//   SPLIT                            0 or 1

#include "attention/forward.cuh"
#include "attention/layout.h"

constexpr int threads = WARPS * warp_threads;
constexpr int strips = QUERY_ROWS / WARPS / 16;
constexpr int score_columns = KEY_ROWS / 8;
constexpr int value_columns = VALUE_DIMENSION / 8;

using QueryTile = Tile<Element, QUERY_ROWS, KEY_DIMENSION>;
using KeyTile = Tile<Element, KEY_ROWS, KEY_DIMENSION>;
using ValueTile = Tile<Element, KEY_ROWS, VALUE_DIMENSION>;
using OutputTile = Tile<Element, QUERY_ROWS, VALUE_DIMENSION>;

constexpr int stages = attention_stages;
constexpr AttentionLayout layout =
    attention_layout(owns_queries, QUERY_ROWS, KEY_ROWS, KEY_DIMENSION, VALUE_DIMENSION, sizeof(Number), stages, 0,
                     attention_passing_numbers(owns_queries, COSINE, false, false), false);

extern "C" __global__ void __launch_bounds__(threads, BLOCKS)
    attention_forward(const __grid_constant__ AttentionForwardParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  const Operands &o = p.operands;
  const Segment segment = o.segment();
#if SPLIT
  const int group = blockIdx.y;
  const int split = blockIdx.x % p.splits;
  const int first_row = blockIdx.x / p.splits * QUERY_ROWS;
  const int row_count = min(QUERY_ROWS, segment.query_count * o.heads_per_group - first_row);
  auto query_of = [&](int row) { return (first_row + row) / o.heads_per_group; };
  auto head_of = [&](int row) {
    return group * o.heads_per_group + (first_row + row) % o.heads_per_group;
  };
#else
  // Later queries of a causal sequence have more keys: the longest blocks start first.
  const int first_row = (gridDim.x - 1 - blockIdx.x) * QUERY_ROWS;
  const int row_count = min(QUERY_ROWS, segment.query_count - first_row);
  const int head = blockIdx.y;
  const int group = head / o.heads_per_group;
  auto query_of = [&](int row) { return first_row + row; };
  auto head_of = [&](int) { return head; };
#endif
  if (row_count <= 0) return;
  const Range queries = {query_of(0), query_of(row_count - 1) + 1};
  Range tiles = segment.band().visible_tiles(queries, KEY_ROWS);
  const Range whole = segment.band().whole_tiles(queries, KEY_ROWS);
#if SPLIT
  const int share = CEIL_DIVIDE(tiles.end - tiles.first, p.splits);
  tiles.first += split * share;
  tiles.end = min(tiles.end, tiles.first + share);
#endif

  const u32 query_tile = shared_address(shared);
  const u32 key_tiles = query_tile + layout.first_passing;
  const u32 value_tiles = query_tile + layout.second_passing;
  const u32 key_length_tiles = query_tile + layout.numbers;

  auto copy_stage = [&](int tile) {
    const int stage = tile % stages;
    const int first = tile * KEY_ROWS;
    o.copy_keys<KeyTile, threads>(key_tiles + stage * KeyTile::bytes, o.keys, first, group);
    if (COSINE) {
      o.copy_key_lengths<KEY_ROWS, threads>(key_length_tiles + stage * KEY_ROWS * 4, first, group);
    }
    o.copy_keys<ValueTile, threads>(value_tiles + stage * ValueTile::bytes, o.values, first, group);
  };

  const int lane = read_thread_index() % warp_threads;
  const int warp_row = (int)(read_thread_index() / warp_threads) * strips * 16;
#if !SPLIT
  const float scale = o.scale_of(head);
#endif
#if TERMS && !SPLIT
  const HeadTerms head_terms(o.terms, segment, head, o.heads, o.query_length);
#endif
  // The factors that convert scores to base 2 and, with TERMS, products to scores.
  PerRow<strips> factor;
#if TERMS
  PerRow<strips> sizes;
#endif
#pragma unroll
  for (int strip = 0; strip < strips; ++strip) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = min(warp_row + strip * 16 + fragment_row(half), row_count - 1);
#if SPLIT
      float size = fabsf(o.scale_of(head_of(row)));
#else
      float size = fabsf(scale);
#endif
      if (COSINE) {
        size *= *o.query_length_at(segment.batch, segment.query_start + query_of(row), head_of(row));
      }
#if TERMS
      sizes[strip][half] = size;
      factor[strip][half] = log2_e;
#else
      factor[strip][half] = fmaxf(size * log2_e, smallest_factor);
#endif
    }
  }

  const LeftOperands<QueryTile> query_operands(query_tile, warp_row);

  using Scores = float[strips][score_columns][4];
  float output[strips][value_columns][4] = {};
  Softmax<strips> softmax = softmax_of<strips>(p, factor, [&](int strip, int half) {
    return o.scale_of(head_of(min(warp_row + strip * 16 + fragment_row(half), row_count - 1)));
  });

  // Divides the scores by the norms of the keys.
  auto divide_by_lengths = [&](int tile, Scores &score) {
    const Lengths lengths =
        (const float2 *)(shared + (key_length_tiles - query_tile)) + tile % stages * (KEY_ROWS / 2);
#pragma unroll
    for (int strip = 0; strip < strips; ++strip) {
      transform(score[strip], [](float s, int, float length) { return s * length; }, lengths);
    }
  };

  // Applies the terms, and the mask if the tile has masked pairs.
  auto mask = [&](int tile, Scores &score) {
    if (!KEY_MASK && !TERMS && tile >= whole.first && tile < whole.end) return;
    const int first_column = tile * KEY_ROWS;
    const Band band = o.band();
#pragma unroll
    for (int column = 0; column < score_columns; ++column) {
#pragma unroll
      for (int odd = 0; odd < 2; ++odd) {
        const int key = first_column + fragment_column(column, odd);
        const bool kept = o.keeps(segment, key);
#pragma unroll
        for (int strip = 0; strip < strips; ++strip) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const int row = warp_row + strip * 16 + fragment_row(half);
            const int query = query_of(row);
            float &value = score[strip][column][2 * half + odd];
#if TERMS
            // Terms apply to scores, not to raw products.
            if (row < row_count && key < band.keys) {
#if SPLIT
              const HeadTerms head_terms(o.terms, segment, head_of(row), o.heads, o.query_length);
#endif
              value = head_terms.apply(value * sizes[strip][half], query, key).score;
            }
#endif
            if (!kept || !band.sees(query, key)) value = -infinity;
          }
        }
      }
    }
  };

  // 1. Start copying the queries and the first tile of keys and values.
#if SPLIT
  copy_rows<QueryTile, threads>(query_tile, row_count, [&](int row) {
    return o.queries.at(segment.batch, segment.query_start + query_of(row), head_of(row));
  });
  bool turns = false;
  for (int row = 0; row < row_count; ++row) turns |= o.scale_of(head_of(row)) < 0;
  auto is_turned = [&](u32 place) {
    return o.scale_of(head_of(min((int)place / QueryTile::pitch_bytes, row_count - 1))) < 0;
  };
#else
  o.copy_queries<QueryTile, threads>(query_tile, o.queries, first_row, head);
  const bool turns = scale < 0;
  auto is_turned = [](u32) { return true; };
#endif
  // A negative scale would reverse the order of the scores, so the queries are negated instead.
  if (turns) {
    close_copies();
    wait_for_copies<0>();
    __syncthreads();
    for (u32 place = threadIdx.x * 4; place < QueryTile::bytes; place += threads * 4) {
      if (is_turned(place)) *(u32 *)(shared + place) ^= Element::sign_bits;
    }
    __syncthreads();
  }
  if (tiles.first < tiles.end) copy_stage(tiles.first);
  close_copies();
  for (int tile = tiles.first; tile < tiles.end; ++tile) {
    // 2. Wait for this tile; copy the next one into the previous one's stage, which is no longer read.
    wait_for_copies<0>();
    __syncthreads();
    if (tile + 1 < tiles.end) copy_stage(tile + 1);
    close_copies();
    const int stage = tile % stages;
    // 3. S = Q Kᵀ
    Scores score = {};
    multiply_rows<Element, KEY_DIMENSION>(
        score, query_operands, RightOperands<KeyTile>(key_tiles + stage * KeyTile::bytes));
    if (COSINE) divide_by_lengths(tile, score);
    mask(tile, score);
    softmax.raise(score, output, factor);
    // 4. O += P V, computing weights just before they are multiplied.
#pragma unroll
    for (int step = 0; step < KEY_ROWS / 16; ++step) {
      weigh(softmax, score, step, factor);
      const TransposedOperands<ValueTile> values(value_tiles + stage * ValueTile::bytes);
      add_product<Element>(output, score, values, step);
    }
  }

  // 5. O / Σ P, or this split's part of it.
  wait_for_copies<0>();
  __syncthreads();
#if SPLIT
  UnfitRows unfit;
  auto place_of = [&](int row) {
    return (i64)split * o.batch * o.heads * o.query_length +
           o.query_place(segment.batch, head_of(row), segment.query_start + query_of(row));
  };
#pragma unroll
  for (int strip = 0; strip < strips; ++strip) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = warp_row + strip * 16 + fragment_row(half);
      const int head = head_of(min(row, row_count - 1));
      const RowWeights weights = finish_row(row_sum(softmax.sum[strip][half]),
                                            softmax.log_bound(strip, half, factor),
                                            split == 0 ? p.sink(head) : -infinity);
      float zeros = 0;
#pragma unroll
      for (int column = 0; column < value_columns; ++column) {
        const float *two = output[strip][column] + 2 * half;
        zeros = fmaf(two[0] * weights.reciprocal, 0, fmaf(two[1] * weights.reciprocal, 0, zeros));
      }
      unfit.note(strip * 16 + half * 8, zeros);
      if (row >= row_count) continue;
      const i64 place = place_of(row);
      if (leads_row()) p.partial_sums[place] = weights.part;
#pragma unroll
      for (int column = 0; column < value_columns; ++column) {
        const float *two = output[strip][column] + 2 * half;
        *(float2 *)(p.partial_output + place * VALUE_DIMENSION + fragment_column(column, 0)) = {
            two[0] * weights.reciprocal, two[1] * weights.reciprocal};
      }
    }
  }
  if (unfit.rows == 0 || !hides_pairs(o, segment, queries, {0, segment.keys})) return;
  unfit.for_each([&](int index) {
    const int row = warp_row + index;
    if (row >= row_count) return;
    const i64 place = place_of(row);
    const int head = head_of(row);
    const Range keys = {tiles.first * KEY_ROWS, tiles.end * KEY_ROWS};
    const float sink = split == 0 ? p.sink(head) : -infinity;
    attend_again(o, segment, head, query_of(row), keys, sink, [&](int column, float number) {
      p.partial_output[place * VALUE_DIMENSION + column] = number;
    });
  });
#else
  finish_rows<OutputTile>(p, segment, softmax, output, factor, warp_row, first_row, row_count, head,
                          shared);
  __syncthreads();
  write_rows<OutputTile, threads>(p, segment, {0, row_count}, first_row, head, shared, threadIdx.x);
#endif
}

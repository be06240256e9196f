// Exact attention, backward: the gradients of keys and values. See backward.cuh.
//
// One block owns `key_rows` keys of one key/value head; the queries of the group's heads go by in tiles
// of `query_rows`. Scores are computed transposed, a row a key, so that the weights and their gradients
// are left operands where they lie in registers.
//
// Compiled with
//   ELEMENT                          bf16 or f16
//   KEY_DIMENSION, VALUE_DIMENSION   multiples of 16
//   QUERY_ROWS, KEY_ROWS, WARPS      the tile: KEY_ROWS / WARPS is a multiple of 16
//   BLOCKS                           blocks that share a multiprocessor
//   KEY_MASK                         0 or 1: some keys may not be attended
//   COSINE                           0 or 1: queries and keys are divided by their lengths

#include "attention/backward.cuh"

using Element = ELEMENT;

constexpr int threads = WARPS * warp_threads;
constexpr int strips = KEY_ROWS / WARPS / 16;
constexpr int query_columns = QUERY_ROWS / 8;
constexpr int stages = 2;
// Of a query: log Σ, δ, the reciprocal of its length.
constexpr int numbers = COSINE ? 3 : 2;

using KeyTile = Tile<KEY_ROWS, KEY_DIMENSION>;
using ValueTile = Tile<KEY_ROWS, VALUE_DIMENSION>;
using QueryTile = Tile<QUERY_ROWS, KEY_DIMENSION>;
using OutputTile = Tile<QUERY_ROWS, VALUE_DIMENSION>;

extern "C" __global__ void __launch_bounds__(threads, BLOCKS)
    attention_backward_keys(const __grid_constant__ BackwardParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  const Segment segment = p.segments[blockIdx.z];
  const int first_key = blockIdx.x * KEY_ROWS;
  const int key_count = min(KEY_ROWS, segment.band.keys - first_key);
  if (key_count <= 0) return;
  const int group = blockIdx.y;
  const int heads = gridDim.y * p.heads_per_group;

  const u32 key_tile = shared_address(shared);
  const u32 value_tile = key_tile + KeyTile::bytes;
  const u32 query_tiles = value_tile + ValueTile::bytes;
  const u32 output_tiles = query_tiles + stages * QueryTile::bytes;
  const u32 number_tiles = output_tiles + stages * OutputTile::bytes;

  // Key j is seen by queries j − high + 1 ..< j − low + 1.
  const int first_query = max(0, first_key - segment.band.high + 1);
  const int query_end = min(segment.query_count, first_key + key_count - segment.band.low);
  const int first_tile = first_query / QUERY_ROWS;
  const int tile_count =
      query_end > first_query ? (query_end + QUERY_ROWS - 1) / QUERY_ROWS - first_tile : 0;
  const int step_count = tile_count * p.heads_per_group;

  auto copy_queries = [&](int step) {
    const Segment &s = p.segments[blockIdx.z];
    const int batch = read_again(s.batch);
    const int query_start = read_again(s.query_start);
    const int head = group * p.heads_per_group + step / tile_count;
    const int first = (first_tile + step % tile_count) * QUERY_ROWS;
    const int count = read_again(s.query_count) - first;
    const int stage = step % stages;
    copy_tile<QueryTile, threads>(query_tiles + stage * QueryTile::bytes,
                                  p.queries.at(batch, query_start + first, head), p.queries.row,
                                  count);
    copy_tile<OutputTile, threads>(output_tiles + stage * OutputTile::bytes,
                                   p.output_gradient.at(batch, query_start + first, head),
                                   p.output_gradient.row, count);
    const int thread = read_thread_index();
    if (thread < QUERY_ROWS) {
      const bool exists = thread < count;
      const int query = query_start + first + (exists ? thread : 0);
      const i64 place = number_place(batch, heads, head, p.query_length, query);
      const u32 target = number_tiles + (stage * numbers * QUERY_ROWS + thread) * 4;
      copy_number(target, p.log_sum_exp + place, exists);
      copy_number(target + QUERY_ROWS * 4, p.delta + place, exists);
#if COSINE
      copy_number(target + 2 * QUERY_ROWS * 4,
                  p.query_lengths + ((i64)batch * p.query_length + query) * heads + head, exists);
#endif
    }
  };

  copy_tile<KeyTile, threads>(key_tile,
                              p.keys.at(segment.batch, segment.key_start + first_key, group),
                              p.keys.row, key_count);
  copy_tile<ValueTile, threads>(value_tile,
                                p.values.at(segment.batch, segment.key_start + first_key, group),
                                p.values.row, key_count);
  if (step_count > 0) copy_queries(0);
  close_copies();

  const int lane = threadIdx.x % warp_threads;
  const int warp_row = threadIdx.x / warp_threads * strips * 16;
  // The heads of a group may have scales of their own: dK sums their parts in units of the largest.
  float largest_scale = 0;
  for (int i = 0; i < p.heads_per_group; ++i) {
    const float scale = p.scale[group * p.heads_per_group + i];
    if (fabsf(scale) > fabsf(largest_scale)) largest_scale = scale;
  }
  auto reciprocal_length = [&](int row) {
    if (!COSINE || row >= key_count) return 1.0f;
    const i64 key = (i64)segment.batch * p.key_length + segment.key_start + first_key + row;
    return p.key_lengths[key * gridDim.y + group];
  };
  float reciprocal[strips][2];
#pragma unroll
  for (int strip = 0; strip < strips; ++strip) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      reciprocal[strip][half] = reciprocal_length(warp_row + strip * 16 + half * 8 + lane / 4);
    }
  }
  const auto key_operands = left_operands<KeyTile>(key_tile, warp_row);
  const auto value_operands = left_operands<ValueTile>(value_tile, warp_row);
  float keys_gradient[strips][KEY_DIMENSION / 8][4] = {};
  float values_gradient[strips][VALUE_DIMENSION / 8][4] = {};

  for (int step = 0; step < step_count; ++step) {
    // 1. The queries of this step are there, and nobody reads those of the step before any more.
    wait_for_copies<0>();
    __syncthreads();
    if (step + 1 < step_count) copy_queries(step + 1);
    close_copies();
    const int tile = first_tile + step % tile_count;
    const int stage = step % stages;
    const float scale = p.scale[group * p.heads_per_group + step / tile_count];
    const u32 query_tile = query_tiles + stage * QueryTile::bytes;
    const u32 output_tile = output_tiles + stage * OutputTile::bytes;
    const float2 *log_sums = (const float2 *)(shared + (number_tiles - key_tile)) +
                             stage * numbers * (QUERY_ROWS / 2);
    const float2 *deltas = log_sums + QUERY_ROWS / 2;
    const float2 *lengths = deltas + QUERY_ROWS / 2;

    // 2. Sᵀ = K Qᵀ, Pᵀ = exp(scale Sᵀ − log Σ), masked
    float weight[strips][query_columns][4] = {};
    multiply_rows<Element, KEY_DIMENSION / 16>(weight, key_operands,
                                               right_operands<QueryTile>(query_tile));
    const Range rows = {tile * QUERY_ROWS, min((tile + 1) * QUERY_ROWS, segment.query_count)};
    const Range whole = segment.band.whole_tiles(rows, KEY_ROWS);
    const bool masked = KEY_MASK || (int)blockIdx.x < whole.first || (int)blockIdx.x >= whole.end;
#pragma unroll
    for (int column = 0; column < query_columns; ++column) {
      const float2 sums = log_sums[column * 4 + lane % 4];
      const float shift[2] = {log_sum_shift(sums.x), log_sum_shift(sums.y)};
      float factor[2] = {scale * log2_e, scale * log2_e};
      if (COSINE) {
        const float2 two = lengths[column * 4 + lane % 4];
        factor[0] *= two.x;
        factor[1] *= two.y;
      }
#pragma unroll
      for (int strip = 0; strip < strips; ++strip) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          float &value = weight[strip][column][i];
          if (COSINE) value *= reciprocal[strip][i / 2];
          value = exp2_fast(fmaf(factor[i % 2], value, -shift[i % 2]));
        }
      }
    }
    if (masked) {
#pragma unroll
      for (int strip = 0; strip < strips; ++strip) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int key = first_key + warp_row + strip * 16 + half * 8 + lane / 4;
          bool kept = true;
          if (KEY_MASK && key < segment.band.keys) {
            kept = p.key_mask[(i64)segment.batch * p.key_length + segment.key_start + key] != 0;
          }
#pragma unroll
          for (int column = 0; column < query_columns; ++column) {
#pragma unroll
            for (int odd = 0; odd < 2; ++odd) {
              const int query = rows.first + column * 8 + lane % 4 * 2 + odd;
              if (!kept || !segment.band.sees(query, key)) weight[strip][column][2 * half + odd] = 0;
            }
          }
        }
      }
    }

    // 3. dPᵀ = V dOᵀ
    float slope[strips][query_columns][4] = {};
    multiply_rows<Element, VALUE_DIMENSION / 16>(slope, value_operands,
                                                 right_operands<OutputTile>(output_tile));

    // 4. dV += Pᵀ dO, dS = P ∘ (dP − δ), dK += dSᵀ Q
    const auto output_operands = right_operands_transposed<OutputTile>(output_tile);
    const auto query_operands = right_operands_transposed<QueryTile>(query_tile);
#pragma unroll
    for (int k = 0; k < QUERY_ROWS / 16; ++k) {
      u32 a[strips][4];
#pragma unroll
      for (int strip = 0; strip < strips; ++strip) {
        as_left<Element>(a[strip], weight[strip][2 * k], weight[strip][2 * k + 1]);
      }
      add_product<Element>(values_gradient, a, output_operands, k);
    }
    const float share = scale == largest_scale ? 1 : scale / largest_scale;
#pragma unroll
    for (int column = 0; column < query_columns; ++column) {
      const float2 delta = deltas[column * 4 + lane % 4];
      float factor[2] = {share, share};
      if (COSINE) {
        const float2 two = lengths[column * 4 + lane % 4];
        factor[0] *= two.x;
        factor[1] *= two.y;
      }
#pragma unroll
      for (int strip = 0; strip < strips; ++strip) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          float &ds = slope[strip][column][i];
          ds = weight[strip][column][i] * factor[i % 2] * (ds - (i % 2 ? delta.y : delta.x));
        }
      }
    }
#pragma unroll
    for (int k = 0; k < QUERY_ROWS / 16; ++k) {
      u32 a[strips][4];
#pragma unroll
      for (int strip = 0; strip < strips; ++strip) {
        as_left<Element>(a[strip], slope[strip][2 * k], slope[strip][2 * k + 1]);
      }
      add_product<Element>(keys_gradient, a, query_operands, k);
    }
  }
  wait_for_copies<0>();
  __syncthreads();

  // 5. The rows' gradients.
#pragma unroll
  for (int strip = 0; strip < strips; ++strip) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = warp_row + strip * 16 + half * 8 + lane / 4;
      const float length = reciprocal[strip][half];
      float along = 0;
      if (COSINE) {
        along = dot_with_row<Element, KeyTile>(keys_gradient[strip], half, shared, row) * length;
      }
      if (row >= key_count) continue;
      const int key = segment.key_start + first_key + row;
      store_row<Element, KeyTile>(p.keys_gradient.at(segment.batch, key, group),
                                  keys_gradient[strip], half, largest_scale * length,
                                  along * length, shared, row);
      store_row<Element, ValueTile>(p.values_gradient.at(segment.batch, key, group),
                                    values_gradient[strip], half, 1, 0, shared, row);
    }
  }
}

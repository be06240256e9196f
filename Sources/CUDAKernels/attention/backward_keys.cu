// Exact attention, backward: the gradients of keys and values. See backward.cuh.
//
// One block owns KEY_ROWS keys of one key/value head; the queries of the group's heads are streamed in tiles
// of QUERY_ROWS. Scores are computed transposed, one row per key, so that the weights and their gradients
// already have the register layout of left operands.
//
// Compiled with the macros of backward.cuh, and
//   KEY_DIMENSION, VALUE_DIMENSION   multiples of 16
//   QUERY_ROWS, KEY_ROWS, WARPS      the tile: KEY_ROWS / WARPS is a multiple of 16
//   BLOCKS                           the occupancy: blocks per multiprocessor
//   STAGES                           1 or 2: pipeline stages
//   OF_KEYS, OF_VALUES               0 or 1: which gradients; both fit in registers up to 128 columns

#include "attention/backward_again.cuh"
#include "attention/layout.h"

constexpr int threads = WARPS * warp_threads;
constexpr int strips = KEY_ROWS / WARPS / 16;
constexpr int query_columns = QUERY_ROWS / 8;
// Per query: the shift, δ, the offset, the inverse norm.
constexpr int numbers = attention_passing_numbers(owns_keys_and_values, COSINE, false, false);
constexpr AttentionLayout layout =
    attention_layout(owns_keys_and_values, KEY_ROWS, QUERY_ROWS, KEY_DIMENSION, VALUE_DIMENSION, sizeof(Number), STAGES, 0,
                     numbers, false);

using KeyTile = Tile<Element, KEY_ROWS, KEY_DIMENSION>;
using ValueTile = Tile<Element, KEY_ROWS, VALUE_DIMENSION>;
using QueryTile = Tile<Element, QUERY_ROWS, KEY_DIMENSION>;
using OutputTile = Tile<Element, QUERY_ROWS, VALUE_DIMENSION>;

extern "C" __global__ void __launch_bounds__(threads, BLOCKS)
    attention_backward_keys(const __grid_constant__ BackwardParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  const Operands &o = p.operands;
  const Segment segment = o.segment();
  const int first_key = blockIdx.x * KEY_ROWS;
  const int key_count = min(KEY_ROWS, segment.keys - first_key);
  if (key_count <= 0) return;
  const int group = blockIdx.y;
  const int first_head = group * o.heads_per_group;

  const u32 key_tile = shared_address(shared);
  const u32 value_tile = key_tile + layout.second_owned;
  const u32 query_tiles = key_tile + layout.first_passing;
  const u32 output_tiles = key_tile + layout.second_passing;
  const u32 number_tiles = key_tile + layout.numbers;

  const Range seeing =
      segment.band().seeing({first_key, first_key + key_count}, segment.query_count);
  const int first_tile = seeing.first / QUERY_ROWS;
  const int tile_count = seeing.end > seeing.first
                             ? CEIL_DIVIDE(seeing.end, QUERY_ROWS) - first_tile
                             : 0;
  const int step_count = tile_count * o.heads_per_group;

  auto copy_queries = [&](int step) {
    const int stage = step % STAGES;
    copy_query_step<QueryTile, OutputTile, threads>(
        p, query_tiles + stage * QueryTile::bytes, output_tiles + stage * OutputTile::bytes,
        number_tiles + stage * numbers * QUERY_ROWS * 4, (first_tile + step % tile_count) * QUERY_ROWS,
        first_head + step / tile_count);
  };

  o.copy_keys<KeyTile, threads>(key_tile, o.keys, first_key, group);
  if (OF_KEYS) o.copy_keys<ValueTile, threads>(value_tile, o.values, first_key, group);
  if (step_count > 0) copy_queries(0);
  close_copies();

  const int warp_row = threadIdx.x / warp_threads * strips * 16;
  auto key_of = [&](int strip, int half) {
    return first_key + warp_row + strip * 16 + fragment_row(half);
  };
  const float largest_scale = o.largest_scale(first_head);
  float reciprocal[strips][2];
#pragma unroll
  for (int strip = 0; strip < strips; ++strip) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int key = key_of(strip, half);
      reciprocal[strip][half] =
          COSINE && key < segment.keys
              ? *o.key_length_at(segment.batch, segment.key_start + key, group)
              : 1;
    }
  }
  const LeftOperands<KeyTile> key_operands(key_tile, warp_row);
  const LeftOperands<ValueTile> value_operands(value_tile, warp_row);
  float keys_gradient[strips][OF_KEYS ? KEY_DIMENSION / 8 : 1][4] = {};
  float values_gradient[strips][OF_VALUES ? VALUE_DIMENSION / 8 : 1][4] = {};
#if TERMS
  float sums[strips][2] = {};
  // The sums of all heads, times zero.
  float sum_zeros[strips][2] = {};
#endif

  for (int step = 0; step < step_count; ++step) {
    // 1. Wait for the queries of this step; those of the previous step are no longer read.
    wait_for_copies<0>();
    __syncthreads();
    if (STAGES > 1 && step + 1 < step_count) copy_queries(step + 1);
    close_copies();
    const int tile = first_tile + step % tile_count;
    const int stage = step % STAGES;
    const int head = first_head + step / tile_count;
    const float scale = o.scale_of(head);
    const u32 query_tile = query_tiles + stage * QueryTile::bytes;
    const u32 output_tile = output_tiles + stage * OutputTile::bytes;
    const float2 *shifts = (const float2 *)(shared + (number_tiles - key_tile)) +
                           stage * numbers * (QUERY_ROWS / 2);
    const float2 *deltas = shifts + QUERY_ROWS / 2;
    const float2 *offsets = deltas + QUERY_ROWS / 2;
    const Lengths lengths = offsets + QUERY_ROWS / 2;

    // 2. Sᵀ = K Qᵀ, Pᵀ = exp(scale Sᵀ − log Σ), masked
    float weight[strips][query_columns][4] = {};
    multiply_rows<Element, KEY_DIMENSION, true>(weight, key_operands,
                                                RightOperands<QueryTile>(query_tile));
    const Range rows = {tile * QUERY_ROWS, min((tile + 1) * QUERY_ROWS, segment.query_count)};
    const Range whole = segment.band().whole_tiles(rows, KEY_ROWS);
    const bool masked = KEY_MASK || (int)blockIdx.x < whole.first || (int)blockIdx.x >= whole.end;
#if TERMS
    const HeadTerms terms(o.terms, segment, head, o.heads, o.query_length);
    float change[strips][query_columns][4];
#endif
    // Scores that `factor` makes powers of two of, as where queries are owned.
#pragma unroll
    for (int strip = 0; strip < strips; ++strip) {
      if (COSINE) {
        transform(weight[strip], [&](float s, int half) { return s * reciprocal[strip][half]; });
      }
#if TERMS
      transform(weight[strip], [&](float s, int, float length) { return s * (scale * length); }, lengths);
      visit(weight[strip], change[strip], [&](float &value, float &change, int row, int column) {
        const int query = rows.first + column, key = first_key + warp_row + strip * 16 + row;
        change = 1;
        if (query >= rows.end || key >= segment.keys) return;
        const TermScore term = terms.apply(value, query, key);
        value = term.score;
        change = term.slope;
      });
#endif
    }
    if (any_offset<QUERY_ROWS>(offsets)) {
#pragma unroll
      for (int strip = 0; strip < strips; ++strip) {
        transform(weight[strip], [](float s, int, float offset) { return settled(s - offset); }, offsets);
      }
    }
#pragma unroll
    for (int strip = 0; strip < strips; ++strip) {
      transform(weight[strip], [&](float s, int, float shift, float length) {
        return exp2_fast(fmaf(TERMS ? log2_e : scale * length * log2_e, s, -shift));
      }, shifts, lengths);
    }
    if (masked) {
#pragma unroll
      for (int strip = 0; strip < strips; ++strip) {
        hide(weight[strip], 0, [&](int row, int column) {
          const int key = first_key + warp_row + strip * 16 + row;
          return o.keeps(segment, key) && segment.band().sees(rows.first + column, key);
        });
      }
    }

    // 3. dPᵀ = V dOᵀ
    float slope[strips][query_columns][4] = {};
    if constexpr (OF_KEYS) {
      multiply_rows<Element, VALUE_DIMENSION>(slope, value_operands,
                                              RightOperands<OutputTile>(output_tile));
    }

    // 4. dV += Pᵀ dO, dS = P ∘ (dP − δ), dK += dSᵀ Q
    if constexpr (OF_VALUES) {
      const TransposedOperands<OutputTile> operands(output_tile);
#pragma unroll
      for (int k = 0; k < QUERY_ROWS / 16; ++k) {
        add_product<Element>(values_gradient, weight, operands, k);
      }
    }
    if constexpr (OF_KEYS) {
      const float share = !HEAD_SCALES || scale == largest_scale ? 1 : scale / largest_scale;
#pragma unroll
      for (int strip = 0; strip < strips; ++strip) {
#if TERMS
        combine(slope[strip], weight[strip], [&](float dp, float weight, int half, float delta) {
          const float ds = weight * (dp - delta);
          sums[strip][half] += ds;
          return ds;
        }, deltas);
        combine(slope[strip], change[strip], [&](float ds, float change, int, float length) {
          return ds * (share * length * change);
        }, lengths);
#else
        combine(slope[strip], weight[strip], [&](float dp, float weight, int, float delta, float length) {
          return weight * (share * length) * (dp - delta);
        }, deltas, lengths);
#endif
      }
      const TransposedOperands<QueryTile> operands(query_tile);
#pragma unroll
      for (int k = 0; k < QUERY_ROWS / 16; ++k) {
        add_product<Element>(keys_gradient, slope, operands, k);
      }
    }
#if TERMS && OF_KEYS
    if (p.key_sums && step % tile_count == tile_count - 1) {
      // These were the last queries of the head.
#pragma unroll
      for (int strip = 0; strip < strips; ++strip) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float sum = row_sum(sums[strip][half]);
          const int key = key_of(strip, half);
          if (leads_row() && key < segment.keys) {
            p.key_sums[o.key_place(segment.batch, head, segment.key_start + key)] = sum;
          }
          sums[strip][half] = 0;
          sum_zeros[strip][half] += sum * 0;
        }
      }
    }
#endif
    if (STAGES == 1 && step + 1 < step_count) {
      __syncthreads();
      copy_queries(step + 1);
      close_copies();
    }
  }
  wait_for_copies<0>();
  __syncthreads();

  // 5. Write the rows' gradients.
  UnfitRows unfit;
#pragma unroll
  for (int strip = 0; strip < strips; ++strip) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = warp_row + strip * 16 + fragment_row(half);
      const float length = reciprocal[strip][half];
      const int key = segment.key_start + first_key + row;
      float along = 0, zeros = 0;
      if constexpr (OF_KEYS && COSINE) {
        along = dot_with_row<KeyTile>(keys_gradient[strip], half, shared, row) * length;
      }
      if constexpr (OF_KEYS) zeros += zeros_of(keys_gradient[strip], half) + (length + along) * 0;
      if constexpr (OF_VALUES) zeros += zeros_of(values_gradient[strip], half);
#if TERMS
      zeros += sum_zeros[strip][half];
#endif
      unfit.note(strip * 16 + half * 8, zeros);
      if (row >= key_count) continue;
      if constexpr (OF_KEYS) {
        store_row<KeyTile>(p.keys_gradient.at(segment.batch, key, group), keys_gradient[strip], half,
                           largest_scale * length, along * length, shared, row);
      }
      if constexpr (OF_VALUES) {
        store_row<ValueTile>(p.values_gradient.at(segment.batch, key, group),
                             values_gradient[strip], half, 1, 0, shared, row);
      }
    }
  }
  if (unfit.rows != 0) {
    key_gradients_again<OF_KEYS, OF_VALUES>(p, group, first_key + warp_row, first_key + key_count, unfit);
  }
}

// Exact attention, backward: the gradients of the queries, in float32 for Hopper. See backward.cuh.
//
// As hopper_backward_queries.cu, but tiles are of planes, and the sum of a tile's keys is added by the
// threads. Gradient and sum leave no registers for a tile in flight: one warpgroup's products run while another
// computes weights.
//
// Compiled with what backward.cuh lists, tf32x3 without KEY_MASK, COSINE and TERMS, and
//   KEY_DIMENSION, VALUE_DIMENSION   64 or 128
//   KEY_ROWS                         48, 64, 96 or 128
//   STAGES                           pipeline stages
//   WARPGROUPS                       as hopper.cuh has it

#include "attention/backward_again.cuh"
#include "attention/backward_variants.h"
#include "attention/hopper_single.cuh"

constexpr int query_rows = group_rows * WARPGROUPS;
constexpr int score_columns = KEY_ROWS / 8;
constexpr AttentionLayout layout_offsets =
    attention_layout(owns_queries_and_outputs, query_rows, KEY_ROWS, KEY_DIMENSION, VALUE_DIMENSION, sizeof(Number), STAGES,
                     attention_passing_numbers(owns_queries_and_outputs, false, true), true);

using QueryTile = PlaneTile<query_rows, KEY_DIMENSION>;
using OutputTile = PlaneTile<query_rows, VALUE_DIMENSION>;
using KeyTile = PlaneTile<KEY_ROWS, KEY_DIMENSION>;
using ValueTile = PlaneTile<KEY_ROWS, VALUE_DIMENSION>;

extern "C" __global__ void __launch_bounds__(block_threads, 1)
    attention_hopper_single_backward_queries(const __grid_constant__ AttentionHopperSingleBackwardParameters mapped) {
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
  const u32 query_tile = shared_address(shared), output_tile = query_tile + layout_offsets.second_owned;
  const PassingKeys<KeyTile, ValueTile, STAGES> passing(query_tile, layout_offsets);

  if (threadIdx.x == 0) passing.open();
  __syncthreads();
  if (threadIdx.x >= readers) {
    give_registers<copying_warp_registers>();
    const int group = head / o.heads_per_group;
    const int warp = (threadIdx.x - readers) / warp_threads;
    if (warp > 1) return;
    auto copy_keys = [&](int turn) {
      if (threadIdx.x == readers) passing.copy(mapped.maps, segment, tiles, group, turn);
      if (warp == 1) {
        passing.copy_units(mapped.units, o.group_key_place(segment.batch, group, segment.key_start),
                           segment.keys, tiles, turn);
      }
    };
    if (threadIdx.x == readers) {
      const int query = segment.query_start + first_row;
      arrive_expecting(passing.query_barrier, QueryTile::bytes + OutputTile::bytes);
      copy_planes<QueryTile>(query_tile, mapped.maps.queries, passing.query_barrier, head, query,
                             segment.batch);
      copy_planes<OutputTile>(output_tile, mapped.output_gradient, passing.query_barrier, head, query,
                              segment.batch);
    }
    copy_keys(0);
    // Where sums are large, keys pass twice.
    if (p.has_large(segment, head, queries)) copy_keys(tiles.end - tiles.first);
    return;
  }
  take_registers<planes_registers>();

  const int lane = threadIdx.x % warp_threads;
  const int group_row = threadIdx.x / group_threads * group_rows;
  const int warp_row = threadIdx.x / warp_threads * 16;
  const float scale = o.scale_of(head);
  auto place_of = [&](int half) {
    const int row = first_row + min(warp_row + half * 8 + lane / 4, row_count - 1);
    return o.query_place(segment.batch, head, segment.query_start + row);
  };
  float shift[2], delta[2], factor[2], output_unit[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const i64 place = place_of(half);
    shift[half] = p.shift[place];
    delta[half] = p.delta[place];
    factor[half] = scale * log2_e * mapped.units.queries[place];
    output_unit[half] = mapped.units.output_gradient[place];
  }
  const bool has_large = p.has_large(segment, head, queries);
  const int first_turn = has_large ? tiles.end - tiles.first : 0;
  const int end_turn = first_turn + tiles.end - tiles.first;
  const Turns order(end_turn);
  auto at = [&](u32 address) { return shared + (address - query_tile); };
  wait_for_phase(passing.query_barrier, 0);
  auto hide_unseen = [&](int tile, float (&c)[score_columns][4], float hidden) {
    if (tile >= whole.first && tile < whole.end) return;
    hide(c, hidden, [&](int row, int column) {
      return segment.band().sees(first_row + warp_row + row, tile * KEY_ROWS + column);
    });
  };

  // Rows of large sums go over the keys once before.
  if (has_large) {
    RowSums<1> sums(PerRow<1>{{factor[0], factor[1]}});
    for (int turn = 0; turn < first_turn; ++turn) {
      float score[1][score_columns][4];
      passing.key_ring.wait(turn);
      passing.value_ring.wait(turn);
      order.await();
      open_products();
      multiply_planes<QueryTile, KeyTile>(score[0], query_tile, group_row, passing.key_tile(turn));
      close_products();
      order.pass_on(turn);
      wait_for_products<0>();
      keep(score[0]);
      const float2 *key_units = (const float2 *)at(passing.key_units_of(turn));
#pragma unroll
      for (int column = 0; column < score_columns; ++column) {
        const float2 unit = key_units[column * 4 + lane % 4];
#pragma unroll
        for (int i = 0; i < 4; ++i) score[0][column][i] *= i % 2 ? unit.y : unit.x;
      }
      release_together(passing.key_ring, turn);
      release_together(passing.value_ring, turn);
      sums.add(score, [&](float (&c)[1][score_columns][4]) {
        hide_unseen(tiles.first + turn, c[0], -infinity);
      });
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const RowShift row = sums.resolve(0, half, factor[half] / log2_e, p.sink(head));
      if (shift[half] != unknown_shift) continue;
      shift[half] = row.shift;
      if (warp_row + half * 8 + lane / 4 < row_count) p.keep_shift(place_of(half), row);
    }
  }
  float gradient[KEY_DIMENSION / 8][4] = {};

  for (int turn = first_turn; turn < end_turn; ++turn) {
    const int tile = tiles.first + turn - first_turn;
    // 1. This tile is there.
    passing.key_ring.wait(turn);
    passing.value_ring.wait(turn);
#if PACKED
    const int rest = segment.keys - tile * KEY_ROWS;
    if (rest < KEY_ROWS) {
      clear_planes<KeyTile>(at(passing.key_tile(turn)), rest);
      clear_planes<ValueTile>(at(passing.value_tile(turn)), rest);
      meet_own_group();
    }
#endif

    // 2. S = Q Kᵀ and dP = dO Vᵀ start.
    float weight[score_columns][4], slope[score_columns][4];
    order.await();
    open_products();
    multiply_planes<QueryTile, KeyTile>(weight, query_tile, group_row, passing.key_tile(turn));
    close_products();
    open_products();
    multiply_planes<OutputTile, ValueTile>(slope, output_tile, group_row, passing.value_tile(turn));
    close_products();
    order.pass_on(turn);

    // 3. P = exp(scale S − log Σ), masked
    wait_for_products<1>();
    keep(weight);
    const float2 *key_units = (const float2 *)at(passing.key_units_of(turn));
    if (has_large) {
      // Products are in the keys' units too, which are powers of two.
      const float offset[2] = {p.offset[place_of(0)], p.offset[place_of(1)]};
#pragma unroll
      for (int column = 0; column < score_columns; ++column) {
        const float2 unit = key_units[column * 4 + lane % 4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          weight[column][i] -= offset[i / 2] * __frcp_rn(i % 2 ? unit.y : unit.x);
          settle(weight[column][i]);
        }
      }
    }
#pragma unroll
    for (int column = 0; column < score_columns; ++column) {
      const float2 unit = key_units[column * 4 + lane % 4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float &value = weight[column][i];
        value = exp2_fast(fmaf(factor[i / 2] * (i % 2 ? unit.y : unit.x), value, -shift[i / 2]));
      }
    }
    hide_unseen(tile, weight, 0);

    // 4. dS = P ∘ (dP − δ)
    wait_for_products<0>();
    keep(slope);
    const float2 *value_units = (const float2 *)at(passing.value_units_of(turn));
#pragma unroll
    for (int column = 0; column < score_columns; ++column) {
      const float2 unit = value_units[column * 4 + lane % 4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float &ds = slope[column][i];
        ds = weight[column][i] *
             fmaf(output_unit[i / 2] * (i % 2 ? unit.y : unit.x), ds, -delta[i / 2]);
      }
    }
    release_together(passing.value_ring, turn);

    // 5. dQ += dS K
    float row_units[2], sum[KEY_DIMENSION / 8][4];
    const PlanesLeft<KEY_ROWS / 16> a = as_planes(slope, key_units, row_units);
    open_products();
    multiply_left<KeyTile>(sum, a, passing.key_tile(turn), 0);
    close_products();
    wait_for_products<0>();
    keep(sum);
    release(passing.key_ring, turn);
    add_in_units(gradient, sum, row_units);
  }

  // 6. The rows' gradients, and their parts of the scale's.
  UnfitRows unfit;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = warp_row + half * 8 + lane / 4;
    const int query = segment.query_start + first_row + min(row, row_count - 1);
    float along = 0;
    if (p.scale_gradient) {
      const float *own = o.queries.at(segment.batch, query, head);
#pragma unroll
      for (int column = 0; column < KEY_DIMENSION / 8; ++column) {
        const float2 two = Element::pair(own + column * 8 + lane % 4 * 2);
        along += gradient[column][2 * half] * two.x + gradient[column][2 * half + 1] * two.y;
      }
      along = row_sum(along);
    }
    unfit.note(half * 8, zeros_of(gradient, half) + along * 0);
    if (row >= row_count) continue;
    if (p.scale_gradient && lane % 4 == 0) {
      p.scale_gradient[o.query_place(segment.batch, head, query)] = along;
    }
    store_row<QueryTile::Plane>(p.queries_gradient.at(segment.batch, query, head), gradient, half, scale, 0,
                                shared, row);
  }
  if (unfit.rows != 0) query_gradients_again(p, head, first_row + warp_row, queries.end, unfit);
}

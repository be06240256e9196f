// Exact attention, backward: the gradients of the queries, for Hopper. See backward.cuh.
//
// Like backward_queries.cu, with the instructions of sm_90a: a block iterates over keys and values in tiles
// of `KEY_ROWS`. dP = dO Vᵀ is multiplied while the exponentials of S are computed and, in half precision,
// dQ += dS K of a tile together with S of the next. In planes, gradient and sum leave no registers for that:
// one warpgroup's products run while another computes weights.
//
// Compiled with what backward.cuh and hopper.cuh list, and
//   KEY_ROWS    64, 96 or 128, in float32 also 48

#include "attention/backward_again.cuh"
#include "attention/backward_variants.h"
#include "attention/hopper.cuh"

constexpr int query_rows = group_rows * WARPGROUPS;
constexpr int score_columns = KEY_ROWS / 8;
constexpr bool overlaps_turns = !in_planes;
using Bias = BiasTile<query_rows, KEY_ROWS>;
constexpr AttentionLayout layout =
    attention_layout(owns_queries_and_outputs, query_rows, KEY_ROWS, KEY_DIMENSION, VALUE_DIMENSION, sizeof(Number),
                     stages, Bias::bytes, attention_passing_numbers(owns_queries_and_outputs, has_units, in_planes, decay_parts), true);

using QueryTile = OperandTile<query_rows, KEY_DIMENSION>;
using OutputTile = OperandTile<query_rows, VALUE_DIMENSION>;
using KeyTile = OperandTile<KEY_ROWS, KEY_DIMENSION>;
using ValueTile = OperandTile<KEY_ROWS, VALUE_DIMENSION>;

extern "C" __global__ void __launch_bounds__(block_threads, 1)
    attention_hopper_backward_queries(const __grid_constant__ AttentionHopperBackwardParameters mapped) {
  extern __shared__ __align__(1024) u8 shared[];
  const BackwardParameters &p = mapped.backward;
  const Operands &o = p.operands;
  const Segment segment = o.segment();
  // Later queries of a causal sequence attend to more keys, so blocks with the most work start first.
  const int first_row = (gridDim.x - 1 - blockIdx.x) * query_rows;
  const int row_count = min(query_rows, segment.query_count - first_row);
  if (row_count <= 0) return;
  const int head = blockIdx.y;
  const Range queries = {first_row, first_row + row_count};
  const Range tiles =
      kept_tiles(mapped.key_words, segment, segment.band().visible_tiles(queries, KEY_ROWS), KEY_ROWS);
  const Range whole = segment.band().whole_tiles(queries, KEY_ROWS);
  const u32 query_tile = shared_address(shared), output_tile = query_tile + layout.second_owned;
  using Passing = PassingKeys<KeyTile, ValueTile, Bias>;
  const Passing passing(query_tile, layout);

  if (threadIdx.x == 0) passing.open();
  __syncthreads();
  if (threadIdx.x >= readers) {
    give_registers<Passing::registers.copying>();
    const int warp = (threadIdx.x - readers) / warp_threads;
    if (warp > Passing::has_key_numbers) return;
    auto copy_keys = [&](int turn) {
      if (threadIdx.x == readers) {
        passing.copy(mapped.maps, mapped.bias, o, segment, tiles, head, first_row, turn);
      }
      if (Passing::has_key_numbers && warp == 1) passing.copy_numbers(mapped.units, o, segment, tiles, head, turn);
    };
    if (threadIdx.x == readers) {
      const int query = segment.query_start + first_row;
      arrive_expecting(passing.query_barrier, QueryTile::bytes + OutputTile::bytes);
      copy_operand<QueryTile>(query_tile, mapped.maps.queries, passing.query_barrier, head, query, segment.batch);
      copy_operand<OutputTile>(output_tile, mapped.output_gradient, passing.query_barrier, head, query,
                               segment.batch);
    }
    copy_keys(0);
    // If sums are large, there are two iterations over the keys.
    if (p.has_large(segment, head, queries)) copy_keys(tiles.end - tiles.first);
    return;
  }
  take_registers<Passing::registers.reading>();

  const int group_row = threadIdx.x / group_threads * group_rows;
  const int warp_row = threadIdx.x / warp_threads * 16;
  const float scale = o.scale_of(head);
  auto row_of = [&](int half) { return first_row + min(warp_row + fragment_row(half), row_count - 1); };
  auto query_of = [&](int half) { return segment.query_start + row_of(half); };
  auto place_of = [&](int half) { return o.query_place(segment.batch, head, query_of(half)); };
  const FragmentTerms<false, Bias> terms(o, segment, head, warp_row, row_of);
  float shift[2], delta[2], query_unit[2], output_unit[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const i64 place = place_of(half);
    shift[half] = p.shift[place];
    delta[half] = p.delta[place];
    query_unit[half] = row_unit(mapped.units.queries, o.query_lengths, place);
    output_unit[half] = plane_unit(mapped.units.output_gradient, place);
  }
  // The factors that convert scores to base 2.
  auto factor_of = [&](int half) { return log2_e * (TERMS ? terms.unit() : scale * query_unit[half]); };
  const float factor[2] = {factor_of(0), factor_of(1)};
  const bool has_large = p.has_large(segment, head, queries);
  const int first_turn = has_large ? tiles.end - tiles.first : 0;
  const int end_turn = first_turn + tiles.end - tiles.first;
  const Turns order(end_turn);
  auto at = [&](u32 address) { return shared + (address - query_tile); };
  wait_for_phase(passing.query_barrier, 0);
  auto hide_unseen = [&](int tile, const KeptKeys<KEY_ROWS> &kept, float (&c)[score_columns][4], float hidden) {
    const int first_key = tile * KEY_ROWS;
    if (tile < whole.first || tile >= whole.end) {
      hide(c, hidden, [&](int row, int column) {
        return segment.band().sees(first_row + warp_row + row, first_key + column);
      });
    }
    if (KEY_MASK && !kept.are_all()) kept.hide_others(c, hidden);
    if (terms.is_cut(queries, {first_key, min(segment.keys, first_key + KEY_ROWS)})) {
      terms.hide_cut(c, hidden, first_key, segment.keys);
    }
  };
  auto numbers_of = [&](int turn, typename Passing::KeyNumber kind) {
    return pairs(at(passing.numbers_of(turn, kind)));
  };
  // Products times the units of keys and, with TERMS, their scores.
  auto finish_scores = [&](int turn, int tile, float (&score)[score_columns][4], const auto &change) {
    if (!scales_first) return;
    transform(score, [&](float s, int half, float unit) {
      return s * unit * (TERMS && has_units ? scale * query_unit[half] : 1);
    }, Units(numbers_of(turn, Passing::unit)));
    const float size = has_units ? 1 : scale;
    terms.apply(score, {size, size}, tile * KEY_ROWS, segment.keys, has_large,
                {numbers_of(turn, Passing::sum), numbers_of(turn, Passing::rest_of_sum),
                 at(passing.bias_tile(turn))},
                change);
  };

  // Rows with large sums need an iteration over the keys beforehand.
  if (has_large) {
    RowSums<1> sums(PerRow<1>{{factor[0], factor[1]}});
    for (int turn = 0; turn < first_turn; ++turn) {
      float score[1][score_columns][4];
      passing.key_ring.wait(turn);
      passing.value_ring.wait(turn);
      order.await();
      start_product<QueryTile, KeyTile>(score[0], query_tile, group_row, passing.key_tile(turn));
      order.pass_on(turn);
      wait_for_products<0>();
      keep(score[0]);
      finish_scores(turn, tiles.first + turn, score[0], [](int, int, float) {});
      if (!scales_first) {
        transform(score[0], [](float s, int, float unit) { return s * unit; }, Units(numbers_of(turn, Passing::unit)));
      }
      release_together(passing.key_ring, turn, Passing::has_key_numbers || BIASED);
      release_together(passing.value_ring, turn, in_planes);
      sums.add(score, [&](float (&c)[1][score_columns][4]) {
        const int tile = tiles.first + turn;
        hide_unseen(tile, {mapped.key_words, segment, tile * KEY_ROWS}, c[0], -infinity);
      });
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const RowShift row = sums.resolve(0, half, factor[half] / log2_e, p.sink(head));
      if (shift[half] != unknown_shift) continue;
      shift[half] = row.shift;
      if (warp_row + fragment_row(half) < row_count) p.keep_shift(place_of(half), row);
    }
  }
  SumOfProducts<KEY_DIMENSION / 8> gradient;
  LeftOperand<KEY_ROWS / 16> a = {};
  float decay_sum[2] = {};

  for (int turn = first_turn; turn < end_turn; ++turn) {
    const int tile = tiles.first + turn - first_turn;
    // 1. Wait for this tile.
    const int first_key = tile * KEY_ROWS;
    const KeptKeys<KEY_ROWS> kept(mapped.key_words, segment, first_key);
    passing.key_ring.wait(turn);
    passing.value_ring.wait(turn);
    if (clear_hidden<KeyTile>(at(passing.key_tile(turn)), segment.keys - first_key, kept)) {
      clear_hidden<ValueTile>(at(passing.value_tile(turn)), segment.keys - first_key, kept);
      meet_own_group();
    }

    // 2. Start dQ += dS K of the previous tile, S = Q Kᵀ and dP = dO Vᵀ. No product is in flight between
    // iterations, where the compiler would wait for it; before the first tile dS is zero.
    float weight[score_columns][4], slope[score_columns][4];
    order.await();
    if (overlaps_turns) gradient.template start<KeyTile>(a, passing.key_tile(max(first_turn, turn - 1)));
    start_product<QueryTile, KeyTile>(weight, query_tile, group_row, passing.key_tile(turn));
    start_product<OutputTile, ValueTile>(slope, output_tile, group_row, passing.value_tile(turn));
    order.pass_on(turn);
    if (overlaps_turns) {
      wait_for_products<2>();
      gradient.arrive();
      if (turn > first_turn) release_together(passing.key_ring, turn - 1, Passing::has_key_numbers || BIASED);
    }

    // 3. P = exp(scale S − log Σ), masked
    wait_for_products<!SOFTCAP>();
    keep(weight);
    const Units key_units(numbers_of(turn, Passing::unit));
    const PlaneUnits value_units(numbers_of(turn, Passing::value_unit));
    // dP − δ: once, with SOFTCAP, its score's derivative is known.
    auto reduce = [&](float dp, int half, float unit) { return less(dp, output_unit[half] * unit, delta[half]); };
    if (SOFTCAP) {
      keep(slope);
      transform(slope, reduce, value_units);
    }
    finish_scores(turn, tile, weight, [&](int column, int i, float derivative) { slope[column][i] *= derivative; });
    if (has_large) {
      const float offset[2] = {p.offset[place_of(0)], p.offset[place_of(1)]};
      transform(weight, [&](float s, int half, float unit) { return less_offset(s, unit, offset[half]); }, key_units);
    }
    transform(weight, [&](float s, int half, float unit) {
      return exp2_fast(fmaf(scales_first ? factor[half] : factor[half] * unit, s, -shift[half]));
    }, key_units);
    hide_unseen(tile, kept, weight, 0);

    // 4. dS = P ∘ (dP − δ)
    if (!SOFTCAP) {
      wait_for_products<0>();
      keep(slope);
    }
    if (!in_planes) release(passing.value_ring, turn);
    combine(slope, weight, [&](float dp, float weight, int half, float unit, float key_unit) {
      const float ds = weight * (SOFTCAP ? dp : reduce(dp, half, unit));
      if (DECAY) decay_sum[half] += ds;
      // In planes the keys' units are applied where dS is split.
      return COSINE && !in_planes ? ds * key_unit : ds;
    }, value_units, key_units);
    if (in_planes) release_together(passing.value_ring, turn);
    a = as_left(slope, key_units);

    // 5. dQ += dS K
    if (!overlaps_turns) {
      gradient.template start<KeyTile>(a, passing.key_tile(turn));
      wait_for_products<0>();
      gradient.arrive();
      release_together(passing.key_ring, turn);
      gradient.add(a);
    }
  }
  if (overlaps_turns) {
    open_products();
    if (end_turn > 0) gradient.template start<KeyTile>(a, passing.key_tile(end_turn - 1));
    close_products();
    wait_for_products<0>();
    gradient.arrive();
  }

  // 6. Store the gradients of the rows, and their shares of those of the scale and of decays.
  UnfitRows unfit;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const Number *row = o.queries.at(segment.batch, query_of(half), head);
    const float norm = COSINE ? o.query_lengths[place_of(half)] : 1;
    const float along = COSINE || p.scale_gradient ? dot_with_row(gradient.total[0], half, row) * norm : 0;
    const float decayed = DECAY ? row_sum(decay_sum[half]) : 0;
    unfit.note(half * 8, zeros_of(gradient.total[0], half) + (along + norm) * 0 + decayed * 0);
    if (warp_row + fragment_row(half) >= row_count) continue;
    if (p.scale_gradient && leads_row()) p.scale_gradient[place_of(half)] = along;
    if (DECAY && p.query_sums && leads_row()) p.query_sums[place_of(half)] = decayed;
    store_row(p.queries_gradient.at(segment.batch, query_of(half), head), gradient.total[0], half, scale * norm,
              COSINE ? along * norm : 0, row);
  }
  if (unfit.rows != 0) query_gradients_again(p, head, first_row + warp_row, queries.end, unfit);
}

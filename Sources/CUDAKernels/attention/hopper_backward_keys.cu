// Exact attention, backward: the gradients of keys and values, for Hopper. See backward.cuh.
//
// Like backward_keys.cu, with the instructions of sm_90a: a block iterates over the queries of the group's
// heads in tiles of `QUERY_ROWS`. Products run while weights are computed; in half precision so do those of
// gradients, in planes only as far as registers allow.
//
// Compiled with what backward.cuh and hopper.cuh list, and
//   QUERY_ROWS    64, 96 or 128, in float32 also 48

#include "attention/backward_again.cuh"
#include "attention/backward_variants.h"
#include "attention/hopper.cuh"

constexpr int key_rows = group_rows * WARPGROUPS;
constexpr int query_columns = QUERY_ROWS / 8;
constexpr Registers registers = in_planes ? many_numbers : few_numbers;
constexpr bool overlaps_turns = !in_planes;
// Whether dPᵀ is kept in registers while Pᵀ is computed.
constexpr bool holds_both = !in_planes || KEY_DIMENSION + VALUE_DIMENSION <= 128;
// The numbers of a query: the shift, δ, the offset and, where there are any, its unit, that of its output's
// gradient, and its sum of decays.
enum QueryNumber {
  shift_number,
  delta_number,
  offset_number,
  query_unit_number,
  output_unit_number = query_unit_number + has_units,
  sum_number = output_unit_number + in_planes,
  rest_of_sum_number,
  most_numbers
};
constexpr int numbers = attention_passing_numbers(owns_keys_and_values, has_units, in_planes, decay_parts);
using Bias = BiasTile<QUERY_ROWS, key_rows>;
constexpr AttentionLayout layout_offsets =
    attention_layout(owns_keys_and_values, key_rows, QUERY_ROWS, KEY_DIMENSION, VALUE_DIMENSION, sizeof(Number),
                     stages, Bias::bytes, numbers, true);

using KeyTile = OperandTile<key_rows, KEY_DIMENSION>;
using ValueTile = OperandTile<key_rows, VALUE_DIMENSION>;
using QueryTile = OperandTile<QUERY_ROWS, KEY_DIMENSION>;
using OutputTile = OperandTile<QUERY_ROWS, VALUE_DIMENSION>;

// Addresses in the block's shared memory. A stage of the outputs' gradients also holds the queries' numbers.
struct Layout {
  u32 keys;
  u32 values = keys + layout_offsets.second_owned;
  u32 queries = keys + layout_offsets.first_passing;
  u32 outputs = keys + layout_offsets.second_passing;
  u32 biases = keys + layout_offsets.bias;
  u32 first_numbers = keys + layout_offsets.numbers;
  u32 key_barrier = keys + layout_offsets.barriers;
  Ring<stages> query_ring = {key_barrier + barrier_bytes};
  Ring<stages> output_ring = {key_barrier + barrier_bytes + Ring<stages>::bytes};

  __device__ Layout(u32 shared) : keys(shared) {}
  __device__ u32 query_tile(int turn) const { return queries + turn % stages * QueryTile::bytes; }
  __device__ u32 output_tile(int turn) const { return outputs + turn % stages * OutputTile::bytes; }
  __device__ u32 bias_tile(int turn) const { return biases + turn % stages * Bias::bytes; }
  // The start of a turn's numbers: kind after kind, each contiguous over all queries.
  __device__ u32 numbers_of(int turn) const {
    return first_numbers + turn % stages * numbers * QUERY_ROWS * float_bytes;
  }
};

// The iteration: every tile of queries that attends to one of the block's keys, for each head of the group.
struct PassingQueries {
  int first_tile, tile_count, first_head, turns;

  __device__ PassingQueries(const Segment &segment, Range keys, int first_head, int heads)
      : first_head(first_head) {
    const Range seeing = segment.band().seeing(keys, segment.query_count);
    first_tile = seeing.first / QUERY_ROWS;
    tile_count = seeing.end > seeing.first ? CEIL_DIVIDE(seeing.end, QUERY_ROWS) - first_tile : 0;
    turns = tile_count * heads;
  }
  __device__ int first_row(int turn) const { return (first_tile + turn % tile_count) * QUERY_ROWS; }
  __device__ int head(int turn) const { return first_head + turn / tile_count; }
};

// The work of the copying thread.
DEVICE void copy_all(const AttentionHopperBackwardParameters &p, const Layout &layout, const Segment &segment,
                     const PassingQueries &passing, int first_key, int group) {
  const int key = segment.key_start + first_key;
  arrive_expecting(layout.key_barrier, KeyTile::bytes + ValueTile::bytes);
  copy_operand<KeyTile>(layout.keys, p.maps.keys, layout.key_barrier, group, key, segment.batch);
  copy_operand<ValueTile>(layout.values, p.maps.values, layout.key_barrier, group, key, segment.batch);
  int turn = 0;
  for (int head = passing.first_head; turn < passing.turns; ++head) {
    int row = segment.query_start + passing.first_tile * QUERY_ROWS;
#pragma unroll 1
    for (int tile = 0; tile < passing.tile_count; ++tile, ++turn, row += QUERY_ROWS) {
      const u32 barrier = layout.query_ring.claim(turn, QueryTile::bytes + Bias::bytes);
      copy_operand<QueryTile>(layout.query_tile(turn), p.maps.queries, barrier, head, row, segment.batch);
      if (BIASED) {
        Bias::copy(layout.bias_tile(turn), p.bias, barrier, p.backward.operands.terms, segment.batch, head, row, key);
      }
      copy_operand<OutputTile>(layout.output_tile(turn), p.output_gradient,
                               layout.output_ring.claim(turn, OutputTile::bytes), head, row, segment.batch);
    }
  }
}

// The work of another warp: it copies the queries' numbers, which need not be aligned as TMA requires.
DEVICE void copy_query_numbers(const AttentionHopperBackwardParameters &mapped, const Layout &layout,
                               const Segment &segment, const PassingQueries &passing, u8 *shared) {
  constexpr int parts = CEIL_DIVIDE(QUERY_ROWS, warp_threads);
  constexpr bool is_whole = parts * warp_threads == QUERY_ROWS;
  const BackwardParameters &p = mapped.backward;
  const int lane = threadIdx.x % warp_threads;
  int turn = 0;
  for (int head = passing.first_head; turn < passing.turns; ++head) {
    const int first = passing.first_tile * QUERY_ROWS + lane;
    i64 place = p.operands.query_place(segment.batch, head, segment.query_start + first);
    const DecaySum *sums =
        decay_sums_of(p.operands.terms, segment, head, p.operands.heads, p.operands.query_length) + first;
    int rest = segment.query_count - first;
#pragma unroll 1
    for (int tile = 0; tile < passing.tile_count; ++tile, ++turn) {
      layout.output_ring.wait_for_place(turn);
      float *target = (float *)(shared + (layout.numbers_of(turn) - layout.keys)) + lane;
#pragma unroll
      for (int part = 0; part < parts; ++part) {
        const int row = part * warp_threads;
        const bool exists = rest > row;
        float own[most_numbers];
        own[shift_number] = exists ? __ldg(p.shift + place + row) : infinity;
        own[delta_number] = exists ? __ldg(p.delta + place + row) : 0;
        own[offset_number] = exists ? __ldg(p.offset + place + row) : 0;
        if (has_units) {
          own[query_unit_number] =
              exists ? row_unit(mapped.units.queries, p.operands.query_lengths, place + row) : 0;
        }
        if (in_planes) {
          own[output_unit_number] = exists ? plane_unit(mapped.units.output_gradient, place + row) : 0;
        }
        if (DECAY && in_planes) {
          own[sum_number] = exists ? __ldg(&sums[row].large) : 0;
          own[rest_of_sum_number] = exists ? __ldg(&sums[row].rest) : 0;
        } else if (DECAY) {
          own[sum_number] = exists ? difference(load_sum(sums + row), load_sum(sums - lane)) : 0;
        }
        // Otherwise the compiler stores each number before it loads the next: one latency per number, longer
        // together than a turn of the products.
        __syncwarp();
        if (is_whole || row + lane < QUERY_ROWS) {
#pragma unroll
          for (int i = 0; i < numbers; ++i) target[i * QUERY_ROWS + row] = own[i];
        }
      }
      place += QUERY_ROWS;
      sums += QUERY_ROWS;
      rest -= QUERY_ROWS;
      layout.output_ring.fill(turn);
    }
  }
}

extern "C" __global__ void __launch_bounds__(block_threads, 1)
    attention_hopper_backward_keys(const __grid_constant__ AttentionHopperBackwardParameters mapped) {
  extern __shared__ __align__(1024) u8 shared[];
  const BackwardParameters &p = mapped.backward;
  const Operands &o = p.operands;
  const Segment segment = o.segment();
  const int first_key = blockIdx.x * key_rows;
  const int key_count = min(key_rows, segment.keys - first_key);
  if (key_count <= 0) return;
  const int group = blockIdx.y;
  const int first_head = group * o.heads_per_group;
  const Range keys = {first_key, first_key + key_count};
  const bool is_hidden = KEY_MASK && KeptKeys<key_rows>(mapped.key_words, segment, first_key).are_none(key_count);
  const PassingQueries passing(segment, is_hidden ? Range{0, 0} : keys, first_head, o.heads_per_group);
  const Layout layout(shared_address(shared));

  if (threadIdx.x == 0) {
    open_barrier(layout.key_barrier, 1);
    layout.query_ring.open(readers / warp_threads);
    layout.output_ring.open(readers / warp_threads, 1 + warp_threads);
    show_barriers();
  }
  __syncthreads();
  if (threadIdx.x >= readers) {
    give_registers<registers.copying>();
    if (threadIdx.x == readers) {
      copy_all(mapped, layout, segment, passing, first_key, group);
    } else if (threadIdx.x / warp_threads == readers / warp_threads + 1) {
      copy_query_numbers(mapped, layout, segment, passing, shared);
    }
    return;
  }
  take_registers<registers.reading>();

  const int group_row = threadIdx.x / group_threads * group_rows;
  const int warp_row = threadIdx.x / warp_threads * 16;
  const float largest_scale = o.largest_scale(first_head);
  auto key_of = [&](int half) { return first_key + min(warp_row + fragment_row(half), key_count - 1); };
  float key_unit[2], value_unit[2];
  bool is_kept_row[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const i64 place = o.group_key_place(segment.batch, group, segment.key_start + key_of(half));
    key_unit[half] = row_unit(mapped.units.keys, o.key_lengths, place);
    value_unit[half] = plane_unit(mapped.units.values, place);
    is_kept_row[half] = is_kept(mapped.key_words, segment, key_of(half));
  }
  const bool hides_rows = KEY_MASK && !__all_sync(~0u, is_kept_row[0] && is_kept_row[1]);
  // The sums of one head, and those of all times zero.
  float decay_sum[2] = {}, sum_zeros[2] = {};
  SumOfProducts<KEY_DIMENSION / 8> keys_gradient;
  SumOfProducts<VALUE_DIMENSION / 8> values_gradient;
  LeftOperand<QUERY_ROWS / 16> ds = {};
  const Turns order(passing.turns);
  auto at = [&](u32 address) { return shared + (address - layout.keys); };
  wait_for_phase(layout.key_barrier, 0);

  for (int turn = 0; turn < passing.turns; ++turn) {
    const int first_query = passing.first_row(turn);
    const int head = passing.head(turn);
    const float scale = o.scale_of(head);
    const FragmentTerms<true, Bias> terms(o, segment, head, warp_row, key_of);
    // 1. Wait for the queries of this turn.
    layout.query_ring.wait(turn);
    layout.output_ring.wait(turn);
#if PACKED
    const int rest = segment.query_count - first_query;
    if (rest < QUERY_ROWS) {
      clear_operand<QueryTile>(at(layout.query_tile(turn)), rest);
      clear_operand<OutputTile>(at(layout.output_tile(turn)), rest);
      meet_own_group();
    }
#endif

    // 2. Start dK += dSᵀ Q of the previous turn, Sᵀ = K Qᵀ and dPᵀ = V dOᵀ. No product is in flight between
    // iterations, where the compiler would wait for it; before the first turn dS is zero.
    float weight[query_columns][4], slope[query_columns][4];
    auto multiply_outputs = [&] {
      start_product<ValueTile, OutputTile>(slope, layout.values, group_row, layout.output_tile(turn));
    };
    order.await();
    if (overlaps_turns) keys_gradient.template start<QueryTile>(ds, layout.query_tile(max(0, turn - 1)));
    start_product<KeyTile, QueryTile, true>(weight, layout.keys, group_row, layout.query_tile(turn));
    if (holds_both) multiply_outputs();
    order.pass_on(turn);
    if (overlaps_turns) {
      wait_for_products<2>();
      keys_gradient.arrive();
      if (turn > 0) release_together(layout.query_ring, turn - 1, BIASED);
    }

    // 3. Pᵀ = exp(scale Sᵀ − log Σ), masked
    wait_for_products<holds_both && !SOFTCAP>();
    keep(weight);
    auto numbers_at = [&](QueryNumber kind) {
      return (const float2 *)at(layout.numbers_of(turn)) + kind * QUERY_ROWS / 2;
    };
    const Units query_units(numbers_at(query_unit_number));
    const PlaneUnits output_units(numbers_at(output_unit_number));
    auto reduce = [&](float dp, int half, float delta, float unit) {
      return less(dp, value_unit[half] * unit, delta);
    };
    if (SOFTCAP) {
      keep(slope);
      transform(slope, reduce, numbers_at(delta_number), output_units);
    }
    const float2 *offsets = numbers_at(offset_number);
    const bool has_offset = any_offset<QUERY_ROWS>(offsets);
    if (scales_first) {
      // As where queries are owned, bit for bit: first the key's unit, then the query's with the scale.
      transform(weight, [&](float s, int half, float unit) {
        return s * key_unit[half] * (TERMS && has_units ? scale * unit : 1);
      }, query_units);
      const float size = has_units ? 1 : scale;
      terms.apply(weight, {size, size}, first_query, segment.query_count, has_offset,
                  {numbers_at(sum_number), numbers_at(rest_of_sum_number), at(layout.bias_tile(turn))},
                  [&](int column, int i, float derivative) { slope[column][i] *= derivative; });
    }
    const Range rows = {first_query, min(first_query + QUERY_ROWS, segment.query_count)};
    const Range whole = segment.band().whole_tiles(rows, key_rows);
    const bool masked = (int)blockIdx.x < whole.first || (int)blockIdx.x >= whole.end;
    const float factor = scale * log2_e;
    if (has_offset) {
      transform(weight, [&](float s, int half, float offset) { return less_offset(s, key_unit[half], offset); },
                offsets);
    }
    transform(weight, [&](float s, int half, float shift, float unit) {
      const float own = TERMS ? terms.unit() * log2_e : factor * (scales_first ? 1 : key_unit[half]) * unit;
      return exp2_fast(fmaf(own, s, -shift));
    }, numbers_at(shift_number), query_units);
    if (masked) {
      hide(weight, 0, [&](int row, int column) {
        return segment.band().sees(rows.first + column, first_key + warp_row + row);
      });
    }
    if (hides_rows) hide(weight, 0, [&](int row, int) { return is_kept_row[row / 8]; });
    if (terms.is_cut(rows, keys)) terms.hide_cut(weight, 0, first_query, segment.query_count);

    // 4. dV += Pᵀ dO
    if (!overlaps_turns && holds_both && !SOFTCAP) {
      wait_for_products<0>();
      keep(slope);
    }
    const LeftOperand<QUERY_ROWS / 16> p_left = as_left(weight, output_units);
    if (overlaps_turns) {
      values_gradient.template start<OutputTile>(p_left, layout.output_tile(turn));
      if (!SOFTCAP) {
        wait_for_products<1>();
        keep(slope);
      }
    } else {
      values_gradient.template add_at_once<OutputTile>(p_left, layout.output_tile(turn));
    }

    // 5. dS = P ∘ (dP − δ)
    if (!holds_both) {
      multiply_outputs();
      wait_for_products<0>();
      keep(slope);
    }
    const float share = !HEAD_SCALES || scale == largest_scale ? 1 : scale / largest_scale;
    combine(slope, weight, [&](float dp, float weight, int half, float delta, float unit, float query_unit) {
      const float ds = weight * (SOFTCAP ? dp : reduce(dp, half, delta, unit));
      if (DECAY) decay_sum[half] += ds;
      // In planes the queries' units are applied where dS is split.
      return ds * share * (COSINE && !in_planes ? query_unit : 1);
    }, numbers_at(delta_number), output_units, query_units);
    ds = as_left(slope, query_units);

    // 6. dK += dSᵀ Q, or its operand for the next turn.
    if (overlaps_turns) {
      wait_for_products<0>();
      values_gradient.arrive();
    }
    release_together(layout.output_ring, turn);
    if (DECAY && turn % passing.tile_count == passing.tile_count - 1) {
      // These were the last queries of the head.
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float sum = row_sum(decay_sum[half]);
        if (p.key_sums && leads_row() && warp_row + fragment_row(half) < key_count) {
          p.key_sums[o.key_place(segment.batch, head, segment.key_start + key_of(half))] = sum;
        }
        decay_sum[half] = 0;
        sum_zeros[half] += sum * 0;
      }
    }
    if (!overlaps_turns) {
      keys_gradient.template add_at_once<QueryTile>(ds, layout.query_tile(turn));
      release_together(layout.query_ring, turn, BIASED);
    }
  }
  if (overlaps_turns) {
    open_products();
    if (passing.turns > 0) keys_gradient.template start<QueryTile>(ds, layout.query_tile(passing.turns - 1));
    close_products();
    wait_for_products<0>();
    keys_gradient.arrive();
  }

  // 7. Store the gradients of the rows.
  UnfitRows unfit;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = warp_row + fragment_row(half);
    const int key = segment.key_start + key_of(half);
    const Number *own = o.keys.at(segment.batch, key, group);
    const float norm = COSINE ? *o.key_length_at(segment.batch, key, group) : 1;
    const float along = COSINE ? dot_with_row(keys_gradient.total[0], half, own) * norm : 0;
    unfit.note(half * 8, zeros_of(keys_gradient.total[0], half) + zeros_of(values_gradient.total[0], half) +
                             (along + norm) * 0 + sum_zeros[half]);
    if (row >= key_count) continue;
    store_row(p.keys_gradient.at(segment.batch, key, group), keys_gradient.total[0], half, largest_scale * norm,
              along * norm, own);
    store_row(p.values_gradient.at(segment.batch, key, group), values_gradient.total[0], half, 1);
  }
  if (unfit.rows != 0) {
    key_gradients_again<true, true>(p, group, first_key + warp_row, first_key + key_count, unfit);
  }
}

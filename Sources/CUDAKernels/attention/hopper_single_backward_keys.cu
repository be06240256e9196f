// Exact attention, backward: the gradients of keys and values, in float32 for Hopper. See backward.cuh.
//
// As hopper_backward_keys.cu, but tiles are of planes, and the sums of a tile's queries are added by the
// threads, 64 columns at a time: two gradients leave registers for no more.
//
// Compiled with what backward.cuh lists, tf32x3 without KEY_MASK, COSINE and TERMS, and
//   KEY_DIMENSION, VALUE_DIMENSION   64 or 128
//   QUERY_ROWS                       48, 64, 96 or 128
//   STAGES                           pipeline stages
//   WARPGROUPS                       as hopper.cuh has it

#include "attention/backward_again.cuh"
#include "attention/backward_variants.h"
#include "attention/hopper_single.cuh"
#include "attention/layout.h"

constexpr int key_rows = group_rows * WARPGROUPS;
constexpr int query_columns = QUERY_ROWS / 8;
constexpr int sum_columns = block_columns / 8;
constexpr int stages = STAGES;
constexpr AttentionLayout layout_offsets =
    attention_layout(owns_keys_and_values, key_rows, QUERY_ROWS, KEY_DIMENSION, VALUE_DIMENSION, sizeof(Number), stages,
                     attention_passing_numbers(owns_keys_and_values, false, true), true);
// Whether registers hold dPᵀ while Pᵀ is computed.
constexpr bool has_room = KEY_DIMENSION + VALUE_DIMENSION <= 128;

using KeyTile = PlaneTile<key_rows, KEY_DIMENSION>;
using ValueTile = PlaneTile<key_rows, VALUE_DIMENSION>;
using QueryTile = PlaneTile<QUERY_ROWS, KEY_DIMENSION>;
using OutputTile = PlaneTile<QUERY_ROWS, VALUE_DIMENSION>;
using Passing = PassingQueries<QUERY_ROWS>;

// Addresses of the block's shared memory. A stage of queries has their shifts, units and offsets, one of their
// outputs' gradients their δ and units.
struct Layout {
  static constexpr u32 number_bytes = QUERY_ROWS * 4;

  u32 keys;
  u32 values = keys + layout_offsets.second_owned;
  u32 queries = keys + layout_offsets.first_passing;
  u32 outputs = keys + layout_offsets.second_passing;
  u32 query_numbers = keys + layout_offsets.numbers;
  u32 output_numbers = query_numbers + stages * 3 * number_bytes;
  u32 key_barrier = keys + layout_offsets.barriers;
  Ring<stages> query_ring = {key_barrier + barrier_bytes};
  Ring<stages> output_ring = {key_barrier + barrier_bytes + Ring<stages>::bytes};

  __device__ Layout(u32 shared) : keys(shared) {}
  __device__ u32 query_tile(int turn) const { return queries + turn % stages * QueryTile::bytes; }
  __device__ u32 output_tile(int turn) const { return outputs + turn % stages * OutputTile::bytes; }
  __device__ u32 shifts(int turn) const { return query_numbers + turn % stages * 3 * number_bytes; }
  __device__ u32 query_units(int turn) const { return shifts(turn) + number_bytes; }
  __device__ u32 offsets(int turn) const { return shifts(turn) + 2 * number_bytes; }
  __device__ u32 deltas(int turn) const { return output_numbers + turn % stages * 2 * number_bytes; }
  __device__ u32 output_units(int turn) const { return deltas(turn) + number_bytes; }
};

// What the copying thread does.
DEVICE void copy_all(const AttentionHopperSingleBackwardParameters &p, const Layout &layout, const Segment &segment,
                     const Passing &passing, int first_key, int group) {
  const int key = segment.key_start + first_key;
  arrive_expecting(layout.key_barrier, KeyTile::bytes + ValueTile::bytes);
  copy_planes<KeyTile>(layout.keys, p.maps.keys, layout.key_barrier, group, key, segment.batch);
  copy_planes<ValueTile>(layout.values, p.maps.values, layout.key_barrier, group, key, segment.batch);
  int turn = 0;
#pragma unroll 1
  for (int head = passing.first_head; turn < passing.turns; ++head) {
    int row = segment.query_start + passing.first_tile * QUERY_ROWS;
#pragma unroll 1
    for (int tile = 0; tile < passing.tile_count; ++tile, ++turn, row += QUERY_ROWS) {
      copy_planes<QueryTile>(layout.query_tile(turn), p.maps.queries,
                             layout.query_ring.claim(turn, QueryTile::bytes), head, row, segment.batch);
      copy_planes<OutputTile>(layout.output_tile(turn), p.output_gradient,
                              layout.output_ring.claim(turn, OutputTile::bytes), head, row,
                              segment.batch);
    }
  }
}

// What one warp does for each ring: it copies a number of each query, its unit, and, with three `Kinds` of
// them, its offset.
template <int Kinds>
DEVICE void copy_query_numbers(const Operands &o, const Ring<stages> &ring, u32 targets, const float *numbers,
                               const float *units, const float *offsets, float missing,
                               const Segment &segment, const Passing &passing) {
  int turn = 0;
#pragma unroll 1
  for (int head = passing.first_head; turn < passing.turns; ++head) {
    const int first = passing.first_tile * QUERY_ROWS;
    i64 place = o.query_place(segment.batch, head, segment.query_start + first);
    int rest = segment.query_count - first;
#pragma unroll 1
    for (int tile = 0; tile < passing.tile_count; ++tile, ++turn) {
      ring.wait_for_place(turn);
      const u32 target = targets + turn % stages * Kinds * Layout::number_bytes;
      copy_numbers<QUERY_ROWS>(target, numbers + place, rest, missing);
      copy_numbers<QUERY_ROWS>(target + Layout::number_bytes, units + place, rest, 0);
      if (Kinds > 2) {
        copy_numbers<QUERY_ROWS>(target + 2 * Layout::number_bytes, offsets + place, rest, 0);
      }
      ring.fill(turn);
      place += QUERY_ROWS;
      rest -= QUERY_ROWS;
    }
  }
}

// gradient += a times the tile's rows.
template <typename T, int Columns>
DEVICE void add_products(float (&gradient)[Columns][4], const PlanesLeft<QUERY_ROWS / 16> &a, u32 tile,
                         const float (&row_units)[2]) {
#pragma unroll
  for (int block = 0; block < Columns / sum_columns; ++block) {
    float sum[sum_columns][4];
    open_products();
    multiply_left<T>(sum, a, tile, block);
    close_products();
    wait_for_products<0>();
    keep(sum);
    add_in_units(gradient + block * sum_columns, sum, row_units);
  }
}

extern "C" __global__ void __launch_bounds__(block_threads, 1)
    attention_hopper_single_backward_keys(const __grid_constant__ AttentionHopperSingleBackwardParameters mapped) {
  extern __shared__ __align__(1024) u8 shared[];
  const BackwardParameters &p = mapped.backward;
  const Operands &o = p.operands;
  const Segment segment = o.segment();
  const int first_key = blockIdx.x * key_rows;
  const int key_count = min(key_rows, segment.keys - first_key);
  if (key_count <= 0) return;
  const int group = blockIdx.y;
  const int first_head = group * o.heads_per_group;
  const Passing passing(segment, {first_key, first_key + key_count}, first_head, o.heads_per_group);
  const Layout layout(shared_address(shared));

  if (threadIdx.x == 0) {
    open_barrier(layout.key_barrier, 1);
    layout.query_ring.open(readers / warp_threads, 1 + warp_threads);
    layout.output_ring.open(readers / warp_threads, 1 + warp_threads);
    show_barriers();
  }
  __syncthreads();
  if (threadIdx.x >= readers) {
    give_registers<copying_warp_registers>();
    const int warp = (threadIdx.x - readers) / warp_threads;
    if (threadIdx.x == readers) {
      copy_all(mapped, layout, segment, passing, first_key, group);
    } else if (warp == 1) {
      copy_query_numbers<3>(o, layout.query_ring, layout.query_numbers, p.shift, mapped.units.queries,
                            p.offset, infinity, segment, passing);
    } else if (warp == 2) {
      copy_query_numbers<2>(o, layout.output_ring, layout.output_numbers, p.delta,
                            mapped.units.output_gradient, nullptr, 0, segment, passing);
    }
    return;
  }
  take_registers<planes_registers>();

  const int lane = threadIdx.x % warp_threads;
  const int group_row = threadIdx.x / group_threads * group_rows;
  const int warp_row = threadIdx.x / warp_threads * 16;
  const float largest_scale = o.largest_scale(first_head);
  float key_unit[2], value_unit[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = first_key + min(warp_row + half * 8 + lane / 4, key_count - 1);
    const i64 place = o.group_key_place(segment.batch, group, segment.key_start + row);
    key_unit[half] = mapped.units.keys[place];
    value_unit[half] = mapped.units.values[place];
  }
  float keys_gradient[KEY_DIMENSION / 8][4] = {};
  float values_gradient[VALUE_DIMENSION / 8][4] = {};
  const Turns order(passing.turns);
  auto numbers_at = [&](u32 address) { return (const float2 *)(shared + (address - layout.keys)); };
  wait_for_phase(layout.key_barrier, 0);

  for (int turn = 0; turn < passing.turns; ++turn) {
    const int first_query = passing.first_row(turn);
    const float scale = o.scale_of(passing.head(turn));
    // 1. The queries of this turn are there.
    layout.query_ring.wait(turn);
    layout.output_ring.wait(turn);
#if PACKED
    const int rest = segment.query_count - first_query;
    if (rest < QUERY_ROWS) {
      clear_planes<QueryTile>(shared + (layout.query_tile(turn) - layout.keys), rest);
      clear_planes<OutputTile>(shared + (layout.output_tile(turn) - layout.keys), rest);
      meet_own_group();
    }
#endif

    // 2. Sᵀ = K Qᵀ starts, and dPᵀ = V dOᵀ.
    float weight[query_columns][4], slope[query_columns][4], row_units[2];
    auto multiply_outputs = [&] {
      open_products();
      multiply_planes<ValueTile, OutputTile>(slope, layout.values, group_row, layout.output_tile(turn));
      close_products();
    };
    order.await();
    open_products();
    multiply_planes<KeyTile, QueryTile, true>(weight, layout.keys, group_row, layout.query_tile(turn));
    close_products();
    if (has_room) multiply_outputs();
    order.pass_on(turn);

    // 3. Pᵀ = exp(scale Sᵀ − log Σ), masked
    wait_for_products<has_room>();
    keep(weight);
    const float2 *shifts = numbers_at(layout.shifts(turn));
    const float2 *query_units = numbers_at(layout.query_units(turn));
    const Range rows = {first_query, min(first_query + QUERY_ROWS, segment.query_count)};
    const Range whole = segment.band().whole_tiles(rows, key_rows);
    const bool masked = (int)blockIdx.x < whole.first || (int)blockIdx.x >= whole.end;
    const float factor = scale * log2_e;
    const float2 *offsets = numbers_at(layout.offsets(turn));
    if (any_offset<QUERY_ROWS>(offsets)) subtract_from_columns(weight, offsets, key_unit);
#pragma unroll
    for (int column = 0; column < query_columns; ++column) {
      const float2 shift = shifts[column * 4 + lane % 4];
      const float2 unit = query_units[column * 4 + lane % 4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float &value = weight[column][i];
        value = exp2_fast(fmaf(factor * key_unit[i / 2] * (i % 2 ? unit.y : unit.x), value,
                               -(i % 2 ? shift.y : shift.x)));
      }
    }
    if (masked) {
      hide(weight, 0, [&](int row, int column) {
        return segment.band().sees(rows.first + column, first_key + warp_row + row);
      });
    }

    // 4. dV += Pᵀ dO
    const float2 *output_units = numbers_at(layout.output_units(turn));
    if (has_room) {
      wait_for_products<0>();
      keep(slope);
    }
    add_products<OutputTile>(values_gradient, as_planes(weight, output_units, row_units),
                             layout.output_tile(turn), row_units);

    // 5. dS = P ∘ (dP − δ)
    if (!has_room) {
      multiply_outputs();
      wait_for_products<0>();
      keep(slope);
    }
    const float2 *deltas = numbers_at(layout.deltas(turn));
    const float share = !HEAD_SCALES || scale == largest_scale ? 1 : scale / largest_scale;
#pragma unroll
    for (int column = 0; column < query_columns; ++column) {
      const float2 delta = deltas[column * 4 + lane % 4];
      const float2 unit = output_units[column * 4 + lane % 4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float &ds = slope[column][i];
        ds = weight[column][i] * share *
             fmaf(value_unit[i / 2] * (i % 2 ? unit.y : unit.x), ds, -(i % 2 ? delta.y : delta.x));
      }
    }
    release_together(layout.output_ring, turn);

    // 6. dK += dSᵀ Q
    add_products<QueryTile>(keys_gradient, as_planes(slope, query_units, row_units),
                            layout.query_tile(turn), row_units);
    release_together(layout.query_ring, turn);
  }

  // 7. The rows' gradients.
  UnfitRows unfit;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = warp_row + half * 8 + lane / 4;
    unfit.note(half * 8, zeros_of(keys_gradient, half) + zeros_of(values_gradient, half));
    if (row >= key_count) continue;
    const int key = segment.key_start + first_key + row;
    store_row<KeyTile::Plane>(p.keys_gradient.at(segment.batch, key, group), keys_gradient, half,
                              largest_scale, 0, shared, row);
    store_row<ValueTile::Plane>(p.values_gradient.at(segment.batch, key, group), values_gradient, half, 1, 0,
                                shared, row);
  }
  if (unfit.rows != 0) {
    key_gradients_again<true, true>(p, group, first_key + warp_row, first_key + key_count, unfit);
  }
}

// Exact attention, backward: the gradients of keys and values, for Hopper. See backward.cuh.
//
// As backward_keys.cu, with the instructions of sm_90a: the queries of the group's heads pass in tiles of
// `QUERY_ROWS`. Products run while weights are computed.
//
// Compiled with what backward.cuh lists, half precision without KEY_MASK, COSINE and TERMS, and
//   KEY_DIMENSION, VALUE_DIMENSION   64 or 128
//   QUERY_ROWS                       64, 96 or 128
//   STAGES                           pipeline stages
//   WARPGROUPS                       as hopper.cuh has it

#include "attention/backward_again.cuh"
#include "attention/backward_variants.h"
#include "attention/hopper.cuh"
#include "attention/layout.h"

constexpr int key_rows = group_rows * WARPGROUPS;
constexpr int query_columns = QUERY_ROWS / 8;
constexpr int stages = STAGES;
// Of a query: the shift, δ, the offset.
constexpr int numbers = attention_passing_numbers(owns_keys_and_values, false, false);
constexpr AttentionLayout layout_offsets =
    attention_layout(owns_keys_and_values, key_rows, QUERY_ROWS, KEY_DIMENSION, VALUE_DIMENSION, sizeof(Number), stages,
                     numbers, true);

using KeyTile = BlockedTile<Element, key_rows, KEY_DIMENSION>;
using ValueTile = BlockedTile<Element, key_rows, VALUE_DIMENSION>;
using QueryTile = BlockedTile<Element, QUERY_ROWS, KEY_DIMENSION>;
using OutputTile = BlockedTile<Element, QUERY_ROWS, VALUE_DIMENSION>;
using Passing = PassingQueries<QUERY_ROWS>;

// Addresses of the block's shared memory.
struct Layout {
  u32 keys;
  u32 values = keys + layout_offsets.second_owned;
  u32 queries = keys + layout_offsets.first_passing;
  u32 outputs = keys + layout_offsets.second_passing;
  u32 number_tiles = keys + layout_offsets.numbers;
  u32 key_barrier = keys + layout_offsets.barriers;
  Ring<stages> query_ring = {key_barrier + barrier_bytes};
  Ring<stages> output_ring = {key_barrier + barrier_bytes + Ring<stages>::bytes};

  __device__ Layout(u32 shared) : keys(shared) {}
  __device__ u32 query_tile(int turn) const { return queries + turn % stages * QueryTile::bytes; }
  __device__ u32 output_tile(int turn) const { return outputs + turn % stages * OutputTile::bytes; }
  // Where the shifts of a turn's queries begin; behind them lie their δ and offsets.
  __device__ u32 shifts(int turn) const {
    return number_tiles + turn % stages * numbers * QUERY_ROWS * 4;
  }
};

// What the copying thread does.
DEVICE void copy_all(const AttentionHopperBackwardParameters &p, const Layout &layout, const Segment &segment,
                     const Passing &passing, int first_key, int group) {
  const int key = segment.key_start + first_key;
  arrive_expecting(layout.key_barrier, KeyTile::bytes + ValueTile::bytes);
  copy_blocks<KeyTile>(layout.keys, p.maps.keys, layout.key_barrier, group, key, segment.batch);
  copy_blocks<ValueTile>(layout.values, p.maps.values, layout.key_barrier, group, key, segment.batch);
  int turn = 0;
  for (int head = passing.first_head; turn < passing.turns; ++head) {
    int row = segment.query_start + passing.first_tile * QUERY_ROWS;
#pragma unroll 1
    for (int tile = 0; tile < passing.tile_count; ++tile, ++turn, row += QUERY_ROWS) {
      copy_blocks<QueryTile>(layout.query_tile(turn), p.maps.queries,
                             layout.query_ring.claim(turn, QueryTile::bytes), head, row, segment.batch);
      copy_blocks<OutputTile>(layout.output_tile(turn), p.output_gradient,
                              layout.output_ring.claim(turn, OutputTile::bytes), head, row,
                              segment.batch);
    }
  }
}

// What another warp does: the queries' numbers, which need not lie where the unit could copy them.
DEVICE void copy_numbers(const BackwardParameters &p, const Layout &layout, const Segment &segment,
                         const Passing &passing, u8 *shared) {
  int turn = 0;
  for (int head = passing.first_head; turn < passing.turns; ++head) {
    const int first = passing.first_tile * QUERY_ROWS + threadIdx.x % warp_threads;
    i64 place = p.operands.query_place(segment.batch, head, segment.query_start + first);
    int rest = segment.query_count - first;
#pragma unroll 1
    for (int tile = 0; tile < passing.tile_count; ++tile, ++turn) {
      layout.output_ring.wait_for_place(turn);
      float *shift = (float *)(shared + (layout.shifts(turn) - layout.keys)) + threadIdx.x % warp_threads;
#pragma unroll 1
      for (int part = 0; part < QUERY_ROWS / warp_threads; ++part) {
        // Loads before stores, which the compiler would not pass: one latency, not three.
        const bool exists = rest > 0;
        const float own_shift = exists ? __ldg(p.shift + place) : infinity;
        const float own_delta = exists ? __ldg(p.delta + place) : 0;
        const float own_offset = exists ? __ldg(p.offset + place) : 0;
        shift[0] = own_shift;
        shift[QUERY_ROWS] = own_delta;
        shift[2 * QUERY_ROWS] = own_offset;
        shift += warp_threads;
        place += warp_threads;
        rest -= warp_threads;
      }
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
  const Passing passing(segment, {first_key, first_key + key_count}, first_head, o.heads_per_group);
  const Layout layout(shared_address(shared));

  if (threadIdx.x == 0) {
    open_barrier(layout.key_barrier, 1);
    layout.query_ring.open(readers / warp_threads);
    layout.output_ring.open(readers / warp_threads, 1 + warp_threads);
    show_barriers();
  }
  __syncthreads();
  if (threadIdx.x >= readers) {
    give_registers<copying_registers>();
    if (threadIdx.x == readers) {
      copy_all(mapped, layout, segment, passing, first_key, group);
    } else if (threadIdx.x / warp_threads == readers / warp_threads + 1) {
      copy_numbers(p, layout, segment, passing, shared);
    }
    return;
  }
  take_registers<reading_registers>();

  const int lane = threadIdx.x % warp_threads;
  const int group_row = threadIdx.x / group_threads * group_rows;
  const int warp_row = threadIdx.x / warp_threads * 16;
  const float largest_scale = o.largest_scale(first_head);
  float keys_gradient[KEY_DIMENSION / 8][4] = {};
  float values_gradient[VALUE_DIMENSION / 8][4] = {};
  Element::Left a[QUERY_ROWS / 16], b[QUERY_ROWS / 16] = {};
  const Turns order(passing.turns);
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
      clear_rows<QueryTile>(shared + (layout.query_tile(turn) - layout.keys), rest);
      clear_rows<OutputTile>(shared + (layout.output_tile(turn) - layout.keys), rest);
      meet_own_group();
    }
#endif

    // 2. dK += dSᵀ Q of the turn before, Sᵀ = K Qᵀ and dPᵀ = V dOᵀ start. Nothing is issued over the loop's
    // edge, where the compiler would wait for it; before the first turn dS is zero.
    order.await();
    open_products();
    add_registers<Element, QueryTile>(keys_gradient, b, layout.query_tile(max(0, turn - 1)));
    close_products();
    float weight[query_columns][4], slope[query_columns][4];
    open_products();
    multiply_tiles<Element, KeyTile, QueryTile>(weight, layout.keys, group_row, layout.query_tile(turn));
    close_products();
    open_products();
    multiply_tiles<Element, ValueTile, OutputTile>(slope, layout.values, group_row, layout.output_tile(turn));
    close_products();

    order.pass_on(turn);
    wait_for_products<2>();
    keep(keys_gradient);
    if (turn > 0) release(layout.query_ring, turn - 1);

    // 3. Pᵀ = exp(scale Sᵀ − log Σ), masked
    wait_for_products<1>();
    keep(weight);
    const float2 *shifts = (const float2 *)(shared + (layout.shifts(turn) - layout.keys));
    const float2 *deltas = shifts + QUERY_ROWS / 2;
    const Range rows = {first_query, min(first_query + QUERY_ROWS, segment.query_count)};
    const Range whole = segment.band().whole_tiles(rows, key_rows);
    const bool masked = (int)blockIdx.x < whole.first || (int)blockIdx.x >= whole.end;
    const float factor = scale * log2_e;
    const float2 *offsets = deltas + QUERY_ROWS / 2;
    if (any_offset<QUERY_ROWS>(offsets)) subtract_from_columns(weight, offsets, {1, 1});
#pragma unroll
    for (int column = 0; column < query_columns; ++column) {
      const float2 shift = shifts[column * 4 + lane % 4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float &value = weight[column][i];
        value = exp2_fast(fmaf(factor, value, -(i % 2 ? shift.y : shift.x)));
      }
    }
    if (masked) {
      hide(weight, 0, [&](int row, int column) {
        return segment.band().sees(rows.first + column, first_key + warp_row + row);
      });
    }

    // 4. dV += Pᵀ dO starts.
#pragma unroll
    for (int k = 0; k < QUERY_ROWS / 16; ++k) {
      a[k] = Element::as_left(weight[2 * k], weight[2 * k + 1]);
    }
    open_products();
    add_registers<Element, OutputTile>(values_gradient, a, layout.output_tile(turn));
    close_products();

    // 5. dS = P ∘ (dP − δ)
    wait_for_products<1>();
    keep(slope);
    const float share = !HEAD_SCALES || scale == largest_scale ? 1 : scale / largest_scale;
#pragma unroll
    for (int column = 0; column < query_columns; ++column) {
      const float2 delta = deltas[column * 4 + lane % 4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float &ds = slope[column][i];
        ds = weight[column][i] * share * (ds - (i % 2 ? delta.y : delta.x));
      }
    }

#pragma unroll
    for (int k = 0; k < QUERY_ROWS / 16; ++k) {
      b[k] = Element::as_left(slope[2 * k], slope[2 * k + 1]);
    }
    wait_for_products<0>();
    keep(values_gradient);
    release(layout.output_ring, turn);
  }
  open_products();
  if (passing.turns > 0) {
    add_registers<Element, QueryTile>(keys_gradient, b, layout.query_tile(passing.turns - 1));
  }
  close_products();
  wait_for_products<0>();
  keep(keys_gradient);

  // 6. The rows' gradients.
  UnfitRows unfit;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = warp_row + half * 8 + lane / 4;
    unfit.note(half * 8, zeros_of(keys_gradient, half) + zeros_of(values_gradient, half));
    if (row >= key_count) continue;
    const int key = segment.key_start + first_key + row;
    store_row<KeyTile>(p.keys_gradient.at(segment.batch, key, group), keys_gradient, half,
                                largest_scale, 0, shared, row);
    store_row<ValueTile>(p.values_gradient.at(segment.batch, key, group), values_gradient,
                                  half, 1, 0, shared, row);
  }
  if (unfit.rows != 0) {
    key_gradients_again<true, true>(p, group, first_key + warp_row, first_key + key_count, unfit);
  }
}

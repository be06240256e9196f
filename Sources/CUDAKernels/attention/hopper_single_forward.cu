// Exact attention, forward, in float32 for Hopper: O = softmax(scale Q Kᵀ, masked) V and the rows'
// log-sum-exp.
//
// As hopper_forward.cu, but tiles are of planes, and the sum of a tile's values is added by the threads.
//
// Compiled with what operands.cuh lists, tf32x3 without KEY_MASK, COSINE and TERMS, and
//   KEY_DIMENSION, VALUE_DIMENSION   64 or 128
//   KEY_ROWS                         48, 64, 96 or 128
//   STAGES                           pipeline stages
//   WARPGROUPS                       as hopper.cuh has it

#include "attention/forward.cuh"
#include "attention/hopper_single.cuh"

constexpr int query_rows = group_rows * WARPGROUPS;
constexpr int score_columns = KEY_ROWS / 8;
constexpr AttentionLayout layout_offsets =
    attention_layout(owns_queries, query_rows, KEY_ROWS, KEY_DIMENSION, VALUE_DIMENSION, sizeof(Number), STAGES,
                     attention_passing_numbers(owns_queries, false, true), true);
constexpr int value_columns = VALUE_DIMENSION / 8;

using QueryTile = PlaneTile<query_rows, KEY_DIMENSION>;
using KeyTile = PlaneTile<KEY_ROWS, KEY_DIMENSION>;
using ValueTile = PlaneTile<KEY_ROWS, VALUE_DIMENSION>;
using OutputTile = Tile<Element, query_rows, VALUE_DIMENSION>;

extern "C" __global__ void __launch_bounds__(block_threads, 1)
    attention_hopper_single_forward(const __grid_constant__ AttentionHopperSingleForwardParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  const Operands &o = p.forward.operands;
  const Segment segment = o.segment();
  // Later queries of a causal sequence see more keys: the longest work starts first.
  const int first_row = (gridDim.x - 1 - blockIdx.x) * query_rows;
  const int row_count = min(query_rows, segment.query_count - first_row);
  if (row_count <= 0) return;
  const int head = blockIdx.y;
  const Range queries = {first_row, first_row + row_count};
  const Range tiles = segment.band().visible_tiles(queries, KEY_ROWS);
  const Range whole = segment.band().whole_tiles(queries, KEY_ROWS);
  const u32 query_tile = shared_address(shared);
  const PassingKeys<KeyTile, ValueTile, STAGES> passing(query_tile, layout_offsets);

  if (threadIdx.x == 0) passing.open();
  __syncthreads();
  if (threadIdx.x >= readers) {
    give_registers<copying_warp_registers>();
    const int group = head / o.heads_per_group;
    if (threadIdx.x == readers) {
      arrive_expecting(passing.query_barrier, QueryTile::bytes);
      copy_planes<QueryTile>(query_tile, p.maps.queries, passing.query_barrier, head,
                             segment.query_start + first_row, segment.batch);
      passing.copy(p.maps, segment, tiles, group);
    } else if (threadIdx.x / warp_threads == readers / warp_threads + 1) {
      passing.copy_units(p.units, o.group_key_place(segment.batch, group, segment.key_start),
                         segment.keys, tiles);
    }
    return;
  }
  take_registers<planes_registers>();

  const int lane = threadIdx.x % warp_threads;
  const int group = threadIdx.x / group_threads;
  const int warp_row = threadIdx.x / warp_threads * 16;
  const float scale = o.scale_of(head);
  PerRow<1> factor;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = first_row + min(warp_row + half * 8 + lane / 4, row_count - 1);
    const float unit = p.units.queries[o.query_place(segment.batch, head, segment.query_start + row)];
    factor[0][half] = fmaxf(fabsf(scale) * log2_e * unit, smallest_factor);
  }
  RunningBound<1> softmax(0);
  PerRow<1> shrink;
  float output[1][value_columns][4] = {};
  float score[1][score_columns][4], sum[value_columns][4];
  PlanesLeft<KEY_ROWS / 16> a;
  float row_units[2];
  auto at = [&](u32 address) { return shared + (address - query_tile); };

  // Masks a tile's scores and turns them into weights, as powers of two.
  auto weigh_tile = [&](int turn) {
    const float2 *units = (const float2 *)at(passing.key_units_of(turn));
#pragma unroll
    for (int column = 0; column < score_columns; ++column) {
      const float2 unit = units[column * 4 + lane % 4];
#pragma unroll
      for (int i = 0; i < 4; ++i) score[0][column][i] *= i % 2 ? unit.y : unit.x;
    }
    release_together(passing.key_ring, turn);
    const int tile = tiles.first + turn;
    if (tile < whole.first || tile >= whole.end) {
#pragma unroll
      for (int column = 0; column < score_columns; ++column) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int key = tile * KEY_ROWS + column * 8 + lane % 4 * 2 + i % 2;
          const int row = first_row + warp_row + i / 2 * 8 + lane / 4;
          if (!segment.band().sees(row, key)) score[0][column][i] = -infinity;
        }
      }
    }
    const bool shrinks = softmax.raise_bounds(score, factor, shrink);
#pragma unroll
    for (int step = 0; step < KEY_ROWS / 16; ++step) weigh(softmax, score, step, factor);
    return shrinks;
  };
  auto await_values = [&](int turn) {
    passing.value_ring.wait(turn);
#if PACKED
    const int rest = segment.keys - (tiles.first + turn) * KEY_ROWS;
    if (rest < KEY_ROWS) {
      clear_planes<ValueTile>(at(passing.value_tile(turn)), rest);
      meet_own_group();
    }
#endif
  };
  auto multiply_values = [&](int turn) {
    open_products();
    multiply_left<ValueTile>(sum, a, passing.value_tile(turn), 0);
    close_products();
  };
  auto take_values = [&](int turn) {
    wait_for_products<0>();
    keep(sum);
    release(passing.value_ring, turn);
    add_in_units(output[0], sum, row_units);
  };

  // 1. Queries arrive. A negative scale turns the order of the scores around: the queries' signs are
  // turned instead.
  wait_for_phase(passing.query_barrier, 0);
  if (scale < 0) {
    for (u32 place = threadIdx.x * 4; place < QueryTile::bytes; place += readers * 4) {
      *(u32 *)(shared + place) ^= f16::sign_bits;
    }
    show_to_products();
    synchronize(all_readers, readers);
  }

  const int turns = tiles.end - tiles.first;
  const Turns order(turns);
  for (int turn = 0; turn < turns; ++turn) {
    // 2. S = Q Kᵀ, and P V of the tile before while S becomes weights.
    passing.key_ring.wait(turn);
    order.await();
    open_products();
    multiply_planes<QueryTile, KeyTile>(score[0], query_tile, group * group_rows, passing.key_tile(turn));
    close_products();
    if (turn > 0) {
      multiply_values(turn - 1);
      order.pass_on(turn);
      wait_for_products<1>();
    } else {
      order.pass_on(turn);
      wait_for_products<0>();
    }
    keep(score[0]);
    const bool shrinks = weigh_tile(turn);
    if (turn > 0) take_values(turn - 1);
    if (shrinks) softmax.scale(output, shrink);
    await_values(turn);
    a = as_planes(score[0], (const float2 *)at(passing.value_units_of(turn)), row_units);
  }

  // 3. The last tile's values. Outputs go where other groups' queries are.
  if (turns > 0) {
    multiply_values(turns - 1);
    take_values(turns - 1);
  }
  synchronize(all_readers, readers);
  finish_rows<OutputTile>(p.forward, segment, softmax, output, factor, warp_row, first_row, row_count, head,
                          shared);
  meet_own_group();
  const Range rows = {group * group_rows, min(row_count, (group + 1) * group_rows)};
  write_rows<OutputTile, group_threads>(p.forward, segment, rows, first_row, head, shared,
                                        threadIdx.x % group_threads);
}

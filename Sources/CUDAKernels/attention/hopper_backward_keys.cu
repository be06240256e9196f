// Exact attention, backward: the gradients of keys and values, for Hopper. See backward.cuh.
//
// As backward_keys.cu, with the matrix instructions of sm_90a: a warpgroup owns 64 keys, the queries of the
// group's heads go by in tiles of `QUERY_ROWS`. A product goes on while weights are computed.
//
// Compiled with what backward.cuh lists, half precision without KEY_MASK, COSINE and TERMS, and
//   KEY_DIMENSION, VALUE_DIMENSION   64 or 128
//   QUERY_ROWS                       64, 96 or 128
//   WARPGROUPS                       of a block

#include "attention/backward.cuh"
#include "tile/warpgroup.cuh"

constexpr int key_rows = 64 * WARPGROUPS;
constexpr int threads = 4 * WARPGROUPS * warp_threads;
constexpr int query_columns = QUERY_ROWS / 8;
constexpr int stages = 2;
// Of a query: the shift, δ.
constexpr int numbers = 2;

using KeyTile = BlockedTile<Element, key_rows, KEY_DIMENSION>;
using ValueTile = BlockedTile<Element, key_rows, VALUE_DIMENSION>;
using QueryTile = BlockedTile<Element, QUERY_ROWS, KEY_DIMENSION>;
using OutputTile = BlockedTile<Element, QUERY_ROWS, VALUE_DIMENSION>;

extern "C" __global__ void __launch_bounds__(threads, 1)
    attention_hopper_backward_keys(const __grid_constant__ BackwardParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  const Operands &o = p.operands;
  const Segment segment = o.segment();
  const int first_key = blockIdx.x * key_rows;
  const int key_count = min(key_rows, segment.band.keys - first_key);
  if (key_count <= 0) return;
  const int group = blockIdx.y;
  const int first_head = group * o.heads_per_group;

  const u32 key_tile = shared_address(shared);
  const u32 value_tile = key_tile + KeyTile::bytes;
  const u32 query_tiles = value_tile + ValueTile::bytes;
  const u32 output_tiles = query_tiles + stages * QueryTile::bytes;
  const u32 number_tiles = output_tiles + stages * OutputTile::bytes;

  const Range seeing =
      segment.band.seeing({first_key, first_key + key_count}, segment.query_count);
  const int first_tile = seeing.first / QUERY_ROWS;
  const int tile_count = seeing.end > seeing.first
                             ? (seeing.end + QUERY_ROWS - 1) / QUERY_ROWS - first_tile
                             : 0;
  const int step_count = tile_count * o.heads_per_group;

  auto copy_queries = [&](int step) {
    const int stage = step % stages;
    copy_query_step<QueryTile, OutputTile, threads>(
        p, query_tiles + stage * QueryTile::bytes, output_tiles + stage * OutputTile::bytes,
        number_tiles + stage * numbers * QUERY_ROWS * 4, (first_tile + step % tile_count) * QUERY_ROWS,
        first_head + step / tile_count);
  };

  o.copy_keys<KeyTile, threads>(key_tile, o.keys, first_key, group);
  o.copy_keys<ValueTile, threads>(value_tile, o.values, first_key, group);
  if (step_count > 0) copy_queries(0);
  close_copies();

  const int lane = threadIdx.x % warp_threads;
  const int group_row = threadIdx.x / (4 * warp_threads) * 64;
  const int warp_row = threadIdx.x / warp_threads * 16;
  const float largest_scale = o.largest_scale(first_head);
  float keys_gradient[KEY_DIMENSION / 8][4] = {};
  float values_gradient[VALUE_DIMENSION / 8][4] = {};
  Element::Left a[QUERY_ROWS / 16], b[QUERY_ROWS / 16] = {};
  u32 earlier_tile = query_tiles;

  for (int step = 0; step < step_count; ++step) {
    const int tile = first_tile + step % tile_count;
    const int stage = step % stages;
    const u32 query_tile = query_tiles + stage * QueryTile::bytes;
    const u32 output_tile = output_tiles + stage * OutputTile::bytes;
    const float scale = o.scale_of(first_head + step / tile_count);
    // 1. The queries of this step are there.
    wait_for_copies<0>();
    show_to_products();
    __syncthreads();

    // 2. dK += dSᵀ Q of the step before, Sᵀ = K Qᵀ and dPᵀ = V dOᵀ start. Nothing is issued over the loop's
    // edge, where the compiler would wait for it; before the first step dS is zero.
    open_products();
    add_registers<Element, QueryTile>(keys_gradient, b, earlier_tile);
    close_products();
    float weight[query_columns][4], slope[query_columns][4];
    open_products();
    multiply_tiles<Element, KeyTile, QueryTile>(weight, key_tile, group_row, query_tile);
    close_products();
    open_products();
    multiply_tiles<Element, ValueTile, OutputTile>(slope, value_tile, group_row, output_tile);
    close_products();

    // 3. Nobody reads the queries of the step before any more: their place takes the next.
    wait_for_products<2>();
    keep(keys_gradient);
    __syncthreads();
    if (step + 1 < step_count) copy_queries(step + 1);
    close_copies();

    // 4. Pᵀ = exp(scale Sᵀ − log Σ), masked
    wait_for_products<1>();
    keep(weight);
    const float2 *shifts = (const float2 *)(shared + (number_tiles - key_tile)) +
                           stage * numbers * (QUERY_ROWS / 2);
    const float2 *deltas = shifts + QUERY_ROWS / 2;
    const Range rows = {tile * QUERY_ROWS, min((tile + 1) * QUERY_ROWS, segment.query_count)};
    const Range whole = segment.band.whole_tiles(rows, key_rows);
    const bool masked = (int)blockIdx.x < whole.first || (int)blockIdx.x >= whole.end;
    const float factor = scale * log2_e;
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
#pragma unroll
      for (int column = 0; column < query_columns; ++column) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int key = first_key + warp_row + i / 2 * 8 + lane / 4;
          const int query = rows.first + column * 8 + lane % 4 * 2 + i % 2;
          if (!segment.band.sees(query, key)) weight[column][i] = 0;
        }
      }
    }

    // 5. dV += Pᵀ dO starts.
#pragma unroll
    for (int k = 0; k < QUERY_ROWS / 16; ++k) {
      a[k] = Element::as_left(weight[2 * k], weight[2 * k + 1]);
    }
    open_products();
    add_registers<Element, OutputTile>(values_gradient, a, output_tile);
    close_products();

    // 6. dS = P ∘ (dP − δ)
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
    earlier_tile = query_tile;
  }
  open_products();
  if (step_count > 0) add_registers<Element, QueryTile>(keys_gradient, b, earlier_tile);
  close_products();
  wait_for_products<0>();
  keep(keys_gradient);
  wait_for_copies<0>();
  __syncthreads();

  // 7. The rows' gradients.
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = warp_row + half * 8 + lane / 4;
    if (row >= key_count) continue;
    const int key = segment.key_start + first_key + row;
    store_row<KeyTile>(p.keys_gradient.at(segment.batch, key, group), keys_gradient, half,
                                largest_scale, 0, shared, row);
    store_row<ValueTile>(p.values_gradient.at(segment.batch, key, group), values_gradient,
                                  half, 1, 0, shared, row);
  }
}

// The ladder, step 5: Hopper's matrix instructions.
//
// One instruction of a warpgroup computes a 64 × 128 × 16 product. It reads both operands from shared memory
// and runs asynchronously: no fragments are loaded, and a thread's registers hold only accumulators. Two
// warpgroups, 256 threads; for sm_90a.

#include "ladder/product.cuh"
#include "tile/warpgroup.cuh"

constexpr int threads = 256;
constexpr int depth = 64;
constexpr int stages = 3;

using LeftTile = BlockedTile<Element, block_rows, depth>;
using RightTile = BlockedTile<Element, block_columns_of_c, depth>;

extern "C" __global__ void __launch_bounds__(threads) ladder_5_warpgroup(
    const __grid_constant__ LadderParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  const u32 left = shared_address(shared), right = left + stages * LeftTile::bytes;
  const int first_row = blockIdx.y * block_rows, first_column = blockIdx.x * block_columns_of_c;
  const int group_row = threadIdx.x / (4 * warp_threads) * 64;
  const int tiles = p.k / depth;
  auto copy = [&](int tile) {
    const int stage = tile % stages;
    if (tile < tiles) {
      copy_tile<LeftTile, threads>(left + stage * LeftTile::bytes,
                                   p.a + (i64)first_row * p.k + tile * depth, p.k, block_rows);
      copy_tile<RightTile, threads>(right + stage * RightTile::bytes,
                                    p.b + (i64)first_column * p.k + tile * depth, p.k,
                                    block_columns_of_c);
    }
    close_copies();
  };
  float sum[block_columns_of_c / 8][4] = {};
  for (int tile = 0; tile < stages - 1; ++tile) copy(tile);
  for (int tile = 0; tile < tiles; ++tile) {
    wait_for_copies<stages - 2>();
    show_to_products();
    __syncthreads();
    const int stage = tile % stages;
    open_products();
#pragma unroll
    for (int step = 0; step < depth / 16; ++step) {
      Warpgroup<Element>::multiply_shared(
          sum, LeftTile::along_rows(left + stage * LeftTile::bytes, group_row, step),
          RightTile::along_rows(right + stage * RightTile::bytes, 0, step), true);
    }
    close_products();
    // The stage of the previous tile is free: its products have completed.
    copy(tile + stages - 1);
    wait_for_products<0>();
    keep(sum);
  }
  const int lane = threadIdx.x % warp_threads;
  const int row = first_row + threadIdx.x / warp_threads * 16 + lane / 4;
#pragma unroll
  for (int group = 0; group < block_columns_of_c / 8; ++group) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float *target = p.c + (i64)(row + half * 8) * p.n + first_column + group * 8 + lane % 4 * 2;
      *(float2 *)target = {sum[group][2 * half], sum[group][2 * half + 1]};
    }
  }
}

// The ladder, step 6: TMA, Hopper's tensor memory accelerator.
//
// One thread requests tiles, and a barrier per stage counts the bytes that have arrived; the warpgroups that
// multiply wait for that barrier only, not for one another. Threads that copy nothing have registers for more
// accumulators: a warpgroup computes 128 × 128 elements, a block 256 × 128, and each copied element of b is
// used twice as often. 384 threads; m a multiple of 256; for sm_90a.

#include "ladder/product.cuh"
#include "tile/ring.cuh"
#include "tile/warpgroup.cuh"

constexpr int readers = 2 * group_threads;
constexpr int tall_rows = 2 * block_rows;
constexpr int depth = 64;
constexpr int stages = 4;

using LeftTile = BlockedTile<Element, tall_rows, depth>;
using RightTile = BlockedTile<Element, block_columns_of_c, depth>;

extern "C" __global__ void __launch_bounds__(readers + group_threads, 1)
    ladder_6_tma(const __grid_constant__ LadderMappedParameters mapped) {
  extern __shared__ __align__(1024) u8 shared[];
  const LadderParameters &p = mapped.product;
  const u32 left = shared_address(shared), right = left + stages * LeftTile::bytes;
  const Ring<stages> ring = {right + stages * RightTile::bytes};
  const int first_row = blockIdx.y * tall_rows, first_column = blockIdx.x * block_columns_of_c;
  const int tiles = p.k / depth;
  if (threadIdx.x == 0) {
    ring.open(readers / warp_threads);
    show_barriers();
  }
  __syncthreads();
  if (threadIdx.x >= readers) {
    give_registers<24>();
    for (int tile = 0; threadIdx.x == readers && tile < tiles; ++tile) {
      const int stage = tile % stages;
      const u32 arrived = ring.claim(tile, LeftTile::bytes + RightTile::bytes);
      copy_box(left + stage * LeftTile::bytes, mapped.a, arrived, tile * depth, 0, first_row, 0);
      copy_box(right + stage * RightTile::bytes, mapped.b, arrived, tile * depth, 0, first_column, 0);
    }
    return;
  }
  take_registers<240>();
  const int group_row = threadIdx.x / group_threads * block_rows;
  float sum[2][block_columns_of_c / 8][4] = {};
  keep(sum[0]);
  keep(sum[1]);
  for (int tile = 0; tile < tiles; ++tile) {
    const int stage = tile % stages;
    ring.wait(tile);
    open_products();
#pragma unroll
    for (int step = 0; step < depth / 16; ++step) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        Warpgroup<Element>::multiply_shared(
            sum[half],
            LeftTile::along_rows(left + stage * LeftTile::bytes, group_row + 64 * half, step),
            RightTile::along_rows(right + stage * RightTile::bytes, 0, step), true);
      }
    }
    close_products();
    // The products of the previous tile have completed: its stage is free.
    wait_for_products<1>();
    if (tile > 0 && threadIdx.x % warp_threads == 0) ring.release(tile - 1);
  }
  wait_for_products<0>();
  keep(sum[0]);
  keep(sum[1]);
  const int lane = threadIdx.x % warp_threads;
  const int row = first_row + group_row + threadIdx.x % group_threads / warp_threads * 16 + lane / 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int group = 0; group < block_columns_of_c / 8; ++group) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float *target = p.c + (i64)(row + 64 * half + 8 * i) * p.n + first_column + group * 8 + lane % 4 * 2;
        *(float2 *)target = {sum[half][group][2 * i], sum[half][group][2 * i + 1]};
      }
    }
  }
}

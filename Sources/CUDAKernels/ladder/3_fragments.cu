// The ladder, step 3: matrix instructions on fragments.
//
// Tiles lie in shared memory as bfloat16, swizzled so that the eight rows which a matrix load reads lie in
// different banks. Sixteen products of 16 × 8 follow six loads. But nothing is multiplied while a tile
// arrives, and nothing arrives while one is multiplied. Blocks of 256 threads.

#include "ladder/fragments.cuh"

extern "C" __global__ void __launch_bounds__(threads) ladder_3_fragments(
    const __grid_constant__ LadderParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  const u32 left = shared_address(shared), right = left + LeftTile::bytes;
  Sums sum = {};
  for (int start = 0; start < p.k; start += depth) {
    copy_tiles(p, left, right, start);
    wait_for_copies<0>();
    __syncthreads();
    multiply_tiles(sum, left, right);
    __syncthreads();
  }
  store(p, sum);
}

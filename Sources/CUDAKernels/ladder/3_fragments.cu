// The ladder, step 3: matrix instructions on fragments.
//
// Tiles are bfloat16 in shared memory, swizzled so that the eight rows of a matrix load lie in different
// banks. Six loads feed sixteen 16 × 8 products. But copies and products alternate: nothing is multiplied
// while a tile is copied, and nothing is copied while one is multiplied. Blocks of 256 threads.

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

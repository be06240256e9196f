// The ladder, step 4: a pipeline of three stages.
//
// While one tile is multiplied, two are being copied. One `__syncthreads` per tile guarantees both that the
// next tile has arrived and that the stage of the last one is free. A fourth stage would lower occupancy to
// one block, which would leave the multiprocessor idle while it waits. Blocks of 256 threads.

#include "ladder/fragments.cuh"

constexpr int stages = 3;

extern "C" __global__ void __launch_bounds__(threads) ladder_4_pipeline(
    const __grid_constant__ LadderParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  const u32 left = shared_address(shared), right = left + stages * LeftTile::bytes;
  const int tiles = p.k / depth;
  auto copy = [&](int tile) {
    const int stage = tile % stages;
    if (tile < tiles) {
      copy_tiles(p, left + stage * LeftTile::bytes, right + stage * RightTile::bytes, tile * depth);
    } else {
      // Every iteration closes a group, so that waiting counts tiles.
      close_copies();
    }
  };
  Sums sum = {};
  for (int tile = 0; tile < stages - 1; ++tile) copy(tile);
  for (int tile = 0; tile < tiles; ++tile) {
    wait_for_copies<stages - 2>();
    __syncthreads();
    copy(tile + stages - 1);
    const int stage = tile % stages;
    multiply_tiles(sum, left + stage * LeftTile::bytes, right + stage * RightTile::bytes);
  }
  store(p, sum);
}

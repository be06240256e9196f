// The ladder, step 4: a pipeline of tiles.
//
// Three tiles are in shared memory or on their way there: while one is multiplied, two arrive. One barrier a
// tile says both that the next is there and that the place of the last is free. A fourth tile would leave
// room for one block per multiprocessor only, and nothing to do while it waits. Blocks of 256 threads.

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
      // Every turn closes a group, so that the groups count the tiles.
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

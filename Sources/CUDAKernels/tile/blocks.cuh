#pragma once

#include "tile/ring.cuh"
#include "tile/warpgroup.cuh"

// For kernels whose warpgroups read tiles that others copy.

// Requests a tile's rows from `row` on, 64 columns at a time from `column` on.
template <typename T>
DEVICE void copy_blocks(u32 tile, const TensorMap &map, u32 barrier, int head, int row, int batch,
                        int column = 0) {
#pragma unroll
  for (int block = 0; block < T::columns / block_columns; ++block) {
    copy_box(tile + block * T::block_bytes, map, barrier, column + block * block_columns, head, row, batch);
  }
}

// The copying unit knows where a tensor ends, not where a sequence in it does. What follows may be NaN, which
// a weight of zero does not cancel: rows from `count` on become zeros.
template <typename T>
DEVICE void clear_rows(u8 *tile, int count) {
  for (int index = max(0, count) * T::chunks + threadIdx.x % group_threads; index < T::rows * T::chunks;
       index += group_threads) {
    *(uint4 *)(tile + T::place(index / T::chunks, index % T::chunks)) = {0, 0, 0, 0};
  }
  show_to_products();
}

// A warp no longer needs a stage.
template <int Stages>
DEVICE void release(const Ring<Stages> &ring, int turn) {
  if (threadIdx.x % warp_threads == 0) ring.release(turn);
}

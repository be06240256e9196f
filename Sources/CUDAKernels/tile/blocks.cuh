#pragma once

#include "tile/ring.cuh"
#include "tile/warpgroup.cuh"

// For kernels whose warpgroups read tiles that other threads copy.

// Requests the copy of a tile, rows from `row` and columns from `column` on, 64 columns at a time.
template <typename T>
DEVICE void copy_blocks(u32 tile, const TensorMap &map, u32 barrier, int head, int row, int batch,
                        int column = 0) {
#pragma unroll
  for (int block = 0; block < T::columns / block_columns; ++block) {
    copy_box(tile + block * T::block_bytes, map, barrier, column + block * block_columns, head, row, batch);
  }
}

// TMA stops at the end of a tensor, not at the end of a sequence in it. Beyond may be NaN, which a weight of
// zero does not cancel, so rows from `count` on are cleared.
template <typename T>
DEVICE void clear_rows(u8 *tile, int count) {
  for (int index = max(0, count) * T::chunks + threadIdx.x % group_threads; index < T::rows * T::chunks;
       index += group_threads) {
    *(uint4 *)(tile + T::place(index / T::chunks, index % T::chunks)) = {0, 0, 0, 0};
  }
  show_to_products();
}

// The same for rows of which `words` has no bit.
template <typename T, int Words>
DEVICE void clear_others(u8 *tile, const u32 (&words)[Words]) {
  constexpr int rows = group_threads / T::chunks;
  const int own = threadIdx.x % group_threads / T::chunks, chunk = threadIdx.x % T::chunks;
#pragma unroll
  for (int first = 0; first < T::rows; first += rows) {
    if (words[first / 32] >> (first % 32 + own) & 1) continue;
    *(uint4 *)(tile + T::place(first + own, chunk)) = {0, 0, 0, 0};
  }
  show_to_products();
}

// Releases a stage for the calling warp.
template <int Stages>
DEVICE void release(const Ring<Stages> &ring, int turn) {
  if (threadIdx.x % warp_threads == 0) ring.release(turn);
}

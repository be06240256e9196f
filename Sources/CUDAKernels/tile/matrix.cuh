#pragma once

#include "tile/memory.cuh"

// Fragments of matrices in the registers of a warp, as mma.sync.m16n8k16 has them.
//
// Thread 4 g + t of a warp holds, of a sum of 16 × 8 numbers, c[0], c[1] at row g, columns 2 t and
// 2 t + 1, and c[2], c[3] at row g + 8. Two such sums side by side, rounded to half precision, are the
// left operand of 16 × 16 of the next product.

// Where a lane reads in a tile. Matrices 16 columns further along a row lie at the address with two of
// its bits turned around (the swizzle), and 64 columns further at a constant distance; so that a warp
// needs four addresses for all that it reads of a tile.
template <typename T>
struct LaneAddress {
  u32 base;

  // `row` and `chunk` are those of the lane at the tile's first 16 × 16 numbers.
  __device__ LaneAddress(u32 tile, int row, int chunk) : base(tile + T::place(row, chunk)) {}

  // Of the matrices `rows` rows down, a multiple of 8, and 16 `step` columns along.
  __device__ u32 at(int rows, int step) const {
    return (base ^ (step % 4 * 2 * chunk_bytes)) + step / 4 * 8 * chunk_bytes +
           rows * T::pitch_bytes;
  }
};

// Left operands of 16 × 16: the lanes' addresses for the tile's rows `row` … + 15.
template <typename T>
DEVICE LaneAddress<T> left_operands(u32 tile, int row) {
  const int lane = threadIdx.x % warp_threads;
  return {tile, row + lane % 16, lane / 16};
}

// Right operands of two products: their columns are rows … + 7 and + 8 … + 15 of the tile, and they sum
// over 16 of its columns. A load gives b[0], b[1] of the first and b[2], b[3] of the second.
template <typename T>
DEVICE LaneAddress<T> right_operands(u32 tile) {
  const int lane = read_thread_index() % warp_threads;
  return {tile, lane % 8 + lane / 16 * 8, lane / 8 % 2};
}

// The same where the products' columns are columns of the tile, and the sum is over 16 of its rows; to
// be loaded transposed.
template <typename T>
DEVICE LaneAddress<T> right_operands_transposed(u32 tile) {
  const int lane = read_thread_index() % warp_threads;
  return {tile, lane % 16, lane / 16};
}

// Two neighbouring sums of 16 × 8 as a left operand of 16 × 16.
template <typename Element>
DEVICE void as_left(u32 (&a)[4], const float (&first)[4], const float (&second)[4]) {
  a[0] = Element::pack(first[0], first[1]);
  a[1] = Element::pack(first[2], first[3]);
  a[2] = Element::pack(second[0], second[1]);
  a[3] = Element::pack(second[2], second[3]);
}

// The four threads of a row agree.
DEVICE float row_maximum(float x) {
  x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
  return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}

DEVICE float row_sum(float x) {
  x += __shfl_xor_sync(~0u, x, 1);
  return x + __shfl_xor_sync(~0u, x, 2);
}

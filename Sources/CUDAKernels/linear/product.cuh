#pragma once

#include "linear/piece.cuh"

#include "linear/chunks.h"

// Products of small matrices in shared memory on the matrix units by all warps of a block, in 16 × 16 pieces
// (linear/piece.cuh).

constexpr int block_threads = linear_threads;
constexpr int block_warps = block_threads / warp_threads;

// Calls body(i, j, number) for each element of the sum of `steps` products with Rows × Columns results;
// step(n) is the nth of them. The pieces are distributed over the warps.
template <int Rows, int Columns, typename Steps, typename Body>
DEVICE void multiply(int steps, Steps step, Body body) {
  constexpr int across = Columns / piece_size;
  constexpr int pieces = Rows / piece_size * across;
#pragma unroll 1
  for (int piece = threadIdx.x / warp_threads; piece < pieces; piece += block_warps) {
    const int row = piece / across * piece_size;
    const int column = piece % across * piece_size;
    float sum[2][4] = {};
#pragma unroll 1
    for (int n = 0; n < steps; ++n) add_step(sum, step(n), row, column);
    each_of_piece(sum, row, column, body);
  }
}

// The same for 16 × Columns results, which have fewer pieces than there are warps: warps share the steps, and
// their partial sums, in `shares`, are added in order. Includes a barrier of the block; `shares` may be
// overwritten after the next one.
template <int Columns>
struct SharedProduct {
  static constexpr int across = Columns / piece_size;
  static constexpr int parts = linear_parts(Columns);
  static constexpr int pitch = linear_share_pitch(Columns);
  static constexpr int part_size = piece_size * pitch;

  template <typename Steps, typename Body>
  DEVICE void multiply(float *shares, int steps, Steps step, Body body) {
    const int column = threadIdx.x / warp_threads % across * piece_size;
    const int part = threadIdx.x / warp_threads / across;
    if (part < parts) {
      float sum[2][4] = {};
#pragma unroll 1
      for (int n = part; n < steps; n += parts) add_step(sum, step(n), 0, column);
      each_of_piece(sum, 0, column, [&](int i, int j, float number) {
        shares[part * part_size + i * pitch + j] = number;
      });
    }
    __syncthreads();
#pragma unroll 1
    for (int index = threadIdx.x; index < piece_size * Columns; index += block_threads) {
      const int i = index / Columns;
      const int j = index % Columns;
      float total = 0;
#pragma unroll
      for (int n = 0; n < parts; ++n) total += shares[n * part_size + i * pitch + j];
      body(i, j, total);
    }
  }
};

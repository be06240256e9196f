#pragma once

#include "linear/piece.cuh"

#include "linear/chunks.h"

// Products of small matrices in shared memory by the matrix units of a block's warps, in pieces of 16 × 16
// (linear/piece.cuh).

constexpr int block_threads = linear_threads;
constexpr int block_warps = block_threads / warp_threads;

// Calls body(i, j, number) for each number of the sum of `steps` products of Rows × Columns, which `step`
// gives by their number. Its pieces are spread over the warps.
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

// The same of 16 × Columns, of which there are fewer pieces than warps: warps share the steps, and what
// each finds is added in their order. Between `shares` of shared memory being written and read the whole
// block meets; they may be written again behind the next barrier.
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

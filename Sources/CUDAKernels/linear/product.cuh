#pragma once

#include "linear/tokens.cuh"

// Products of small matrices by all threads of a block: each thread sums a tile of the result in its
// registers. Tensor cores would take the place of `add`.

constexpr int block_threads = 128;
constexpr int block_warps = block_threads / warp_threads;

// A result of Rows × Columns, spread over `RowThreads` threads down and the others across. A thread's
// rows and columns lie so far apart that neighbouring threads have neighbouring numbers.
template <int Rows, int Columns, int RowThreads>
struct Tile2D {
  static constexpr int column_threads = block_threads / RowThreads;
  static constexpr int rows = Rows / RowThreads;
  static constexpr int columns = Columns / column_threads;
  static_assert(rows * RowThreads == Rows && columns * column_threads == Columns,
                "a product has a tile for every thread");

  float sum[rows][columns] = {};

  DEVICE int row(int n) { return threadIdx.x / column_threads + n * RowThreads; }
  DEVICE int column(int n) { return threadIdx.x % column_threads + n * column_threads; }

  // sum += a b, the numbers of which are a(i, d) and b(d, j) for d below Depth.
  template <int Depth, typename A, typename B>
  __device__ void add(A a, B b) {
#pragma unroll 4
    for (int d = 0; d < Depth; ++d) {
      float x[rows], y[columns];
#pragma unroll
      for (int i = 0; i < rows; ++i) x[i] = a(row(i), d);
#pragma unroll
      for (int j = 0; j < columns; ++j) y[j] = b(d, column(j));
#pragma unroll
      for (int i = 0; i < rows; ++i) {
#pragma unroll
        for (int j = 0; j < columns; ++j) sum[i][j] += x[i] * y[j];
      }
    }
  }

  // Calls body(i, j, sum) for each number of the thread.
  template <typename Body>
  __device__ void each(Body body) {
#pragma unroll
    for (int i = 0; i < rows; ++i) {
#pragma unroll
      for (int j = 0; j < columns; ++j) body(row(i), column(j), sum[i][j]);
    }
  }
};

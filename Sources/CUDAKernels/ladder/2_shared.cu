// The ladder, step 2: tiles in shared memory, and 8 × 8 elements of c per thread.
//
// A block reads 16 columns of its rows of a and b once and uses them for 128 × 128 elements of c; a thread
// reads 16 elements for 64 multiply-adds. The kernel is now bound by the multiply-adds: ordinary ones have a
// sixteenth of the rate of matrix instructions. Blocks of 256 threads.

#include "ladder/product.cuh"

constexpr int threads = 256;
constexpr int depth = 16;
// Padded, so that rows of a tile begin in different banks.
constexpr int pitch = block_rows + 4;

extern "C" __global__ void __launch_bounds__(threads) ladder_2_shared(
    const __grid_constant__ LadderParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  float *left = (float *)shared;             // [depth, pitch], transposed
  float *right = left + depth * pitch;
  const int first_row = blockIdx.y * block_rows, first_column = blockIdx.x * block_columns_of_c;
  const int row = threadIdx.x / 16 * 8, column = threadIdx.x % 16 * 8;
  float sum[8][8] = {};
  for (int start = 0; start < p.k; start += depth) {
    // 1. Load a tile of a and one of b, eight elements of each per thread.
    for (int i = threadIdx.x; i < block_rows * depth; i += threads) {
      const int tile_row = i / depth, k = i % depth;
      left[k * pitch + tile_row] = Element::widen(p.a[(i64)(first_row + tile_row) * p.k + start + k]);
      right[k * pitch + tile_row] =
          Element::widen(p.b[(i64)(first_column + tile_row) * p.k + start + k]);
    }
    __syncthreads();
    // 2. Add the outer product of a column of each.
    for (int k = 0; k < depth; ++k) {
      float x[8], y[8];
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        x[i] = left[k * pitch + row + i];
        y[i] = right[k * pitch + column + i];
      }
#pragma unroll
      for (int i = 0; i < 8; ++i) {
#pragma unroll
        for (int j = 0; j < 8; ++j) sum[i][j] = fmaf(x[i], y[j], sum[i][j]);
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) {
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      p.c[(i64)(first_row + row + i) * p.n + first_column + column + j] = sum[i][j];
    }
  }
}

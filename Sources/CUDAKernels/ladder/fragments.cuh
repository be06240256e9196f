#pragma once

#include "ladder/product.cuh"
#include "tile/matrix.cuh"

// Shared by steps 3 and 4: eight warps, each with a 64 × 32 part of a block's c in its registers.

constexpr int threads = 256;
constexpr int depth = 64;
constexpr int strips = 4;
constexpr int pairs = 2;

using LeftTile = Tile<Element, block_rows, depth>;
using RightTile = Tile<Element, block_columns_of_c, depth>;

using Sums = float[strips][2 * pairs][4];

DEVICE int warp_row() { return threadIdx.x / warp_threads / 4 * 64; }
DEVICE int warp_column() { return threadIdx.x / warp_threads % 4 * 32; }

// Starts copying `depth` columns of a and b from column `start` on.
DEVICE void copy_tiles(const LadderParameters &p, u32 left, u32 right, int start) {
  const int first_row = blockIdx.y * block_rows, first_column = blockIdx.x * block_columns_of_c;
  copy_tile<LeftTile, threads>(left, p.a + (i64)first_row * p.k + start, p.k, block_rows);
  copy_tile<RightTile, threads>(right, p.b + (i64)first_column * p.k + start, p.k,
                                block_columns_of_c);
  close_copies();
}

// sum += the warp's rows of the left tile times the transpose of its rows of the right one.
DEVICE void multiply_tiles(Sums &sum, u32 left, u32 right) {
  const LeftOperands<LeftTile> left_rows(left, warp_row());
  const RightOperands<RightTile> right_rows(right);
#pragma unroll
  for (int step = 0; step < depth / 16; ++step) {
    Element::Left a[strips];
#pragma unroll
    for (int strip = 0; strip < strips; ++strip) a[strip] = left_rows.load(strip * 16, step);
#pragma unroll
    for (int pair = 0; pair < pairs; ++pair) {
      const Element::Right b = right_rows.load(warp_column() / 16 + pair, step);
#pragma unroll
      for (int strip = 0; strip < strips; ++strip) {
        Element::multiply_add(sum[strip][2 * pair], sum[strip][2 * pair + 1], a[strip], b);
      }
    }
  }
}

DEVICE void store(const LadderParameters &p, const Sums &sum) {
  const int lane = threadIdx.x % warp_threads;
  const int row = blockIdx.y * block_rows + warp_row() + lane / 4;
  const int column = blockIdx.x * block_columns_of_c + warp_column() + lane % 4 * 2;
#pragma unroll
  for (int strip = 0; strip < strips; ++strip) {
#pragma unroll
    for (int group = 0; group < 2 * pairs; ++group) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float *target = p.c + (i64)(row + strip * 16 + half * 8) * p.n + column + group * 8;
        *(float2 *)target = {sum[strip][group][2 * half], sum[strip][group][2 * half + 1]};
      }
    }
  }
}

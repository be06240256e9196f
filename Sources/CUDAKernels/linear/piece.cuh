#pragma once

#include "linear/tokens.cuh"

#include "linear/chunks.h"

// Products of 16 × 16 pieces of float32 matrices in shared memory by one warp, with elements split into TF32
// parts (tile/types.cuh).

constexpr int piece_size = linear_piece_size;

// A part of a product, 16 deep: element (i, d) of the left operand is left[i * left_row + d * left_depth],
// element (d, j) of the right one right[d * right_depth + j * right_column].
struct Step {
  const float *left;
  int left_row, left_depth;
  const float *right;
  int right_depth, right_column;
};

// sum += the step's product, at rows from `row` and columns from `column` on.
DEVICE void add_step(float (&sum)[2][4], const Step &step, int row, int column) {
  const int lane = threadIdx.x % warp_threads;
  const float *left = step.left + (row + lane / 4) * step.left_row + lane % 4 * step.left_depth;
  const float *right =
      step.right + lane % 4 * step.right_depth + (column + lane / 4) * step.right_column;
  tf32x3::Left a;
  tf32x3::Right b;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      a.word[0][half][i] = __float_as_uint(
          left[i % 2 * 8 * step.left_row + (half * 8 + i / 2 * 4) * step.left_depth]);
      b.word[0][half][i] = __float_as_uint(
          right[(half * 8 + i % 2 * 4) * step.right_depth + i / 2 * 8 * step.right_column]);
    }
  }
  tf32x3::split(a);
  tf32x3::split(b);
  tf32x3::multiply_add(sum[0], sum[1], a, b);
}

// Calls body(i, j, number) for each element that a lane holds of a piece.
template <typename Body>
DEVICE void each_of_piece(const float (&sum)[2][4], int row, int column, Body body) {
  const int lane = threadIdx.x % warp_threads;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      body(row + lane / 4 + i / 2 * 8, column + half * 8 + lane % 4 * 2 + i % 2, sum[half][i]);
    }
  }
}

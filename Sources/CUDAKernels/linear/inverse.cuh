#pragma once

#include "linear/scores.cuh"

// (I + L)⁻¹ of a strictly lower triangular L [64, 64], by a block of one warpgroup: diagonal 8 × 8 blocks are
// inverted by substitution in float32, then pairs of adjacent n × n inverses are joined to one of 2 n × 2 n,
//
//     [ A₁        ]        with A₂₁ = −A₂ L₂₁ A₁
//     [ A₂₁   A₂  ]
//
// on the matrix units in TF32, whose 11 bits are at least those of half precision. The inverse replaces L
// block by block; 16 × 16 blocks above the diagonal are zeros and are not written.

// Rows are padded so that every second row of a right fragment lies in different banks.
constexpr int lower_pitch = linear_lower_pitch;
constexpr int lower_size = chunk_tokens * lower_pitch;
constexpr int small_block = 8;
constexpr int large_block = 16;

// The matrix units truncate to 11 bits; adding half of the last one rounds to nearest.
DEVICE u32 nearest_tf32(float number) { return __float_as_uint(number) + 0x1000; }

// sum [16, 8] += left [16, 8], in the layout of an accumulator, times right [8, 8].
DEVICE void add_block(float (&sum)[4], const float (&left)[4], const float *right, const Member &own) {
  // Columns 2 t and 2 t + 1 of the accumulator serve as elements t and t + 4 of the sum.
  const u32 a[4] = {nearest_tf32(left[0]), nearest_tf32(left[2]), nearest_tf32(left[1]),
                    nearest_tf32(left[3])};
  const float *first = right + own.column() * lower_pitch + own.lane / 4;
  multiply_add_tf32(sum, a, nearest_tf32(first[0]), nearest_tf32(first[lower_pitch]));
}

// Loads 8 columns of a matrix in the layout of a 16 × 8 accumulator; if `Rows` is 8, the other rows are zero.
template <int Rows>
DEVICE void load_block(float (&block)[4], const float *matrix, const Member &own) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float2 pair = half * 8 < Rows ? *(const float2 *)(matrix + (own.row() + half * 8) * lower_pitch +
                                                            own.column())
                                        : float2{0, 0};
    block[2 * half] = pair.x;
    block[2 * half + 1] = pair.y;
  }
}

template <int Rows>
DEVICE void store_negative(float *matrix, const float (&block)[4], const Member &own) {
#pragma unroll
  for (int half = 0; half < Rows / 8; ++half) {
    *(float2 *)(matrix + (own.row() + half * 8) * lower_pitch + own.column()) = {-block[2 * half],
                                                                                 -block[2 * half + 1]};
  }
}

// Inverts the two diagonal 8 × 8 blocks in a warp's rows, one lane per column.
DEVICE void invert_smallest(float *lower, const Member &own) {
  const int column = own.lane % small_block;
  float *block = lower + (own.warp * warp_rows + own.lane / small_block % 2 * small_block) * (lower_pitch + 1);
  float x[small_block];
#pragma unroll
  for (int row = 0; row < small_block; ++row) {
    float l[small_block];
#pragma unroll
    for (int m = 0; m < row; m += 4) {
      const float4 four = *(const float4 *)(block + row * lower_pitch + m);
      l[m] = four.x;
      l[m + 1] = four.y;
      l[m + 2] = four.z;
      l[m + 3] = four.w;
    }
    x[row] = row == column ? 1 : 0;
#pragma unroll
    for (int m = 0; m < row; ++m) x[row] -= l[m] * x[m];
  }
  __syncwarp();
  if (own.lane < 2 * small_block) {
#pragma unroll
    for (int row = 0; row < small_block; ++row) block[row * lower_pitch + column] = x[row];
  }
  __syncwarp();
}

// Joins the two 8 × 8 inverses in a warp's rows to one of 16 × 16.
DEVICE void join_small(float *lower, const Member &own) {
  float *first = lower + own.warp * warp_rows * (lower_pitch + 1);
  float *corner = first + small_block * lower_pitch;
  float left[4], outer[4] = {}, sum[4] = {};
  load_block<small_block>(left, corner + small_block, own);
  add_block(outer, left, corner, own);
  add_block(sum, outer, first, own);
  __syncwarp();
  store_negative<small_block>(corner, sum, own);
  __syncwarp();
}

// Joins pairs of 16 × 16 inverses to 32 × 32: the warps of a pair each compute half of the corner's columns.
DEVICE void join_large(float *lower, const Member &own) {
  const int pair = own.warp / 2, half = own.warp % 2 * small_block;
  float *first = lower + pair * 2 * large_block * (lower_pitch + 1);
  float *corner = first + large_block * lower_pitch;
  float left[4], outer[2][4] = {}, sum[4] = {};
#pragma unroll
  for (int step = 0; step < 2; ++step) {
    load_block<large_block>(left, corner + large_block + step * 8, own);
#pragma unroll
    for (int n = 0; n < 2; ++n) add_block(outer[n], left, corner + step * 8 * lower_pitch + n * 8, own);
  }
#pragma unroll
  for (int n = 0; n < 2; ++n) add_block(sum, outer[n], first + n * 8 * lower_pitch + half, own);
  // The other warp also reads the corner.
  __syncthreads();
  store_negative<large_block>(corner + half, sum, own);
}

// Joins the two 32 × 32 inverses: one warp per 16 × 16 block of the corner. Multiplying with the zero blocks
// above the diagonal costs less than separate code for each warp.
DEVICE void join_halves(float *lower, const Member &own) {
  const int row = (2 + own.warp / 2) * large_block, column = own.warp % 2 * large_block;
  float outer[4][4] = {}, sum[2][4] = {};
#pragma unroll
  for (int step = 0; step < 4; ++step) {
    float left[4];
    const float *middle = lower + (2 * large_block + step * 8) * lower_pitch;
    load_block<large_block>(left, lower + row * lower_pitch + 2 * large_block + step * 8, own);
#pragma unroll
    for (int n = 0; n < 4; ++n) add_block(outer[n], left, middle + n * 8, own);
  }
#pragma unroll
  for (int step = 0; step < 4; ++step) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      add_block(sum[half], outer[step], lower + step * 8 * lower_pitch + column + half * 8, own);
    }
  }
  __syncthreads();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    store_negative<large_block>(lower + row * lower_pitch + column + half * 8, sum[half], own);
  }
}

// Replaces L [64, 64] in `lower` by (I + L)⁻¹. A barrier must separate the writes of L from this call, which
// ends with another.
DEVICE void invert(float *lower, const Member &own) {
  invert_smallest(lower, own);
  join_small(lower, own);
  __syncthreads();
  join_large(lower, own);
  __syncthreads();
  join_halves(lower, own);
  // Warps read what others have joined.
  __syncthreads();
}

// Stores L, from the products of keys with keys.
DEVICE void store_lower(float *lower, const Gates &gates, const TokenSums &sums, const Member &own) {
  const int first = own.warp * warp_rows + own.row();
  each_pair<true>(gates, gates.key_rows, sums, own, [&](int j, int half, float left, float right) {
    *(float2 *)(lower + (first + half * 8) * lower_pitch + j * 8 + own.column()) = {left, right};
  });
}

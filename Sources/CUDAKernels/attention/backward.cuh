#pragma once

#include "attention/rows.cuh"
#include "tile/matrix.cuh"

// What both kernels of the backward pass share. They compute the weights again (Dao, FlashAttention-2,
// 2023):
//
//     P = exp(scale Q Kᵀ − log Σ)      dV = Pᵀ dO      dS = P ∘ (dO Vᵀ − δ)
//     dK = scale dSᵀ Q                 dQ = scale dS K         δ = Σ dO ∘ O − dlog Σ, a number a row
//
// One kernel owns keys and sums over queries, the other owns queries and sums over keys. So each
// gradient is summed in registers, in one order, by one warp: nothing is added in memory, and the
// results are the same in every run. The price is that S and dP are computed twice, seven products
// for five.
//
// With COSINE, q and k above are divided by their lengths, and the gradient of a row x of length |x| is
// (g − x̂ (x̂·g)) / |x|, g that of x̂.

struct BackwardParameters {
  Rows<u16> queries;
  Rows<u16> keys;
  Rows<u16> values;
  Rows<u16> output_gradient;
  Rows<float> queries_gradient;
  Rows<float> keys_gradient;
  Rows<float> values_gradient;
  const float *log_sum_exp;     // [batch, heads, queries]
  const float *delta;           // [batch, heads, queries]
  const Segment *segments;
  const float *scale;           // [heads]
  const u8 *key_mask;           // [batch, keys]
  const float *query_lengths;   // [batch, queries, heads]: their reciprocals
  const float *key_lengths;     // [batch, keys, groups]: their reciprocals
  float *scale_gradient;        // [batch, heads, queries]: a query's part of it, or null
  int query_length;
  int key_length;
  int heads_per_group;
  int unused;                   // to a multiple of eight bytes
};

// The factor of a weight's exponent and what is subtracted. A query that sees nothing has a log-sum of
// −∞, and no weights.
DEVICE float log_sum_shift(float log_sum) {
  return log_sum == -infinity ? infinity : log_sum * log2_e;
}

// Two strips' worth of S and dP: c = rows of `left` times rows of `right`, summed over the columns.
template <typename Element, int Steps, int Strips, int Columns, typename Left, typename Right>
DEVICE void multiply_rows(float (&c)[Strips][Columns][4], const Left &left, const Right &right) {
#pragma unroll
  for (int step = 0; step < Steps; ++step) {
    u32 a[Strips][4];
#pragma unroll
    for (int strip = 0; strip < Strips; ++strip) load_matrices(a[strip], left.at(strip * 16, step));
#pragma unroll
    for (int pair = 0; pair < Columns / 2; ++pair) {
      u32 b[4];
      load_matrices(b, right.at(pair * 16, step));
#pragma unroll
      for (int strip = 0; strip < Strips; ++strip) {
        Element::multiply_add(c[strip][2 * pair], a[strip], b[0], b[1]);
        Element::multiply_add(c[strip][2 * pair + 1], a[strip], b[2], b[3]);
      }
    }
  }
}

// sum += a times rows 16 `step` … + 15 of a tile.
template <typename Element, int Strips, int Columns, typename Right>
DEVICE void add_product(float (&sum)[Strips][Columns][4], const u32 (&a)[Strips][4],
                        const Right &right, int step) {
#pragma unroll
  for (int pair = 0; pair < Columns / 2; ++pair) {
    u32 b[4];
    load_matrices_transposed(b, right.at(step * 16, pair));
#pragma unroll
    for (int strip = 0; strip < Strips; ++strip) {
      Element::multiply_add(sum[strip][2 * pair], a[strip], b[0], b[1]);
      Element::multiply_add(sum[strip][2 * pair + 1], a[strip], b[2], b[3]);
    }
  }
}

// The sum over columns of a row's gradient times the row itself, which lies in a tile.
template <typename Element, typename T, int Columns>
DEVICE float dot_with_row(const float (&gradient)[Columns][4], int half, const u8 *tile, int row) {
  float sum = 0;
#pragma unroll
  for (int column = 0; column < Columns; ++column) {
    const int lane = threadIdx.x % warp_threads;
    const u32 two = *(const u32 *)(tile + T::place(row, column) + lane % 4 * 4);
    sum += gradient[column][2 * half] * Element::widen((u16)two);
    sum += gradient[column][2 * half + 1] * Element::widen((u16)(two >> 16));
  }
  return row_sum(sum);
}

// Writes a row of a gradient: factor (gradient − share row).
template <typename Element, typename T, int Columns>
DEVICE void store_row(float *target, const float (&gradient)[Columns][4], int half, float factor,
                      float share, const u8 *tile, int row) {
#pragma unroll
  for (int column = 0; column < Columns; ++column) {
    const int lane = threadIdx.x % warp_threads;
    float first = gradient[column][2 * half];
    float second = gradient[column][2 * half + 1];
    if (share != 0) {
      const u32 two = *(const u32 *)(tile + T::place(row, column) + lane % 4 * 4);
      first -= share * Element::widen((u16)two);
      second -= share * Element::widen((u16)(two >> 16));
    }
    *(float2 *)(target + column * 8 + lane % 4 * 2) = {factor * first, factor * second};
  }
}

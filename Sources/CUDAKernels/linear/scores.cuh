#pragma once

#include "linear/gates.cuh"

// The scores of a chunk's pairs of tokens, which do not depend on the state:
//
//     P_ij = scale q_i·k_j e^(G_i − G_j) for j ≤ i ,   L_ij = β_i k_i·k_j e^(G_i − G_j) for j < i

// A thread's position in the score group.
struct Member {
  int warp;
  int lane;

  __device__ Member() : warp(own_warp()), lane(own_lane()) {}
  // Of a 16 × 8 accumulator: rows `row` and + 8, columns `column` and + 1.
  __device__ int row() const { return lane / 4; }
  __device__ int column() const { return lane % 4 * 2; }
};

// Calls body(j, half, first, second) for each pair of elements that the thread holds of the lower blocks, in
// columns 8 j … and row `half` of its two: the sums times the decay in between and the factors of row and
// column; zero above the diagonal and, with IsStrict, on it. All warps run the same code, so that they do not
// evict one another's instructions.
template <bool IsStrict, typename Body>
DEVICE void each_pair(const Gates &gates, const float *row_factors, const TokenSums &sums, const Member &own,
                      const Body &body) {
  const int first = own.warp * warp_rows + own.row();
  const float *column_factors = gates.columns[own.warp];
  float near[2], far[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    near[half] = row_factors[first + half * 8];
    far[half] = near[half] * gates.passed[first + half * 8];
  }
  // The blocks before the diagonal block.
  float diagonal[2][4];
#pragma unroll
  for (int j = 0; j < chunk_tokens / 8; ++j) {
    const float2 columns = *(const float2 *)(column_factors + j * 8 + own.column());
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (j < 2 || j / 2 == own.warp) diagonal[j % 2][i] = sums[j][i];
    }
    if (j < chunk_tokens / 8 - 2) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float left = sums[j][2 * half] * (columns.x * far[half]);
        const float right = sums[j][2 * half + 1] * (columns.y * far[half]);
        if (j / 2 < own.warp) body(j, half, left, right);
      }
    }
  }
  // The diagonal block.
#pragma unroll
  for (int n = 0; n < 2; ++n) {
    const int j = 2 * own.warp + n;
    const int column = j * 8 + own.column();
    const float2 columns = *(const float2 *)(column_factors + column);
    const float2 column_sums = *(const float2 *)(gates.sums + column);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = first + half * 8;
      float left = diagonal[n][2 * half] * columns.x * near[half];
      float right = diagonal[n][2 * half + 1] * columns.y * near[half];
      if (DECAYS) {
        // Above the diagonal the exponent may be positive.
        const float row_sum = gates.sums[row];
        left *= exp2_fast(fminf(row_sum - column_sums.x, 0));
        right *= exp2_fast(fminf(row_sum - column_sums.y, 0));
      }
      const bool sees_left = IsStrict ? column < row : column <= row;
      const bool sees_right = IsStrict ? column + 1 < row : column + 1 <= row;
      body(j, half, sees_left ? left : 0, sees_right ? right : 0);
    }
  }
}

// Stores P, from the products of queries with keys, in its tile.
DEVICE void store_scores(u8 *tile, const Gates &gates, const TokenSums &sums, const Member &own) {
  const int first = own.warp * warp_rows + own.row();
  each_pair<STRICT>(gates, gates.query_rows, sums, own, [&](int j, int half, float left, float right) {
    Element::store(tile + ScoreTile::pair_place(first + half * 8, j, own.lane), left, right);
  });
}

#pragma once

#include "tile/instructions.cuh"

// Operations on fragments: the sums of 16 rows by 8 · `Columns` columns that a warp holds in the layout of
// the matrix instructions. A thread holds two rows, its halves, and two adjacent columns of every eight.
// Numbers per column are arrays of pairs.

DEVICE int fragment_lane() { return threadIdx.x % warp_threads; }

// Row and column of a thread's number within the fragment.
DEVICE int fragment_row(int half) { return half * 8 + fragment_lane() / 4; }
DEVICE int fragment_column(int column, int odd) { return column * 8 + fragment_lane() % 4 * 2 + odd; }

// Whether this is the first of a row's four threads, which writes results with one number per row.
DEVICE bool leads_row() { return fragment_lane() % 4 == 0; }

// The number, computed at this point of the program: see `settle`.
DEVICE float settled(float number) {
  settle(number);
  return number;
}

// Numbers per column that are all 1.
struct Ones {
  __device__ Ones(const float2 *) {}
  __device__ float2 operator[](int) const { return {1, 1}; }
};

template <typename Numbers>
DEVICE float2 numbers_of(const Numbers &numbers, int column) {
  return numbers[column * 4 + fragment_lane() % 4];
}

// c = body(c, half, number of the column …)
template <typename Body, typename... Pair>
DEVICE void transform_pairs(float (&c)[4], const Body &body, const Pair &...of_columns) {
#pragma unroll
  for (int i = 0; i < 4; ++i) c[i] = body(c[i], i / 2, (i % 2 ? of_columns.y : of_columns.x)...);
}
template <int Columns, typename Body, typename... Numbers>
DEVICE void transform(float (&c)[Columns][4], const Body &body, const Numbers &...numbers) {
#pragma unroll
  for (int column = 0; column < Columns; ++column) {
    transform_pairs(c[column], body, numbers_of(numbers, column)...);
  }
}

// c = body(c, other, half, number of the column …)
template <typename Body, typename... Pair>
DEVICE void combine_pairs(float (&c)[4], const float (&other)[4], const Body &body, const Pair &...of_columns) {
#pragma unroll
  for (int i = 0; i < 4; ++i) c[i] = body(c[i], other[i], i / 2, (i % 2 ? of_columns.y : of_columns.x)...);
}
template <int Columns, typename Body, typename... Numbers>
DEVICE void combine(float (&c)[Columns][4], const float (&other)[Columns][4], const Body &body,
                    const Numbers &...numbers) {
#pragma unroll
  for (int column = 0; column < Columns; ++column) {
    combine_pairs(c[column], other[column], body, numbers_of(numbers, column)...);
  }
}

// body(c, other, row, column)
template <int Columns, typename Body>
DEVICE void visit(float (&c)[Columns][4], float (&other)[Columns][4], const Body &body) {
#pragma unroll
  for (int column = 0; column < Columns; ++column) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      body(c[column][i], other[column][i], fragment_row(i / 2), fragment_column(column, i % 2));
    }
  }
}

// Sets numbers to `hidden` where `sees(row, column)` is false.
template <int Columns, typename Sees>
DEVICE void hide(float (&c)[Columns][4], float hidden, const Sees &sees) {
#pragma unroll
  for (int column = 0; column < Columns; ++column) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (!sees(fragment_row(i / 2), fragment_column(column, i % 2))) c[column][i] = hidden;
    }
  }
}

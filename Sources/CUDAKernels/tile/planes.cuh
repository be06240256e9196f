#pragma once

#include "tile/matrix.cuh"
#include "tile/warpgroup.cuh"

// float32 through Hopper's matrix instructions. A number is the sum of two of float16, its planes, which keep
// all but two of its bits; a product is three of theirs, for small × small is less than what is rounded off
// (Ootomo & Yokota, Recovering single precision accuracy from Tensor Cores, 2022).
//
// float16 has few exponents. So a row is divided by its unit first, a power of two that leaves its largest
// number between 2^14 and 2^15. The bits that a number 2^-17 times as large loses then are those that
// float32 loses where the two are added.
//
// The matrix unit cuts sums off instead of rounding them (tile/types.cuh): it sums over one tile only, and
// threads add that to sums of their own.

// The large parts of all numbers, then the small ones.
template <int Rows, int Columns>
struct PlaneTile {
  using Plane = BlockedTile<f16, Rows, Columns>;
  static constexpr int rows = Rows;
  static constexpr int columns = Columns;
  static constexpr int bytes = tile_bytes(Rows, Columns, plane_count * sizeof(u16));
  static_assert(bytes == plane_count * Plane::bytes);
};

// Two numbers apart: their large parts in a word, and their small ones.
struct SplitPair {
  u32 word[plane_count];
};

DEVICE SplitPair split(float first, float second) {
  const u32 large = f16::pack(first, second);
  const float2 whole = {f16::widen((u16)large), f16::widen((u16)(large >> 16))};
  return {{large, f16::pack(first - whole.x, second - whole.y)}};
}

// Powers of two: the unit of a row whose largest number has this size, and what divides by it.
struct RowUnit {
  float unit;
  float reciprocal;

  __device__ RowUnit(float largest) {
    constexpr u32 bias = 127, one = 1 << 23, exponents = 0xff, top = 14;
    // Neither power may leave float32's exponents.
    const u32 exponent = max(__float_as_uint(largest) >> 23 & exponents, top + 1);
    unit = __uint_as_float((exponent - top) * one);
    reciprocal = __uint_as_float((2 * bias + top - exponent) * one);
  }
};

// A left operand of 16 `Steps` columns in registers, apart.
template <int Steps>
struct PlanesLeft {
  f16::Left plane[plane_count][Steps];
};

// Numbers in the places of sums as a left operand: number times the unit of its column, in `units`, divided by
// the unit that the two rows of a thread get then.
template <int Columns>
DEVICE PlanesLeft<Columns / 2> as_planes(const float (&number)[Columns][4], const float2 *units,
                                         float (&row_units)[2]) {
  const int lane = threadIdx.x % warp_threads;
  float largest[2] = {};
#pragma unroll
  for (int column = 0; column < Columns; ++column) {
    const float2 unit = units[column * 4 + lane % 4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      largest[i / 2] = fmaxf(largest[i / 2], fabsf(number[column][i] * (i % 2 ? unit.y : unit.x)));
    }
  }
  float reciprocal[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const RowUnit own(row_maximum(largest[half]));
    row_units[half] = own.unit;
    reciprocal[half] = own.reciprocal;
  }
  PlanesLeft<Columns / 2> result;
#pragma unroll
  for (int column = 0; column < Columns; ++column) {
    const float2 unit = units[column * 4 + lane % 4];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float *two = number[column] + 2 * half;
      const SplitPair apart =
          split(two[0] * unit.x * reciprocal[half], two[1] * unit.y * reciprocal[half]);
#pragma unroll
      for (int plane = 0; plane < plane_count; ++plane) {
        result.plane[plane][column / 2].word[column % 2 * 2 + half] = apart.word[plane];
      }
    }
  }
  return result;
}

// The products of planes, small ones first: which plane of the left operand, and which of the right one.
constexpr int plane_products = 3;
DEVICE constexpr int left_plane(int product) { return product == 0; }
DEVICE constexpr int right_plane(int product) { return product == 1; }

// c = the left tile's rows `row` … + 63 times rows of the right tile, summed over the columns, in their units.
// `Turned`, it is the transpose of the product with left and right exchanged, to the bit.
template <typename Left, typename Right, bool Turned = false, int Columns>
DEVICE void multiply_planes(float (&c)[Columns][4], u32 left, int row, u32 right) {
#pragma unroll
  for (int turn = 0; turn < plane_products; ++turn) {
    const int product = Turned && turn < 2 ? 1 - turn : turn;
#pragma unroll
    for (int step = 0; step < Left::columns / 16; ++step) {
      multiply_shared_f16(
          c, Left::Plane::along_rows(left + left_plane(product) * Left::Plane::bytes, row, step),
          Right::Plane::along_rows(right + right_plane(product) * Right::Plane::bytes, 0, step),
          turn + step > 0);
    }
  }
}

// c = a times 8 `Columns` columns of the tile's rows, from block `block` of them on.
template <typename Right, int Steps, int Columns>
DEVICE void multiply_left(float (&c)[Columns][4], const PlanesLeft<Steps> &a, u32 right, int block) {
  right += block * Right::Plane::block_bytes;
#pragma unroll
  for (int product = 0; product < plane_products; ++product) {
#pragma unroll
    for (int step = 0; step < Steps; ++step) {
      multiply_registers_f16(
          c, a.plane[left_plane(product)][step].word,
          Right::Plane::along_columns(right + right_plane(product) * Right::Plane::bytes, step),
          product + step > 0);
    }
  }
}

// total += sum, whose rows have units.
template <int Columns>
DEVICE void add_in_units(float (*total)[4], const float (&sum)[Columns][4], const float (&row_units)[2]) {
#pragma unroll
  for (int column = 0; column < Columns; ++column) {
#pragma unroll
    for (int i = 0; i < 4; ++i) total[column][i] = fmaf(sum[column][i], row_units[i / 2], total[column][i]);
  }
}

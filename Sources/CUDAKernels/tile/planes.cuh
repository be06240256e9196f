#pragma once

#include "tile/matrix.cuh"
#include "tile/warpgroup.cuh"

// float32 through Hopper's matrix instructions. An element is split into two float16 values, its planes,
// which keep all but two of its bits. A product takes three products of planes: small × small is below the
// rounding error (Ootomo & Yokota, Recovering single precision accuracy from Tensor Cores, 2022).
//
// float16 has a narrow exponent range. So each row is first divided by its unit, the power of two that brings
// its largest element to between 2^14 and 2^15. Bits that an element 2^-17 times as large loses by that would
// be lost in float32 too where the two are added.
//
// The matrix unit truncates sums instead of rounding them (tile/types.cuh): it sums over one tile only, and
// threads add these sums to their own.

// The plane of the large parts, then that of the small ones.
template <int Rows, int Columns>
struct PlaneTile {
  using Plane = BlockedTile<f16, Rows, Columns>;
  static constexpr int rows = Rows;
  static constexpr int columns = Columns;
  static constexpr int bytes = tile_bytes(Rows, Columns, plane_count * sizeof(u16));
  static_assert(bytes == plane_count * Plane::bytes);
};

// Two elements split into planes: a word with their large parts, and one with their small ones.
struct SplitPair {
  u32 word[plane_count];
};

DEVICE SplitPair split(float first, float second) {
  const u32 large = f16::pack(first, second);
  const float2 whole = {f16::widen((u16)large), f16::widen((u16)(large >> 16))};
  return {{large, f16::pack(first - whole.x, second - whole.y)}};
}

// The unit of a row whose largest element has this magnitude, and its reciprocal, both powers of two.
struct RowUnit {
  float unit;
  float reciprocal;

  __device__ RowUnit(float largest) {
    constexpr u32 bias = 127, one = 1 << 23, exponents = 0xff, top = 14;
    // Both powers must be normal float32 numbers.
    const u32 exponent = max(__float_as_uint(largest) >> 23 & exponents, top + 1);
    unit = __uint_as_float((exponent - top) * one);
    reciprocal = __uint_as_float((2 * bias + top - exponent) * one);
  }
};

// A left operand of 16 × `Steps` columns in registers, split into planes.
template <int Steps>
struct PlanesLeft {
  f16::Left plane[plane_count][Steps];
};

// Makes a left operand of an accumulator: multiplies each column by its unit in `units`, then divides each
// row by its new unit, which `row_units` receives for the two rows of a thread.
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

// The products of planes, small ones first: the plane of the left operand, and that of the right one.
constexpr int plane_products = 3;
DEVICE constexpr int left_plane(int product) { return product == 0; }
DEVICE constexpr int right_plane(int product) { return product == 1; }

// c = rows `row` … + 63 of the left tile times the transposed right tile, in units of the rows. With
// `Turned`, c is bit for bit the transpose of the product with left and right exchanged.
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

// c = a times 8 × `Columns` columns of the tile, from its column block `block` on.
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

// total += sum, whose rows are in `row_units`.
template <int Columns>
DEVICE void add_in_units(float (*total)[4], const float (&sum)[Columns][4], const float (&row_units)[2]) {
#pragma unroll
  for (int column = 0; column < Columns; ++column) {
#pragma unroll
    for (int i = 0; i < 4; ++i) total[column][i] = fmaf(sum[column][i], row_units[i / 2], total[column][i]);
  }
}

#pragma once

#include "tile/memory.cuh"
#include "tile/types.cuh"
#include "tile/wgmma.cuh"

// Tiles in shared memory in the layout of Hopper's matrix instructions: blocks of 64 columns, whose rows are
// 128 bytes in chunks of 16 bytes, swizzled like those of `Tile`. Tiles are aligned to 1024 bytes.

constexpr int block_columns = 64;
constexpr int block_row_bytes = 128;

template <typename E, int Rows, int Columns>
struct BlockedTile {
  using Element = E;
  using Number = typename E::Number;
  static constexpr int rows = Rows;
  static constexpr int columns = Columns;
  static constexpr int chunk_numbers = chunk_bytes / sizeof(Number);
  static constexpr int chunks = Columns / chunk_numbers;
  static constexpr int block_bytes = Rows * block_row_bytes;
  static constexpr int bytes = tile_bytes(Rows, Columns, sizeof(Number));
  static_assert(bytes == Columns / block_columns * block_bytes);

  DEVICE u32 place(int row, int chunk) {
    return chunk / 8 * block_bytes + row * block_row_bytes + ((chunk & 7) ^ (row & 7)) * chunk_bytes;
  }

  // As in `Tile`.
  DEVICE u32 pair_place(int row, int column, int lane) { return place(row, column) + lane % 4 * 4; }

  // The operand of rows `row` … for a sum over columns 16 × `step` … + 15. Groups of eight rows are 1024
  // bytes apart.
  DEVICE u64 along_rows(u32 tile, int row, int step) {
    return descriptor(tile + row * block_row_bytes, 16, 1024) + (step / 4 * block_bytes + step % 4 * 32) / 16;
  }

  // The operand for a sum over rows 16 × `step` … + 15: its columns are the tile's, 64 per block.
  DEVICE u64 along_columns(u32 tile, int step) {
    return descriptor(tile + step * 16 * block_row_bytes, block_bytes, 1024);
  }

 private:
  // Bits 0–13: the address; 16–29 and 32–45: the strides of blocks and of groups of eight rows, all in units
  // of 16 bytes; bit 62: the 128-byte swizzle.
  DEVICE u64 descriptor(u32 address, u32 leading, u32 stride) {
    return (u64)(address & 0x3ffff) >> 4 | (u64)(leading >> 4) << 16 | (u64)(stride >> 4) << 32 |
           (u64)1 << 62;
  }
};

// Warpgroup products of an element type.
template <typename Element>
struct Warpgroup;

template <>
struct Warpgroup<bf16> {
  template <int Columns>
  DEVICE void multiply_shared(float (&c)[Columns][4], u64 left, u64 right, bool adds) {
    multiply_shared_bf16(c, left, right, adds);
  }
  template <int Columns>
  DEVICE void multiply_registers(float (&c)[Columns][4], const u32 (&a)[4], u64 right, bool adds) {
    multiply_registers_bf16(c, a, right, adds);
  }
  template <int Columns>
  DEVICE void multiply_rows(float (&c)[Columns][4], const u32 (&a)[4], u64 right, bool adds) {
    multiply_rows_bf16(c, a, right, adds);
  }
};

template <>
struct Warpgroup<f16> {
  template <int Columns>
  DEVICE void multiply_shared(float (&c)[Columns][4], u64 left, u64 right, bool adds) {
    multiply_shared_f16(c, left, right, adds);
  }
  template <int Columns>
  DEVICE void multiply_registers(float (&c)[Columns][4], const u32 (&a)[4], u64 right, bool adds) {
    multiply_registers_f16(c, a, right, adds);
  }
  template <int Columns>
  DEVICE void multiply_rows(float (&c)[Columns][4], const u32 (&a)[4], u64 right, bool adds) {
    multiply_rows_f16(c, a, right, adds);
  }
};

// c = rows `row` … + 63 of the left tile times the transposed right tile.
template <typename Element, typename Left, typename Right, int Columns>
DEVICE void multiply_tiles(float (&c)[Columns][4], u32 left, int row, u32 right) {
#pragma unroll
  for (int step = 0; step < Left::columns / 16; ++step) {
    Warpgroup<Element>::multiply_shared(c, Left::along_rows(left, row, step), Right::along_rows(right, 0, step),
                             step > 0);
  }
}

// c += a times the tile, with a in registers, 16 columns per entry.
template <typename Element, typename Right, int Steps, int Columns>
DEVICE void add_registers(float (&c)[Columns][4], const typename Element::Left (&a)[Steps],
                          u32 right) {
#pragma unroll
  for (int step = 0; step < Steps; ++step) {
    Warpgroup<Element>::multiply_registers(c, a[step].word, Right::along_columns(right, step), true);
  }
}

// c (+)= a times the transposed tile, with a in registers, 16 columns per entry.
template <typename Element, typename Right, int Steps, int Columns>
DEVICE void multiply_transposed(float (&c)[Columns][4], const typename Element::Left (&a)[Steps], u32 right,
                                bool adds) {
#pragma unroll
  for (int step = 0; step < Steps; ++step) {
    Warpgroup<Element>::multiply_rows(c, a[step].word, Right::along_rows(right, 0, step), adds || step > 0);
  }
}

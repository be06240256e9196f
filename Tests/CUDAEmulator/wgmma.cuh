#pragma once

#include "tile/instructions.cuh"

// The instructions of tile/wgmma.cuh for the emulator: a product is computed when it is issued.

DEVICE void open_products() {}
DEVICE void close_products() {}
template <int Pending>
DEVICE void wait_for_products() {}
DEVICE void show_to_products() {}
template <int Columns>
DEVICE void keep(float (&)[Columns][4]) {}

// Where a descriptor finds an element of row `row`, in blocks of 8 rows and 64 elements, swizzled by address.
struct Operand {
  u64 bits;

  u16 number(int offset) const {
    const u32 address = ((u32)bits & 0x3fff) * 16 + offset;
    return *(const u16 *)at_shared(address ^ (address >> 7 & 7) << 4);
  }
  int leading() const { return (int)(bits >> 16 & 0x3fff) * 16; }
  int stride() const { return (int)(bits >> 32 & 0x3fff) * 16; }
  bool is_swizzled() const { return bits >> 62 == 1; }

  // Sums run along rows of 64 elements.
  u16 along_rows(int row, int k) const { return number(row / 8 * stride() + row % 8 * 128 + k * 2); }
  // Sums run over rows.
  u16 along_columns(int column, int k) const {
    return number(column / 64 * leading() + k / 8 * stride() + k % 8 * 128 + column % 64 * 2);
  }
};

// `OverRows`: sums run over the rows of the right tile.
template <int Columns, float (*Widen)(u16), bool FromRegisters, bool OverRows>
struct GroupProduct {
  float *c;
  const u32 *a;
  u64 left, right;
  bool adds;

  static void execute(void *const *arguments) {
    static float rows[64][16], columns[16][Columns * 8];
    const GroupProduct &first = *(const GroupProduct *)arguments[0];
    const Operand right = {first.right}, shared_left = {first.left};
    if (!right.is_swizzled() || (!FromRegisters && !shared_left.is_swizzled())) {
      machine::fail("the emulator knows operands with a swizzle of 128 bytes only");
    }
    for (int column = 0; column < Columns * 8; ++column) {
      for (int k = 0; k < 16; ++k) {
        columns[k][column] =
            Widen(OverRows ? right.along_columns(column, k) : right.along_rows(column, k));
      }
    }
    for (int thread = 0; thread < 128; ++thread) {
      const GroupProduct &own = *(const GroupProduct *)arguments[thread];
      if (own.right != first.right || own.left != first.left || own.adds != first.adds) {
        machine::fail("threads of a warpgroup name different operands");
      }
      const int g = thread / 32 * 16 + thread % 32 / 4, t = thread % 4;
      for (int i = 0; FromRegisters && i < 4; ++i) {
        for (int odd = 0; odd < 2; ++odd) {
          rows[g + i % 2 * 8][2 * t + i / 2 * 8 + odd] = Widen(own.a[i] >> 16 * odd);
        }
      }
    }
    for (int row = 0; !FromRegisters && row < 64; ++row) {
      for (int k = 0; k < 16; ++k) rows[row][k] = Widen(shared_left.along_rows(row, k));
    }
    for (int thread = 0; thread < 128; ++thread) {
      const GroupProduct &own = *(const GroupProduct *)arguments[thread];
      for (int i = 0; i < Columns * 4; ++i) {
        const int row = thread / 32 * 16 + thread % 32 / 4 + i % 4 / 2 * 8;
        const int column = i / 4 * 8 + thread % 4 * 2 + i % 2;
        float sum = 0;
        for (int k = 0; k < 16; ++k) sum += rows[row][k] * columns[k][column];
        own.c[i] = own.adds ? own.c[i] + sum : sum;
      }
    }
  }

  static void run(float *c, const u32 *a, u64 left, u64 right, bool adds) {
    GroupProduct own = {c, a, left, right, adds};
    machine::together_as_warpgroup(execute, &own);
  }
};

template <int Columns>
DEVICE void multiply_shared_bf16(float (&c)[Columns][4], u64 left, u64 right, bool adds) {
  GroupProduct<Columns, emulated_bf16, false, false>::run(&c[0][0], nullptr, left, right, adds);
}
template <int Columns>
DEVICE void multiply_shared_f16(float (&c)[Columns][4], u64 left, u64 right, bool adds) {
  GroupProduct<Columns, widen_f16, false, false>::run(&c[0][0], nullptr, left, right, adds);
}
template <int Columns>
DEVICE void multiply_registers_bf16(float (&c)[Columns][4], const u32 (&a)[4], u64 right, bool adds) {
  GroupProduct<Columns, emulated_bf16, true, true>::run(&c[0][0], a, 0, right, adds);
}
template <int Columns>
DEVICE void multiply_registers_f16(float (&c)[Columns][4], const u32 (&a)[4], u64 right, bool adds) {
  GroupProduct<Columns, widen_f16, true, true>::run(&c[0][0], a, 0, right, adds);
}
template <int Columns>
DEVICE void multiply_rows_bf16(float (&c)[Columns][4], const u32 (&a)[4], u64 right, bool adds) {
  GroupProduct<Columns, emulated_bf16, true, false>::run(&c[0][0], a, 0, right, adds);
}
template <int Columns>
DEVICE void multiply_rows_f16(float (&c)[Columns][4], const u32 (&a)[4], u64 right, bool adds) {
  GroupProduct<Columns, widen_f16, true, false>::run(&c[0][0], a, 0, right, adds);
}

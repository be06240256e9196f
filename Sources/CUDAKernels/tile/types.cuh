#pragma once

#include "tile/instructions.cuh"

// The two half-precision element types. Each packs two numbers into a register, the first into the low
// half, and multiplies fragments of itself.

struct bf16 {
  DEVICE float widen(u16 number) { return __uint_as_float((u32)number << 16); }
  DEVICE u32 pack(float low, float high) { return pack_bf16(low, high); }
  DEVICE void multiply_add(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    multiply_add_bf16(c, a, b0, b1);
  }
};

struct f16 {
  DEVICE float widen(u16 number) { return widen_f16(number); }
  DEVICE u32 pack(float low, float high) { return pack_f16(low, high); }
  DEVICE void multiply_add(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    multiply_add_f16(c, a, b0, b1);
  }
};

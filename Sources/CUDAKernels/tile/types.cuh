#pragma once

// Fixed-width types and the two half-precision element types. Sources include no headers of CUDA:
// what they need is declared in this folder.

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using i64 = long long;

#define DEVICE static __device__ __forceinline__

constexpr float infinity = __builtin_bit_cast(float, 0x7f800000u);
constexpr float log2_e = 1.44269504088896340736f;
constexpr float ln_2 = 0.69314718055994530942f;

constexpr int warp_threads = 32;

constexpr int round_up(int value, int step) { return (value + step - 1) / step * step; }

// Each element type packs two numbers into a register, the first into the low half, and multiplies
// fragments of itself.
struct bf16 {
  DEVICE float widen(u16 number) { return __uint_as_float((u32)number << 16); }

  DEVICE u32 pack(float low, float high) {
    u32 result;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
    return result;
  }

  // c += a b for a of 16 × 16, b of 16 × 8 and c of 16 × 8 numbers, spread over the warp.
  DEVICE void multiply_add(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
};

struct f16 {
  DEVICE float widen(u16 number) {
    float result;
    asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(number));
    return result;
  }

  DEVICE u32 pack(float low, float high) {
    u32 result;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
    return result;
  }

  DEVICE void multiply_add(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
};

// The thread's index in its block, read anew each time: what follows from it is then computed where it
// is used, and not kept in registers through a loop.
DEVICE u32 read_thread_index() {
  u32 index;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(index));
  return index;
}

DEVICE float exp2_fast(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

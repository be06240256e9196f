#pragma once

#include "tile/instructions.cuh"

// The element types: how their numbers lie in memory, and how fragments of matrices are rounded and
// multiplied. A fragment is 16 × 16 numbers, whatever depth an instruction has.
//
// Thread 4 g + t of a warp holds, of a sum of 16 × 8 numbers, c[0], c[1] at row g, columns 2 t and
// 2 t + 1, and c[2], c[3] at row g + 8.

// Two numbers lie in a word, the first in the low half.
template <typename Own>
struct HalfPrecision {
  using Number = u16;
  // As mma.sync.m16n8k16 takes them; a right operand has the columns of two products.
  struct Left {
    u32 word[4];
  };
  struct Right {
    u32 word[4];
  };
  // Turned around they negate the numbers of a word.
  static constexpr u32 sign_bits = 0x80008000u;

  DEVICE float2 pair(const void *place) {
    const u32 word = *(const u32 *)place;
    return {Own::widen((u16)word), Own::widen((u16)(word >> 16))};
  }

  DEVICE void store(void *place, float first, float second) {
    *(u32 *)place = Own::pack(first, second);
  }

  DEVICE u16 narrow(float number) { return (u16)Own::pack(number, 0); }

  // Two sums side by side.
  DEVICE Left as_left(const float (&first)[4], const float (&second)[4]) {
    return {{Own::pack(first[0], first[1]), Own::pack(first[2], first[3]),
             Own::pack(second[0], second[1]), Own::pack(second[2], second[3])}};
  }

  // first, second += a b. Products are exact and summed in one order, so that they are the same `Turned` around.
  template <bool Turned = false>
  DEVICE void multiply_add(float (&first)[4], float (&second)[4], const Left &a, const Right &b) {
    Own::multiply(first, a.word, b.word[0], b.word[1]);
    Own::multiply(second, a.word, b.word[2], b.word[3]);
  }
};

struct bf16 : HalfPrecision<bf16> {
  DEVICE float widen(u16 number) { return __uint_as_float((u32)number << 16); }
  DEVICE u32 pack(float low, float high) { return pack_bf16(low, high); }
  DEVICE void multiply(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    multiply_add_bf16(c, a, b0, b1);
  }
};

struct f16 : HalfPrecision<f16> {
  DEVICE float widen(u16 number) { return widen_f16(number); }
  DEVICE u32 pack(float low, float high) { return pack_f16(low, high); }
  DEVICE void multiply(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    multiply_add_f16(c, a, b0, b1);
  }
};

// Each number is the sum of `Parts` numbers of TF32, which have 11 bits. With two parts the products keep
// 22 bits, all but the product of the two small parts: float32 but for a bit or two. With one they are
// as TF32 has them.
//
// An instruction is 8 deep, and the order in which it sums is free as long as both operands agree. Where
// the left operand comes from sums, thread t's columns 2 t and 2 t + 1 are taken as numbers t and t + 4 of
// the 8, so that nothing moves between threads.
//
// The matrix unit cuts sums off instead of rounding them, always towards zero; what that adds up to over
// long sums is more than float32 would lose. So sums of 16 products are made there and added as float32.
template <int Parts>
struct Float32 {
  using Number = float;
  // [part][step of 8][as mma.sync.m16n8k8 takes them]
  struct Left {
    u32 word[Parts][2][4];
  };
  struct Right {
    u32 word[Parts][2][4];
  };
  static constexpr u32 sign_bits = 0x80000000u;

  DEVICE float widen(float number) { return number; }
  DEVICE float narrow(float number) { return number; }
  DEVICE float2 pair(const void *place) { return *(const float2 *)place; }
  DEVICE void store(void *place, float first, float second) {
    *(float2 *)place = {first, second};
  }

  // Takes numbers, which are in part 0, apart.
  template <typename Fragment>
  DEVICE void split(Fragment &fragment) {
#pragma unroll
    for (int step = 0; step < 2; ++step) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float number = __uint_as_float(fragment.word[0][step][i]);
        const u32 large = round_tf32(number);
        fragment.word[0][step][i] = large;
        if (Parts == 2) {
          fragment.word[Parts - 1][step][i] = __float_as_uint(number - __uint_as_float(large));
        }
      }
    }
  }

  DEVICE Left as_left(const float (&first)[4], const float (&second)[4]) {
    Left result;
    const float(*sums[2])[4] = {&first, &second};
#pragma unroll
    for (int step = 0; step < 2; ++step) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        result.word[0][step][i] = __float_as_uint((*sums[step])[i % 2 * 2 + i / 2]);
      }
    }
    split(result);
    return result;
  }

  // `Turned`, where the operands are those of the transposed product, its sums are the same to the bit.
  template <bool Turned = false>
  DEVICE void multiply_add(float (&first)[4], float (&second)[4], const Left &a, const Right &b) {
    float sum[2][4] = {};
#pragma unroll
    for (int order = 2 * Parts - 2; order >= 0; --order) {
      // The small products first: small × large, large × small, large × large.
      const int left = order == (Turned ? 1 : 2), right = order == (Turned ? 2 : 1);
#pragma unroll
      for (int step = 0; step < 2; ++step) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          multiply_add_tf32(sum[half], a.word[left][step], b.word[right][step][2 * half],
                            b.word[right][step][2 * half + 1]);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      first[i] += sum[0][i];
      second[i] += sum[1][i];
    }
  }
};

using tf32x3 = Float32<2>;
using tf32 = Float32<1>;

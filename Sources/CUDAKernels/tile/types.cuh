#pragma once

#include "tile/instructions.cuh"

// The element types: their storage in memory, and how matrix fragments are rounded and multiplied. A
// fragment is 16 × 16 elements, whatever the depth of an instruction.
//
// Of a 16 × 8 accumulator, thread 4 g + t of a warp holds c[0], c[1] at row g, columns 2 t and 2 t + 1,
// and c[2], c[3] at row g + 8.

// Two elements per word, the first in the low half.
template <typename Own>
struct HalfPrecision {
  using Number = u16;
  // Operands of mma.sync.m16n8k16; a right operand has the columns of two products.
  struct Left {
    u32 word[4];
  };
  struct Right {
    u32 word[4];
  };
  // Flipping these bits negates both elements of a word.
  static constexpr u32 sign_bits = 0x80008000u;

  DEVICE float2 pair(const void *place) {
    const u32 word = *(const u32 *)place;
    return {Own::widen((u16)word), Own::widen((u16)(word >> 16))};
  }

  DEVICE void store(void *place, float first, float second) {
    *(u32 *)place = Own::pack(first, second);
  }

  DEVICE u16 narrow(float number) { return (u16)Own::pack(number, 0); }

  // Two accumulators side by side, rounded to a left operand.
  DEVICE Left as_left(const float (&first)[4], const float (&second)[4]) {
    return {{Own::pack(first[0], first[1]), Own::pack(first[2], first[3]),
             Own::pack(second[0], second[1]), Own::pack(second[2], second[3])}};
  }

  // first, second += a b. Products are exact and summed in a fixed order, so `Turned` makes no difference.
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

// Each element is split into a sum of `Parts` TF32 values of 11 bits. With two parts products keep 22 bits,
// float32 but for a bit or two: only the product of the two small parts is left out. With one part they have
// the precision of TF32.
//
// An instruction is 8 deep, and any order of summation is valid as long as both operands use it. Where the
// left operand comes from accumulators, columns 2 t and 2 t + 1 of thread t serve as elements t and t + 4 of
// the 8, so that no data moves between threads.
//
// The matrix unit truncates sums towards zero instead of rounding them; over long sums the error would exceed
// that of float32. So it sums 16 products at a time, and these sums are added in float32.
template <int Parts>
struct Float32 {
  using Number = float;
  // [part][step of 8][registers of mma.sync.m16n8k8]
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

  // Splits the elements, stored in part 0, into parts.
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

  // With `Turned` the operands are those of the transposed product, and the sums agree with its bit for bit.
  template <bool Turned = false>
  DEVICE void multiply_add(float (&first)[4], float (&second)[4], const Left &a, const Right &b) {
    float sum[2][4] = {};
#pragma unroll
    for (int order = 2 * Parts - 2; order >= 0; --order) {
      // Small products first: small × large, large × small, large × large.
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

#pragma once

#include "tile/base.cuh"

// The instructions of tile/instructions.cuh for the emulator. Asynchronous copies are carried out when a
// thread waits for them, and their targets are filled with NaN when they start, so that early reads are
// detected.

DEVICE float emulated_bf16(u16 number) { return __uint_as_float((u32)number << 16); }
DEVICE float widen_f16(u16 number) { return (float)__builtin_bit_cast(_Float16, number); }

DEVICE u32 round_bf16(float x) {
  const u32 bits = __float_as_uint(x);
  if (x != x) return bits >> 16 | 0x40;
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
DEVICE u32 round_f16(float x) { return __builtin_bit_cast(u16, (_Float16)x); }

DEVICE u32 pack_bf16(float low, float high) { return round_bf16(low) | round_bf16(high) << 16; }
DEVICE u32 pack_f16(float low, float high) { return round_f16(low) | round_f16(high) << 16; }

// mma.sync.m16n8k16: lane 4 g + t holds of the left operand rows g and g + 8 at columns 2 t, 2 t + 1, 2 t + 8
// and 2 t + 9; of the right operand rows 2 t, 2 t + 1, 2 t + 8 and 2 t + 9 of column g; of the sum rows g and
// g + 8 at columns 2 t and 2 t + 1.
template <float (*Widen)(u16)>
struct Product {
  float *c;
  const u32 *a;
  u32 b[2];

  static void execute(void *const *arguments) {
    float left[16][16], right[16][8];
    for (int lane = 0; lane < 32; ++lane) {
      const Product &own = *(const Product *)arguments[lane];
      const int g = lane / 4, t = lane % 4;
      for (int i = 0; i < 4; ++i) {
        for (int odd = 0; odd < 2; ++odd) {
          left[g + i % 2 * 8][2 * t + i / 2 * 8 + odd] = Widen(own.a[i] >> 16 * odd);
        }
      }
      for (int i = 0; i < 2; ++i) {
        for (int odd = 0; odd < 2; ++odd) right[2 * t + 8 * i + odd][g] = Widen(own.b[i] >> 16 * odd);
      }
    }
    for (int lane = 0; lane < 32; ++lane) {
      float *c = ((const Product *)arguments[lane])->c;
      for (int i = 0; i < 4; ++i) {
        const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        float sum = 0;
        for (int k = 0; k < 16; ++k) sum += left[row][k] * right[k][column];
        c[i] += sum;
      }
    }
  }
};

DEVICE void multiply_add_bf16(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  Product<emulated_bf16> own = {c, a, {b0, b1}};
  machine::together(Product<emulated_bf16>::execute, &own);
}
DEVICE void multiply_add_f16(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  Product<widen_f16> own = {c, a, {b0, b1}};
  machine::together(Product<widen_f16>::execute, &own);
}

// Ties away from zero, as cvt.rna rounds.
DEVICE u32 round_tf32(float x) {
  const u32 bits = __float_as_uint(x);
  return x != x || fabsf(x) == infinity ? bits : (bits + 0x1000) & 0xffffe000;
}

// mma.sync.m16n8k8: lane 4 g + t holds of the left operand rows g and g + 8 at columns t and t + 4, of the
// right operand rows t and t + 4 of column g, of the sum the same as m16n8k16. The low bits are not read.
struct TF32Product {
  float *c;
  const u32 *a;
  u32 b[2];

  static float read(u32 word) { return __uint_as_float(word & 0xffffe000); }

  static void execute(void *const *arguments) {
    float left[16][8], right[8][8];
    for (int lane = 0; lane < 32; ++lane) {
      const TF32Product &own = *(const TF32Product *)arguments[lane];
      const int g = lane / 4, t = lane % 4;
      for (int i = 0; i < 4; ++i) left[g + i % 2 * 8][t + i / 2 * 4] = read(own.a[i]);
      for (int i = 0; i < 2; ++i) right[t + 4 * i][g] = read(own.b[i]);
    }
    for (int lane = 0; lane < 32; ++lane) {
      float *c = ((const TF32Product *)arguments[lane])->c;
      for (int i = 0; i < 4; ++i) {
        const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        float sum = 0;
        for (int k = 0; k < 8; ++k) sum += left[row][k] * right[k][column];
        c[i] += sum;
      }
    }
  }
};

DEVICE void multiply_add_tf32(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  TF32Product own = {c, a, {b0, b1}};
  machine::together(TF32Product::execute, &own);
}

DEVICE u8 *at_shared(u32 address) { return shared + address; }

template <bool Transposed>
struct MatrixLoad {
  u32 *r;
  u32 address;

  static void execute(void *const *arguments) {
    for (int lane = 0; lane < 32; ++lane) {
      u32 *r = ((const MatrixLoad *)arguments[lane])->r;
      for (int matrix = 0; matrix < 4; ++matrix) {
        u32 pair = 0;
        for (int odd = 0; odd < 2; ++odd) {
          int row = lane / 4, column = lane % 4 * 2 + odd;
          if (Transposed) {
            const int other = row;
            row = column;
            column = other;
          }
          const u32 address = ((const MatrixLoad *)arguments[matrix * 8 + row])->address;
          pair |= (u32)((const u16 *)at_shared(address))[column] << 16 * odd;
        }
        r[matrix] = pair;
      }
    }
  }
};

DEVICE void load_matrices(u32 (&r)[4], u32 address) {
  MatrixLoad<false> own = {r, address};
  machine::together(MatrixLoad<false>::execute, &own);
}
DEVICE void load_matrices_transposed(u32 (&r)[4], u32 address) {
  MatrixLoad<true> own = {r, address};
  machine::together(MatrixLoad<true>::execute, &own);
}

struct TransposedMatrixStore {
  const u32 *r;
  u32 address;

  static void execute(void *const *arguments) {
    for (int lane = 0; lane < 32; ++lane) {
      const u32 *r = ((const TransposedMatrixStore *)arguments[lane])->r;
      for (int matrix = 0; matrix < 4; ++matrix) {
        for (int odd = 0; odd < 2; ++odd) {
          const int row = lane % 4 * 2 + odd, column = lane / 4;
          const u32 address = ((const TransposedMatrixStore *)arguments[matrix * 8 + row])->address;
          ((u16 *)at_shared(address))[column] = (u16)(r[matrix] >> 16 * odd);
        }
      }
    }
  }
};

DEVICE void store_matrices_transposed(u32 address, const u32 (&r)[4]) {
  TransposedMatrixStore own = {r, address};
  machine::together(TransposedMatrixStore::execute, &own);
}

DEVICE u32 load_word(u32 address) { return *(const u32 *)at_shared(address); }
DEVICE void store_number(u32 address, float number) { *(float *)at_shared(address) = number; }

DEVICE u32 shared_address(const void *pointer) { return (u32)((const u8 *)pointer - shared); }

DEVICE void copy_chunk(u32 target, const void *source, bool exists) {
  machine::start_copy(at_shared(target), exists ? source : nullptr, chunk_bytes);
}
DEVICE void copy_number(u32 target, const void *source, bool exists) {
  machine::start_copy(at_shared(target), exists ? source : nullptr, 4);
}
DEVICE void prefetch(const void *) {}
DEVICE void close_copies() { machine::close_copies(); }
template <int Pending>
DEVICE void wait_for_copies() {
  machine::finish_copies(Pending);
}

DEVICE u32 read_thread_index() { return threadIdx.x; }
DEVICE void settle(float &) {}
DEVICE int read_again(const int &number) { return number; }
DEVICE float reciprocal_fast(float x) { return 1 / x; }
DEVICE float exp2_fast(float x) { return exp2f(x); }

DEVICE void write_for_device(u64 *place, u64 word) { *place = word; }
DEVICE u64 read_from_device(const u64 *place) { return *(const volatile u64 *)place; }
DEVICE void read_pair_from_device(u64 (&words)[2], const u64 *place) {
  words[0] = read_from_device(place);
  words[1] = read_from_device(place + 1);
}

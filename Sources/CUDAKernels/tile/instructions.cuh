#pragma once

#include "tile/base.cuh"

// Instructions without a function in CUDA C++. Kernels contain no assembly of their own, so that substituting
// this file and those of Hopper's instructions compiles them for another target, such as the emulator.

// Two floats rounded to half precision in one register, the first in the low half.
DEVICE u32 pack_bf16(float low, float high) {
  u32 result;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
  return result;
}

DEVICE u32 pack_f16(float low, float high) {
  u32 result;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
  return result;
}

DEVICE float widen_f16(u16 number) {
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(number));
  return result;
}

// c += a b, with a 16 × 16, b 16 × 8 and c 16 × 8, distributed over the warp.
DEVICE void multiply_add_bf16(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
      "{%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

DEVICE void multiply_add_f16(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
      "{%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Rounds to the 11 significant bits of TF32.
DEVICE u32 round_tf32(float number) {
  u32 result;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(result) : "f"(number));
  return result;
}

// c += a b, with a 16 × 8, b 8 × 8 and c 16 × 8; a and b are TF32.
DEVICE void multiply_add_tf32(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
      "{%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Loads four 8 × 8 half-precision matrices from shared memory: lane l passes the address of row l mod 8 of
// matrix l / 8 and receives in r[i] elements 2 (l mod 4) and + 1 of row l / 4 of matrix i.
DEVICE void load_matrices(u32 (&r)[4], u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

// The same for the transposed matrices.
DEVICE void load_matrices_transposed(u32 (&r)[4], u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

// Stores four transposed 8 × 8 matrices, from the registers of `load_matrices`; for sm_90.
DEVICE void store_matrices_transposed(u32 address, const u32 (&r)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1,%2,%3,%4};"
               :
               : "r"(address), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
               : "memory");
}

// Loads four bytes of shared memory.
DEVICE u32 load_word(u32 address) {
  u32 result;
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(result) : "r"(address) : "memory");
  return result;
}

DEVICE void store_number(u32 address, float number) {
  asm volatile("st.shared.f32 [%0], %1;" : : "r"(address), "f"(number) : "memory");
}

// A shared-memory address as the instructions take it.
DEVICE u32 shared_address(const void *pointer) { return (u32)__cvta_generic_to_shared(pointer); }

// Starts copying 16 bytes to shared memory, or zeros if `exists` is false.
DEVICE void copy_chunk(u32 target, const void *source, bool exists) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(target), "l"(source), "r"(exists ? chunk_bytes : 0)
               : "memory");
}

// The same for 4 bytes.
DEVICE void copy_number(u32 target, const void *source, bool exists) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;"
               :
               : "r"(target), "l"(source), "r"(exists ? 4 : 0)
               : "memory");
}

// Prefetches the line at `place` of global memory into L2.
DEVICE void prefetch(const void *place) {
  asm volatile("prefetch.global.L2 [%0];" : : "l"(place));
}

// Closes the group of copies started since the last one.
DEVICE void close_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most `Pending` of this thread's groups are pending.
template <int Pending>
DEVICE void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" : : "n"(Pending) : "memory");
}

// The thread's index in its block, read anew each time, so that values derived from it are recomputed where
// they are used instead of being kept in registers through a loop.
DEVICE u32 read_thread_index() {
  u32 index;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(index));
  return index;
}

// Forces the value to be computed here, so that rarely needed values do not keep their operands in registers.
DEVICE void settle(float &number) { asm volatile("" : "+f"(number)); }

// Rereads a value that no thread writes from the cache, which leaves its register to the inner loop.
DEVICE int read_again(const int &number) {
  int result;
  asm volatile("ld.global.nc.s32 %0, [%1];" : "=r"(result) : "l"(&number));
  return result;
}

DEVICE float reciprocal_fast(float x) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

DEVICE float exp2_fast(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

// Words that blocks of one launch pass to each other: written and read whole, in the cache that all of them see.
DEVICE void write_for_device(u64 *place, u64 word) {
  asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" : : "l"(place), "l"(word) : "memory");
}

DEVICE u64 read_from_device(const u64 *place) {
  u64 word;
  asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(word) : "l"(place) : "memory");
  return word;
}

// Two neighbours, each of them whole.
DEVICE void read_pair_from_device(u64 (&words)[2], const u64 *place) {
  asm volatile("ld.relaxed.gpu.global.v2.u64 {%0, %1}, [%2];"
               : "=l"(words[0]), "=l"(words[1])
               : "l"(place)
               : "memory");
}

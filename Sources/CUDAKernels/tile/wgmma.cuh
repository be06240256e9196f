#pragma once

#include "tile/base.cuh"

// Hopper's matrix instructions, for sm_90a: a warpgroup of four warps multiplies 64 rows of a left operand by
// N columns of a right one, 16 deep, asynchronously. Each warp holds 16 rows of the accumulator, in the
// layout of mma.sync: c[j] are columns 8 j … + 7.
//
// Operands in shared memory are given by descriptors (tile/warpgroup.cuh). The left operand may be in
// registers instead, four per thread, also in the layout of mma.sync.

// Orders the threads' writes to registers before the products issued next.
DEVICE void open_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

// Closes the group of products issued since the last one.
DEVICE void close_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Waits until at most `Pending` groups are pending.
template <int Pending>
DEVICE void wait_for_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" : : "n"(Pending) : "memory");
}

// Orders this thread's writes to shared memory before reads of it by products.
DEVICE void show_to_products() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Keeps the compiler from moving uses of registers across the products that write them.
template <int Columns>
DEVICE void keep(float (&c)[Columns][4]) {
#pragma unroll
  for (int i = 0; i < Columns * 4; ++i) asm volatile("" : "+f"((&c[0][0])[i])::"memory");
}

#define SUM8(j) SUM(j), SUM(j + 1), SUM(j + 2), SUM(j + 3), SUM(j + 4), SUM(j + 5), SUM(j + 6), SUM(j + 7)
#define SUM(j) "+f"(c[j][0]), "+f"(c[j][1]), "+f"(c[j][2]), "+f"(c[j][3])

#define PLACES_48 \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
  "%16,%17,%18,%19,%20,%21,%22,%23"
#define PLACES_64 \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define PLACES_96 \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31," \
  "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47"
#define PLACES_128 \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31," \
  "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47," \
  "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"

// c (+)= a b for a and b in shared memory, both contiguous along the axis that is summed over.
#define SHARED_PRODUCT(N, TYPE, LEFT, RIGHT, ADDS)                                          \
  asm volatile("{.reg .pred adds; setp.ne.b32 adds, %" ADDS ", 0;"                                \
               "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE " {" PLACES_##N    \
               "}, %" LEFT ", %" RIGHT ", adds, 1, 1, 0, 0;}"                                     \
               : SUMS_##N                                                                          \
               : "l"(left), "l"(right), "r"((int)adds)                                            \
               : "memory")

// c (+)= a b for a in registers. The rows of b's tile are contiguous; sums run over its rows or, with
// OVER_ROWS 0, over its columns.
#define REGISTER_PRODUCT(N, TYPE, A0, A1, A2, A3, RIGHT, ADDS) \
  REGISTER_PRODUCT_BY(1, N, TYPE, A0, A1, A2, A3, RIGHT, ADDS)
#define REGISTER_PRODUCT_BY(OVER_ROWS, N, TYPE, A0, A1, A2, A3, RIGHT, ADDS)                \
  asm volatile("{.reg .pred adds; setp.ne.b32 adds, %" ADDS ", 0;"                                \
               "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE " {" PLACES_##N    \
               "}, {%" A0 ",%" A1 ",%" A2 ",%" A3 "}, %" RIGHT ", adds, 1, 1, " #OVER_ROWS ";}"   \
               : SUMS_##N                                                                          \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(right), "r"((int)adds)           \
               : "memory")

#define SUMS_48 SUM(0), SUM(1), SUM(2), SUM(3), SUM(4), SUM(5)
#define SUMS_64 SUM8(0)
#define SUMS_96 SUM8(0), SUM(8), SUM(9), SUM(10), SUM(11)
#define SUMS_128 SUM8(0), SUM8(8)

DEVICE void multiply_shared_f16(float (&c)[6][4], u64 left, u64 right, bool adds) {
  SHARED_PRODUCT(48, "f16", "24", "25", "26");
}
DEVICE void multiply_shared_bf16(float (&c)[8][4], u64 left, u64 right, bool adds) {
  SHARED_PRODUCT(64, "bf16", "32", "33", "34");
}
DEVICE void multiply_registers_bf16(float (&c)[8][4], const u32 (&a)[4], u64 right, bool adds) {
  REGISTER_PRODUCT(64, "bf16", "32", "33", "34", "35", "36", "37");
}
DEVICE void multiply_shared_f16(float (&c)[8][4], u64 left, u64 right, bool adds) {
  SHARED_PRODUCT(64, "f16", "32", "33", "34");
}
DEVICE void multiply_registers_f16(float (&c)[8][4], const u32 (&a)[4], u64 right, bool adds) {
  REGISTER_PRODUCT(64, "f16", "32", "33", "34", "35", "36", "37");
}
DEVICE void multiply_shared_bf16(float (&c)[12][4], u64 left, u64 right, bool adds) {
  SHARED_PRODUCT(96, "bf16", "48", "49", "50");
}
DEVICE void multiply_registers_bf16(float (&c)[12][4], const u32 (&a)[4], u64 right, bool adds) {
  REGISTER_PRODUCT(96, "bf16", "48", "49", "50", "51", "52", "53");
}
DEVICE void multiply_shared_f16(float (&c)[12][4], u64 left, u64 right, bool adds) {
  SHARED_PRODUCT(96, "f16", "48", "49", "50");
}
DEVICE void multiply_registers_f16(float (&c)[12][4], const u32 (&a)[4], u64 right, bool adds) {
  REGISTER_PRODUCT(96, "f16", "48", "49", "50", "51", "52", "53");
}
DEVICE void multiply_shared_bf16(float (&c)[16][4], u64 left, u64 right, bool adds) {
  SHARED_PRODUCT(128, "bf16", "64", "65", "66");
}
DEVICE void multiply_registers_bf16(float (&c)[16][4], const u32 (&a)[4], u64 right, bool adds) {
  REGISTER_PRODUCT(128, "bf16", "64", "65", "66", "67", "68", "69");
}
DEVICE void multiply_shared_f16(float (&c)[16][4], u64 left, u64 right, bool adds) {
  SHARED_PRODUCT(128, "f16", "64", "65", "66");
}
DEVICE void multiply_registers_f16(float (&c)[16][4], const u32 (&a)[4], u64 right, bool adds) {
  REGISTER_PRODUCT(128, "f16", "64", "65", "66", "67", "68", "69");
}

// The same with sums over the columns of the right tile.
DEVICE void multiply_rows_bf16(float (&c)[8][4], const u32 (&a)[4], u64 right, bool adds) {
  REGISTER_PRODUCT_BY(0, 64, "bf16", "32", "33", "34", "35", "36", "37");
}
DEVICE void multiply_rows_f16(float (&c)[8][4], const u32 (&a)[4], u64 right, bool adds) {
  REGISTER_PRODUCT_BY(0, 64, "f16", "32", "33", "34", "35", "36", "37");
}

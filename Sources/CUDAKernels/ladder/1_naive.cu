// The ladder, step 1: one thread per element of c.
//
// Every element of a is read once per column of c, every element of b once per row: the kernel is bound by
// the cache. Blocks of 256 threads compute 16 × 16 elements.

#include "ladder/product.cuh"

extern "C" __global__ void ladder_1_naive(const __grid_constant__ LadderParameters p) {
  const int row = blockIdx.y * 16 + threadIdx.x / 16;
  const int column = blockIdx.x * 16 + threadIdx.x % 16;
  float sum = 0;
  for (int i = 0; i < p.k; ++i) {
    sum += Element::widen(p.a[(i64)row * p.k + i]) * Element::widen(p.b[(i64)column * p.k + i]);
  }
  p.c[(i64)row * p.n + column] = sum;
}

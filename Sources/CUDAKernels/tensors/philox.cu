// The 64-bit numbers of a Philox 4x32-10 stream from a position on.

#include "tile/base.cuh"

#include "tensors/kernels.h"

constexpr int rounds = 10;

extern "C" __global__ void tensors_philox(const __grid_constant__ TensorsPhiloxParameters p) {
  const i64 place = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (place >= p.count) return;
  const unsigned long long position = p.position + place;
  // Two numbers per block of the generator.
  const unsigned long long counter = position / 2;
  u32 k0 = (u32)p.key, k1 = (u32)(p.key >> 32);
  u32 c0 = (u32)counter, c1 = (u32)(counter >> 32), c2 = 0, c3 = 0;
  for (int round = 0; round < rounds; round++) {
    const unsigned long long p0 = 0xD2511F53ull * c0;
    const unsigned long long p1 = 0xCD9E8D57ull * c2;
    c0 = (u32)(p1 >> 32) ^ c1 ^ k0;
    c2 = (u32)(p0 >> 32) ^ c3 ^ k1;
    c1 = (u32)p1;
    c3 = (u32)p0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  p.y[place] = position % 2 == 0 ? (i64)(c0 | (unsigned long long)c1 << 32)
                                 : (i64)(c2 | (unsigned long long)c3 << 32);
}

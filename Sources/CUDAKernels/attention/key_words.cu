// A key mask as bits, and the range of the keys that it keeps. One block processes one entry of the batch.

#include "tile/base.cuh"
#include "tile/instructions.cuh"

#include "attention/key_words.h"

extern "C" __global__ void __launch_bounds__(key_words_threads)
    attention_key_words(const __grid_constant__ AttentionKeyWordsParameters p) {
  const u8 *mask = p.key_mask + (i64)blockIdx.x * p.keys;
  // The negated first key that is kept, and the end of the last one.
  extern __shared__ __align__(16) u8 shared[];
  int *limits = (int *)shared;
  if (threadIdx.x < 2) limits[threadIdx.x] = threadIdx.x == 0 ? -p.keys : 0;
  __syncthreads();
  const int lane = threadIdx.x % warp_threads, warps = blockDim.x / warp_threads;
  for (int word = threadIdx.x / warp_threads; word < p.pitch; word += warps) {
    const int key = word * warp_threads + lane;
    const u32 bits = __ballot_sync(~0u, key < p.keys && mask[key] != 0);
    if (lane != 0) continue;
    p.words[(i64)blockIdx.x * p.pitch + word] = bits;
    if (bits == 0) continue;
    atomicMax(limits, -(word * warp_threads + __ffs(bits) - 1));
    atomicMax(limits + 1, (word + 1) * warp_threads - __clz(bits));
  }
  __syncthreads();
  if (threadIdx.x < 2) p.kept[2 * blockIdx.x + threadIdx.x] = threadIdx.x == 0 ? -limits[0] : limits[1];
}

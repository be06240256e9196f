#pragma once

#include "tile/base.cuh"

// The threads that share a row: a warp for short rows, the block for long ones. The order of summation
// depends on the number of threads only.

DEVICE float warp_sum(float x) {
  for (int distance = warp_threads / 2; distance > 0; distance /= 2) {
    x += __shfl_xor_sync(~0u, x, distance);
  }
  return x;
}

DEVICE float warp_maximum(float x) {
  for (int distance = warp_threads / 2; distance > 0; distance /= 2) {
    x = fmaxf(x, __shfl_xor_sync(~0u, x, distance));
  }
  return x;
}

struct Team {
  int threads;
  // The thread's rank in the team, the team's index in the block, and the number of teams.
  int rank;
  int index;
  int count;
  // Shared memory, one float per warp of the block.
  float *numbers;

  // `threads` is that of a warp or of the block.
  __device__ Team(int threads, float *numbers)
      : threads(threads),
        rank(threadIdx.x % threads),
        index(threadIdx.x / threads),
        count(blockDim.x / threads),
        numbers(numbers) {}

  // The sum over the team, in every thread. Orders the team's earlier memory accesses before later ones.
  __device__ float sum(float x) const {
    __syncwarp();
    x = warp_sum(x);
    if (threads == warp_threads) return x;
    share(x);
    float total = 0;
    for (int i = 0; i < threads / warp_threads; i++) total += numbers[i];
    return total;
  }

  __device__ float maximum(float x) const {
    __syncwarp();
    x = warp_maximum(x);
    if (threads == warp_threads) return x;
    share(x);
    float greatest = -infinity;
    for (int i = 0; i < threads / warp_threads; i++) greatest = fmaxf(greatest, numbers[i]);
    return greatest;
  }

 private:
  __device__ void share(float x) const {
    // The previous call's values may still be being read.
    __syncthreads();
    if (threadIdx.x % warp_threads == 0) numbers[threadIdx.x / warp_threads] = x;
    __syncthreads();
  }
};

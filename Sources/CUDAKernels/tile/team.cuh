#pragma once

#include "tile/base.cuh"

// The threads that work on one row together: a warp per row where rows are short, the block where they are
// long. Sums run in an order that depends on the number of threads only.

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
  // This thread's place in the team, the team's in the block, and how many there are.
  int rank;
  int index;
  int count;
  // A number for each warp of the block, shared.
  float *numbers;

  // `threads` is a warp's or the block's.
  __device__ Team(int threads, float *numbers)
      : threads(threads),
        rank(threadIdx.x % threads),
        index(threadIdx.x / threads),
        count(blockDim.x / threads),
        numbers(numbers) {}

  // The threads agree on the sum of their numbers. What each read or wrote before, all see.
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
    // Numbers of the sum before may still be read.
    __syncthreads();
    if (threadIdx.x % warp_threads == 0) numbers[threadIdx.x / warp_threads] = x;
    __syncthreads();
  }
};

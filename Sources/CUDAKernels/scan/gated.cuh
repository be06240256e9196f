#pragma once

#include "linear/tokens.cuh"

#include "scan/gated.h"

// A gated scan in tiles of tokens. A block takes 32 channels, a lane each; its warps share the tokens of
// a tile. What a warp's tokens do to a state is one factor and one summand, so that each warp first
// finds both from a state of zero, and then, with those of the warps before it, goes over its tokens
// again.

// What the warps' tokens do to the state of a lane's channel.
struct Shares {
  float *sums;      // [warps, 32]: the logarithm of the factor
  float *summands;  // [warps, 32]

  __device__ explicit Shares(float *shared)
      : sums(shared), summands(shared + scan_shared_floats / 2) {}

  // Leaves in `state` that behind the whole tile, of all warps in the order in which `rank` 0 … 7 comes
  // to them, and returns that before this warp's tokens. `rank` is this warp's.
  __device__ float exchange(int rank, float sum, float summand, float &state) const {
    const int lane = threadIdx.x % warp_threads;
    sums[rank * warp_threads + lane] = sum;
    summands[rank * warp_threads + lane] = summand;
    __syncthreads();
    float before = state;
    for (int other = 0; other < scan_warps; ++other) {
      if (other == rank) before = state;
      const int place = other * warp_threads + lane;
      state = Decay(sums[place])(state) + summands[place];
    }
    __syncthreads();
    return before;
  }
};

#pragma once

#include "linear/tokens.cuh"

#include "scan/gated.h"

// A gated scan in tiles of tokens. A block has 32 channels, one lane per channel; its warps share the
// tokens of a tile. The effect of a warp's tokens on a state is a factor and a summand: each warp first
// computes both from a zero state and then, with those of the warps before it, scans its tokens again.

// The effect of each warp's tokens on the state of a lane's channel.
struct Shares {
  float *sums;      // [warps, 32]: the logarithm of the factor
  float *summands;  // [warps, 32]

  __device__ explicit Shares(float *shared)
      : sums(shared), summands(shared + scan_shared_floats / 2) {}

  // Updates `state` to that after the whole tile, applying warps in the order of their ranks 0 … 7, and
  // returns the state before this warp's tokens. `rank` is this warp's.
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

#pragma once

#include "tile/numbers.cuh"
#include "tile/team.cuh"

// Shared by recurrences over tokens: access to the rows of tokens, and the decay of states.

#include "linear/tokens.h"

struct LinearRows : LinearRowsFields {
  // The index at which a token's row begins.
  __device__ i64 place(int batch, int token, int head) const {
    return batch * this->batch + token * this->token + head * this->head;
  }
  __device__ float load(i64 index) const { return read_number(base, type, index); }
  __device__ void store(i64 index, float number) const { write_number(base, type, index, number); }
  __device__ int number_bytes() const { return type == type_f32 ? sizeof(float) : sizeof(u16); }

  // Loads `count` elements from `index` on, padded with zeros, by one warp; a lane has every 32nd.
  template <int Count>
  __device__ void load(float (&x)[Count], i64 index, int count) const {
    const int lane = threadIdx.x % warp_threads;
    if (type == type_f32) {
#pragma unroll
      for (int n = 0; n < Count; ++n) {
        const int d = lane + n * warp_threads;
        x[n] = d < count ? ((const float *)base)[index + d] : 0;
      }
      return;
    }
    u16 number[Count];
#pragma unroll
    for (int n = 0; n < Count; ++n) {
      const int d = lane + n * warp_threads;
      number[n] = d < count ? ((const u16 *)base)[index + d] : 0;
    }
#pragma unroll
    for (int n = 0; n < Count; ++n) {
      x[n] = type == type_bf16 ? bf16::widen(number[n]) : f16::widen(number[n]);
    }
  }
};

using Rows = LinearRows;
using Sequence = LinearSequence;

// e^g as whole + rest, `whole` 0 or 1, which keeps the digits of a decay near 1. Rounded to one float, it
// would have an error of the same sign at every token, which accumulates.
struct Decay {
  float whole;
  float rest;

  __device__ Decay() : whole(1), rest(0) {}
  __device__ explicit Decay(float g) {
    constexpr float mildest_in_one_part = -0.5f;
    const bool is_mild = g > mildest_in_one_part;
    whole = is_mild ? 1 : 0;
    rest = is_mild ? expm1f(g) : expf(g);
  }
  __device__ float factor() const { return whole + rest; }
  __device__ float operator()(float x) const { return fmaf(rest, x, whole * x); }
};

// The sum over `Lanes` adjacent lanes, a power of two, in each of them.
template <int Lanes>
DEVICE float lane_sum(float x) {
#pragma unroll
  for (int distance = Lanes / 2; distance > 0; distance /= 2) {
    x += __shfl_xor_sync(~0u, x, distance);
  }
  return x;
}

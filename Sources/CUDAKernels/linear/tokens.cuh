#pragma once

#include "tile/numbers.cuh"
#include "tile/team.cuh"

// What recurrences over tokens share: how tokens are found, and how states decay.

#include "linear/tokens.h"

struct LinearRows : LinearRowsFields {
  // Where the row of a token begins.
  __device__ i64 place(int batch, int token, int head) const {
    return batch * this->batch + token * this->token + head * this->head;
  }
  __device__ float load(i64 index) const { return read_number(base, type, index); }
  __device__ void store(i64 index, float number) const { write_number(base, type, index, number); }
  __device__ int number_bytes() const { return type == type_f32 ? sizeof(float) : sizeof(u16); }

  // A warp loads the `count` numbers from `index` on, a lane those 32 apart; behind them are zeros.
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

// e^g in two parts, `whole` 0 or 1, so that a decay near 1 keeps its digits: rounded to a number next
// to 1, it would be wrong by a share of the gate, at every token in the same direction.
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

// The sum over `Lanes` neighbouring lanes, a power of two; all of them get it.
template <int Lanes>
DEVICE float lane_sum(float x) {
#pragma unroll
  for (int distance = Lanes / 2; distance > 0; distance /= 2) {
    x += __shfl_xor_sync(~0u, x, distance);
  }
  return x;
}

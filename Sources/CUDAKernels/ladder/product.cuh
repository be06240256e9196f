#pragma once

#include "tile/types.cuh"

// What every kernel of the ladder computes: c = a bᵀ, for a [m, k], b [n, k] of bfloat16 and c [m, n] of
// float32, rows one behind the other; m and n multiples of 128, k of 64.

struct Parameters {
  const u16 *a;
  const u16 *b;
  float *c;
  int m;
  int n;
  int k;
  int unused;    // to a multiple of eight bytes
};

using Element = bf16;

// The part of c that a block computes from the second step on.
constexpr int block_rows = 128;
constexpr int block_columns_of_c = 128;

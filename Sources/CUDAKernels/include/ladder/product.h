#pragma once

#include "tile/tensor_map.h"

// c = a bᵀ in bfloat16 with float32 accumulation; contiguous rows; m and n multiples of 128, k of 64.
struct LadderParameters {
  DEVICE_POINTER(const unsigned short) a;  // [m, k]
  DEVICE_POINTER(const unsigned short) b;  // [n, k]
  DEVICE_POINTER(float) c;                 // [m, n]
  int m;
  int n;
  int k;
};

// ladder/6_tma.cu
struct LadderMappedParameters {
  struct TensorMap a;
  struct TensorMap b;
  struct LadderParameters product;
};
CHECK_TENSOR_MAP(LadderMappedParameters, b);

#pragma once

#include "tile/parameters.h"

// Where the driver and kernels want a tensor map to begin. Swift imports no struct that is aligned so
// strictly, so parameter blocks begin with their maps; CHECK_TENSOR_MAP, of the last of them, fails to compile
// where the two sides would place a map differently.
CONSTANT(tensor_map_alignment, 64);

#ifdef __cplusplus
#define ALIGNED_FOR_KERNELS(bytes) alignas(bytes)
#define CHECK_TENSOR_MAP(Name, field)
#else
#define ALIGNED_FOR_KERNELS(bytes)
#define CHECK_TENSOR_MAP(Name, field)                                                \
  _Static_assert(__builtin_offsetof(struct Name, field) % tensor_map_alignment == 0, \
                 "the alignment of a tensor map moves it")
#endif

// A tensor of four axes as Hopper's copying unit reads it, encoded by the driver.
struct TensorMap {
  ALIGNED_FOR_KERNELS(tensor_map_alignment) unsigned long long words[16];
};

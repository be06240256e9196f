#pragma once

#include "tile/parameters.h"

// The alignment that the driver and TMA require of a tensor map. Swift does not import structs with this
// alignment, so parameter blocks begin with their maps; CHECK_TENSOR_MAP of the last one fails to compile if
// the two sides would lay a map out differently.
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

// A TMA descriptor of a tensor with four axes, encoded by the driver.
struct TensorMap {
  ALIGNED_FOR_KERNELS(tensor_map_alignment) unsigned long long words[16];
};

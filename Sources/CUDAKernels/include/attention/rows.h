#pragma once

#include "tile/parameters.h"

// Rows of a [batch, length, heads, dimension] tensor. Strides are in elements; the last axis is contiguous.
GENERIC(T)
struct FIELDS_OF(AttentionRows) {
  DEVICE_POINTER(T) base;
  long long batch;
  long long row;
  long long head;
};

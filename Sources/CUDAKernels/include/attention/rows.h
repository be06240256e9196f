#pragma once

#include "tile/parameters.h"

// Rows of a [batch, length, heads, dimension] tensor. Strides count elements; the last axis is dense.
GENERIC(T)
struct FIELDS_OF(AttentionRows) {
  DEVICE_POINTER(T) base;
  long long batch;
  long long row;
  long long head;
};

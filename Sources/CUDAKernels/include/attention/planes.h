#pragma once

#include "attention/rows.h"
#include "tile/constants.h"

// attention/planes.cu
struct AttentionPlanesParameters {
  OF(AttentionRows, const float) source;   // [batch, length, heads, DIMENSION]
  DEVICE_POINTER(unsigned short) planes;  // [batch, length, heads, plane_count, DIMENSION], float16
  DEVICE_POINTER(float) units;            // [batch, heads, length]
  long long count;                        // of rows: batch × length × heads
  int length;
  int heads;
};

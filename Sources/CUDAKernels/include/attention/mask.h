#pragma once

#include "tile/parameters.h"

// One sequence; queries attend to keys of their own sequence only. Query i attends to keys i + low ..< i +
// high, clamped to the `keys` that exist.
struct FIELDS_OF(AttentionSegment) {
  int batch;
  int query_start;
  int query_count;
  int key_start;
  // The position of query 0 among the keys.
  int place;
  int low;
  int high;
  int keys;
};

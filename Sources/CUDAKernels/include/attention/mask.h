#pragma once

#include "tile/parameters.h"

// One sequence: its queries do not meet the keys of another. Query i sees keys i + low ..< i + high, cut to
// the `keys` that exist.
struct FIELDS_OF(AttentionSegment) {
  int batch;
  int query_start;
  int query_count;
  int key_start;
  // Query 0 stands at this key.
  int place;
  int low;
  int high;
  int keys;
};

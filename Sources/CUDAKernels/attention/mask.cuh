#pragma once

#include "attention/mask.h"
#include "tile/types.cuh"

// Half-open.
struct Range {
  int first;
  int end;
};

// Query i attends to keys i + low ..< i + high, clamped to those that exist.
struct Band {
  int low;
  int high;
  int keys;

  __device__ bool sees(int query, int key) const {
    return key >= query + low && key < query + high && key < keys;
  }

  // Whether any pair of the queries with keys that exist is masked.
  __device__ bool cuts(Range queries, Range own) const {
    return own.first < queries.end - 1 + low || min(own.end, keys) > queries.first + high;
  }

  // The tiles of `size` keys that contain an unmasked pair.
  __device__ Range visible_tiles(Range queries, int size) const {
    const int first = max(0, queries.first + low);
    const int end = min(keys, queries.end - 1 + high);
    return first < end ? Range{first / size, CEIL_DIVIDE(end, size)} : Range{0, 0};
  }

  // The tiles that contain no masked pair.
  __device__ Range whole_tiles(Range queries, int size) const {
    const int first = max(0, queries.end - 1 + low);
    const int end = min(keys, queries.first + high);
    return {CEIL_DIVIDE(first, size), max(0, end) / size};
  }

  // The queries that attend to any of the keys: to key j those in j − high + 1 ..< j − low + 1.
  __device__ Range seeing(Range keys, int queries) const {
    const int first = max(0, keys.first - high + 1);
    const int end = min(queries, keys.end - low);
    return {first, max(first, end)};
  }
};

struct AttentionSegment : AttentionSegmentFields {
  __device__ Band band() const { return {low, high, keys}; }
};

using Segment = AttentionSegment;

#pragma once

#include "tile/instructions.cuh"

#include "decoding/step.h"

// Numbers that blocks of one launch pass to each other (include/decoding/step.h).

DEVICE void publish(u64 *place, float number, u32 tag) {
  write_for_device(place, (u64)tag << 32 | __float_as_uint(number));
}

DEVICE bool has_tag(u64 word, u32 tag) { return (u32)(word >> 32) == tag; }
DEVICE float untagged(u64 word) { return __uint_as_float((u32)word); }

// A read on its way: a thread starts several before it waits for the first. The place is not kept, which would
// take registers; `await` is told it again.
struct TaggedNumber {
  u64 word;

  __device__ void start(const u64 *place) { word = read_from_device(place); }

  __device__ float await(const u64 *place, u32 tag) {
    while (!has_tag(word, tag)) word = read_from_device(place);
    return untagged(word);
  }
};

// The same for two neighbours, the first at a multiple of 16 bytes.
struct TaggedPair {
  u64 words[2];

  __device__ void start(const u64 *place) { read_pair_from_device(words, place); }

  __device__ float2 await(const u64 *place, u32 tag) {
    while (!has_tag(words[0], tag) || !has_tag(words[1], tag)) read_pair_from_device(words, place);
    return {untagged(words[0]), untagged(words[1])};
  }
};

DEVICE float await(const u64 *place, u32 tag) {
  TaggedNumber number;
  number.start(place);
  return number.await(place, tag);
}

#pragma once

#include "attention/rows.cuh"
#include "attention/terms.cuh"
#include "tile/fragment.cuh"
#include "tile/memory.cuh"

using Element = ELEMENT;
using Number = Element::Number;

#include "attention/operands.h"

// The inputs of all kernels of exact attention.
//
// Compiled with
//   ELEMENT        bf16, f16, tf32x3 or tf32
//   PACKED         0 or 1: sequences are listed in `segments`; otherwise each batch entry is one
//   KEY_MASK       0 or 1: there is a key mask
//   COSINE         0 or 1: queries and keys are divided by their norms
//   TERMS          0 or 1: terms are applied to the scores before the mask
//   HEAD_SCALES    0 or 1: each head has its own scale

struct AttentionOperands : AttentionOperandsFields {
  // Blocks at z in the grid process sequence z. Its fields are reread at each use, from memory or from the
  // parameters, which leaves registers to the inner loops.
#if PACKED
  __device__ int batch_entry() const { return read_again(segments[blockIdx.z].batch); }
  __device__ int query_start() const { return read_again(segments[blockIdx.z].query_start); }
  __device__ int query_count() const { return read_again(segments[blockIdx.z].query_count); }
  __device__ int key_start() const { return read_again(segments[blockIdx.z].key_start); }
  __device__ int key_count() const { return read_again(segments[blockIdx.z].keys); }
  __device__ Band band() const {
    const Segment &own = segments[blockIdx.z];
    return {read_again(own.low), read_again(own.high), read_again(own.keys)};
  }
#else
  __device__ int batch_entry() const { return blockIdx.z; }
  __device__ int query_start() const { return 0; }
  __device__ int query_count() const { return whole.query_count; }
  __device__ int key_start() const { return 0; }
  __device__ int key_count() const { return whole.keys; }
  __device__ Band band() const { return whole.band(); }
#endif

  __device__ Segment segment() const { return segment(blockIdx.z); }

  __device__ Segment segment(int sequence) const {
#if PACKED
    return segments[sequence];
#else
    Segment result = whole;
    result.batch = sequence;
    return result;
#endif
  }

  __device__ float scale_of(int head) const { return HEAD_SCALES ? scales[head] : scale; }

  // The scale of largest magnitude among a group's heads: gradients of its keys are summed in units of it.
  __device__ float largest_scale(int first_head) const {
    float largest = scale_of(first_head);
    for (int i = 1; HEAD_SCALES && i < heads_per_group; ++i) {
      const float other = scale_of(first_head + i);
      if (fabsf(other) > fabsf(largest)) largest = other;
    }
    return largest;
  }

  __device__ int groups() const { return heads / heads_per_group; }

  // Indices into arrays of one number per query, [batch, heads, queries], and per key, [batch, heads, keys].
  __device__ i64 query_place(int batch_index, int head, int query) const {
    return ((i64)batch_index * heads + head) * query_length + query;
  }
  __device__ i64 key_place(int batch_index, int head, int key) const {
    return ((i64)batch_index * heads + head) * key_length + key;
  }
  // The same for one number per key of a group, [batch, groups, keys].
  __device__ i64 group_key_place(int batch_index, int group, int key) const {
    return ((i64)batch_index * groups() + group) * key_length + key;
  }

  // Inverse norms.
  __device__ const float *query_length_at(int batch_index, int query, int head) const {
    return query_lengths + query_place(batch_index, head, query);
  }
  __device__ const float *key_length_at(int batch_index, int key, int group) const {
    return key_lengths + group_key_place(batch_index, group, key);
  }

  // Whether the key mask keeps a key of a sequence; true for keys beyond its end.
  __device__ bool keeps(const Segment &s, int key) const {
    return !KEY_MASK || key >= s.keys ||
           key_mask[(i64)s.batch * key_length + s.key_start + key] != 0;
  }

  // Whether a key of the block's sequence exists and the key mask keeps it.
  __device__ bool counts(int key) const {
    return key < key_count() &&
           (!KEY_MASK || key_mask[(i64)batch_entry() * key_length + key_start() + key] != 0);
  }

  // Starts copying the tile of keys or values from `first` on. Rows that the key mask excludes become zero.
  template <typename T, int Threads>
  __device__ void copy_keys(u32 target, const Rows<const Number> &rows, int first, int group) const {
    const Number *source = rows.at(batch_entry(), key_start() + first, group);
    if (KEY_MASK) {
      copy_rows_where<T, Threads>(
          target, [&](int row) { return counts(first + row); },
          [&](int row) { return source + row * rows.row; });
    } else {
      copy_tile<T, Threads>(target, source, rows.row, key_count() - first);
    }
  }

  // The same for rows of queries, outputs or their gradients.
  template <typename T, int Threads>
  __device__ void copy_queries(u32 target, const Rows<const Number> &rows, int first,
                               int head) const {
    copy_tile<T, Threads>(target, rows.at(batch_entry(), query_start() + first, head), rows.row,
                          query_count() - first);
  }

  // The same for the keys' inverse norms.
  template <int Count, int Threads>
  __device__ void copy_key_lengths(u32 target, int first, int group) const {
#pragma unroll
    for (int start = 0; start < Count; start += Threads) {
      const int index = start + read_thread_index();
      if (index >= Count) return;
      const bool exists = counts(first + index);
      copy_number(target + index * 4,
                  key_length_at(batch_entry(), key_start() + first + (exists ? index : 0), group),
                  exists);
    }
  }
};

using Operands = AttentionOperands;

// Reciprocal lengths of a tile's rows, with COSINE.
using Lengths = Either<COSINE, const float2 *, Ones>;

#pragma once

#include "attention/mask.h"
#include "attention/rows.h"
#include "attention/terms.h"

// The inputs of all kernels of exact attention. `Number` is the storage type of ELEMENT.
struct FIELDS_OF(AttentionOperands) {
  OF(AttentionRows, const Number) queries;
  OF(AttentionRows, const Number) keys;
  OF(AttentionRows, const Number) values;
  DEVICE_POINTER(const struct AttentionSegment) segments;  // [sequences], with PACKED
  struct AttentionSegment whole;              // without PACKED: every sequence, except for its batch entry
  DEVICE_POINTER(const float) scales;         // [heads], with HEAD_SCALES
  DEVICE_POINTER(const unsigned char) key_mask;   // [batch, keys]
  DEVICE_POINTER(const float) query_lengths;  // [batch, heads, queries]: inverse norms
  DEVICE_POINTER(const float) key_lengths;    // [batch, groups, keys]: inverse norms
  struct AttentionTerms terms;
  float scale;                                // without HEAD_SCALES
  int batch;
  int query_length;
  int key_length;
  int heads;
  int heads_per_group;
};

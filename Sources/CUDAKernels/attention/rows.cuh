#pragma once

#include "tile/memory.cuh"

using Element = ELEMENT;
using Number = Element::Number;

// Rows of a [batch, length, heads, dimension] tensor. Strides count elements; the last axis is dense.
template <typename T>
struct Rows {
  T *base;
  i64 batch;
  i64 row;
  i64 head;

  __device__ T *at(int batch_index, int row_index, int head_index) const {
    return base + batch_index * batch + row_index * row + head_index * head;
  }
};

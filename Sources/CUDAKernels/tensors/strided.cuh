#pragma once

#include "tensors/layout.h"
#include "tile/numbers.cuh"

// Elements of operands of one shape and different strides: see TensorsLayout.

// A thread's elements: the index of the first in each operand, and the number left to the row's end.
template <int Operands>
struct Span {
  i64 at[Operands];
  i64 left;
};

template <typename Index, int Operands>
DEVICE void place_rows(const TensorsLayout &layout, Index index, Span<Operands> &span) {
  Index row = index;
  i64 first = 0;
  if (layout.row_groups > 1) {
    row = index / (Index)layout.row_groups;
    first = (i64)(index - row * (Index)layout.row_groups) * group_size;
  }
  span.left = layout.length - first;
  for (int i = 0; i < Operands; i++) span.at[i] = first * layout.steps[i];
  for (int axis = layout.rank - 1; axis >= 0; axis--) {
    const Index extent = (Index)layout.extents[axis];
    const Index outer = row / extent;
    const i64 place = (i64)(row - outer * extent);
    for (int i = 0; i < Operands; i++) span.at[i] += place * layout.strides[i][axis];
    row = outer;
  }
}

// Finds the elements of this thread; returns false if there are none.
template <int Operands>
DEVICE bool find_span(const TensorsLayout &layout, Span<Operands> &span) {
  const i64 index = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (index >= layout.rows * layout.row_groups) return false;
  if (layout.is_wide) {
    place_rows(layout, (unsigned long long)index, span);
  } else {
    place_rows(layout, (u32)index, span);
  }
  return true;
}

template <typename T>
struct alignas(sizeof(T) * group_size < 16 ? sizeof(T) * group_size : 16) Four {
  T at[group_size];
};

template <typename T>
DEVICE bool is_together(const T *place, i64 step, i64 left) {
  return step == 1 && left >= group_size && (unsigned long long)place % alignof(Four<T>) == 0;
}

// Reads four elements `step` apart, where `left` remain; missing ones are zero.
template <typename T>
DEVICE Four<T> read_four(const T *place, i64 step, i64 left) {
  if (is_together(place, step, left)) return *(const Four<T> *)place;
  Four<T> four = {};
  for (int i = 0; i < group_size; i++) {
    if (i < left) four.at[i] = place[i * step];
  }
  return four;
}

template <typename T>
DEVICE void write_four(T *place, i64 step, i64 left, const Four<T> &four) {
  if (is_together(place, step, left)) {
    *(Four<T> *)place = four;
  } else {
    for (int i = 0; i < group_size; i++) {
      if (i < left) place[i * step] = four.at[i];
    }
  }
}

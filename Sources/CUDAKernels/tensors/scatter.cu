// The gradient of tensors/gather.cu: y[index] = Σ g[position] over the positions of the index, in order.
//
// The positions are sorted by index. A block sums a stretch of them: the sum of an index whose positions
// begin in the stretch goes to its row, that of one which began earlier to the stretch's row of `carried`. A
// second launch adds the rows of `carried` to those of y, in order.
//
// Compiled with NUMBER, the type of the arithmetic: float (for float32 and half precision) or double.

#include "tensors/elements.cuh"

#include "tensors/kernels.h"

using Number = NUMBER;

DEVICE int index_of(i64 key) { return (int)(key >> 32); }

DEVICE bool is_row(const TensorsScatterParameters<Number> &p, int index) {
  return index >= 0 && index < p.rows;
}

DEVICE void add_stretch(const TensorsScatterParameters<Number> &p, i64 first, i64 end, i64 column, i64 left) {
  Four<Number> sum = {};
  for (i64 i = first; i < end; i++) {
    const int index = index_of(p.keys[i]);
    const Four<Number> row = read_numbers<Number>(
        p.gradient, p.type, (i64)(u32)p.keys[i] * p.width + column, 1, left);
    for (int k = 0; k < group_size; k++) sum.at[k] += row.at[k];
    if (i + 1 < end && index_of(p.keys[i + 1]) == index) continue;
    const bool began_before =
        first > 0 && index_of(p.keys[first]) == index && index_of(p.keys[first - 1]) == index;
    if (began_before) {
      write_four(p.carried + first / scatter_stretch * p.width + column, 1, left, sum);
    } else if (is_row(p, index)) {
      write_four(p.y + (i64)index * p.width + column, 1, left, sum);
    }
    sum = {};
  }
}

// Adds the sums that later stretches carried for the last index that begins in this one.
DEVICE void add_carried(const TensorsScatterParameters<Number> &p, i64 first, i64 end, i64 column, i64 left) {
  const int index = index_of(p.keys[end - 1]);
  const bool began_before = first > 0 && index_of(p.keys[first - 1]) == index;
  if (began_before || !is_row(p, index)) return;
  Number *row = p.y + (i64)index * p.width + column;
  Four<Number> sum = read_four(row, 1, left);
  for (i64 next = end; next < p.count && index_of(p.keys[next]) == index; next += scatter_stretch) {
    const Four<Number> more = read_four(p.carried + next / scatter_stretch * p.width + column, 1, left);
    for (int k = 0; k < group_size; k++) sum.at[k] += more.at[k];
  }
  write_four(row, 1, left, sum);
}

extern "C" __global__ void tensors_scatter(const __grid_constant__ TensorsScatterParameters<Number> p) {
  const i64 column = ((i64)blockIdx.y * blockDim.x + threadIdx.x) * group_size;
  if (column >= p.width) return;
  const i64 first = (i64)blockIdx.x * scatter_stretch;
  const i64 end = min(p.count, first + scatter_stretch);
  if (p.is_second) {
    add_carried(p, first, end, column, p.width - column);
  } else {
    add_stretch(p, first, end, column, p.width - column);
  }
}

// y = factor · Σ x over some axes.
//
// A block computes several results, each by several threads: a result's elements are assigned to its threads
// round-robin, and a tree adds the threads' sums. If there are few results, their elements are divided into
// pieces for separate blocks, whose sums are reduced by a second launch. So the order of summation depends
// only on the shape.
//
// Compiled with NUMBER, the type of the arithmetic: float (for float32 and half precision) or double.

#include "tensors/elements.cuh"

#include "tensors/kernels.h"

using Number = NUMBER;

DEVICE i64 place(const TensorsAxes &axes, i64 index) {
  if (axes.rank == 1) return index * axes.strides[0];
  i64 at = 0;
  for (int axis = axes.rank - 1; axis >= 0; axis--) {
    const i64 extent = axes.extents[axis];
    const i64 outer = index <= 0xffffffffll && extent <= 0xffffffffll
                          ? (i64)((u32)index / (u32)extent)
                          : index / extent;
    at += (index - outer * extent) * axes.strides[axis];
    index = outer;
  }
  return at;
}

extern "C" __global__ void tensors_reduce(const __grid_constant__ TensorsReduceParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  Number *sums = (Number *)shared;
  const int thread = threadIdx.x;
  const int lane = p.is_across ? thread / p.block_results : thread % p.lanes;
  const int own = p.is_across ? thread % p.block_results : thread / p.lanes;
  const i64 result = (i64)blockIdx.x * p.block_results + own;
  const i64 first = blockIdx.y * p.piece;
  const i64 end = min(p.count, first + p.piece);
  Number sum = 0;
  if (result < p.results) {
    const i64 base = place(p.kept, result);
    if (p.reduced.rank <= 1 && p.reduced.strides[0] == 1) {
      for (i64 i = first + lane * group_size; i < end; i += p.lanes * group_size) {
        const Four<Number> four = read_numbers<Number>(p.x, p.x_type, base + i, 1, end - i);
        for (int k = 0; k < group_size; k++) sum += four.at[k];
      }
    } else {
      for (i64 i = first + lane; i < end; i += p.lanes) {
        const i64 at = base + place(p.reduced, i);
        sum += read_numbers<Number>(p.x, p.x_type, at, 1, 1).at[0];
      }
    }
  }
  Number *column = sums + own;
  column[lane * p.block_results] = sum;
  for (int half = p.lanes / 2; half > 0; half /= 2) {
    __syncthreads();
    if (lane < half) {
      column[lane * p.block_results] += column[(lane + half) * p.block_results];
    }
  }
  if (lane != 0 || result >= p.results) return;
  sum = column[0] * (Number)p.factor;
  write_numbers<Number>(p.y, p.y_type, blockIdx.y * p.results + result, 1, 1, {sum});
}

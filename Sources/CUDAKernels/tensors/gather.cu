// y[i] = x[indices[i]] for the rows of a table. An index out of range gives a row with all bits set, which is
// NaN in floating point.

#include "tensors/strided.cuh"

#include "tensors/kernels.h"

template <typename T>
DEVICE void copy_row(const TensorsGatherParameters &p, i64 index, i64 first) {
  const int row = p.indices[index];
  const i64 left = p.width - first;
  T *target = (T *)p.y + index * p.width + first;
  if (row >= 0 && row < p.rows) {
    write_four(target, 1, left, read_four((const T *)p.x + (i64)row * p.width + first, 1, left));
  } else {
    write_four(target, 1, left, Four<T>{(T)-1, (T)-1, (T)-1, (T)-1});
  }
}

extern "C" __global__ void tensors_gather(const __grid_constant__ TensorsGatherParameters p) {
  const i64 groups = CEIL_DIVIDE(p.width, group_size);
  const i64 thread = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (thread >= p.count * groups) return;
  const i64 index = thread / groups;
  const i64 first = thread % groups * group_size;
  switch (p.size) {
    case 1: return copy_row<u8>(p, index, first);
    case 2: return copy_row<u16>(p, index, first);
    case 4: return copy_row<u32>(p, index, first);
    default: return copy_row<i64>(p, index, first);
  }
}

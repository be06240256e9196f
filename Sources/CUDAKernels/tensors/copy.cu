// Copies elements between tensors with different strides.

#include "tensors/strided.cuh"

#include "tensors/kernels.h"

template <typename T>
DEVICE void copy(const TensorsCopyParameters &p, const Span<2> &span) {
  const Four<T> four = read_four((const T *)p.source + span.at[1], p.layout.steps[1], span.left);
  write_four((T *)p.target + span.at[0], p.layout.steps[0], span.left, four);
}

extern "C" __global__ void tensors_copy(const __grid_constant__ TensorsCopyParameters p) {
  Span<2> span;
  if (!find_span(p.layout, span)) return;
  switch (p.size) {
    case 1: return copy<u8>(p, span);
    case 2: return copy<u16>(p, span);
    case 4: return copy<u32>(p, span);
    default: return copy<i64>(p, span);
  }
}

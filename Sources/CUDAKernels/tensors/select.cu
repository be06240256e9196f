// y = flag ? a : b, elementwise, on the bits of any type.

#include "tensors/elements.cuh"

#include "tensors/kernels.h"

template <typename T>
DEVICE void choose(const TensorsSelectParameters &p, const Span<4> &span) {
  const i64 *steps = p.layout.steps;
  const Four<u8> flags = read_four(p.flags + span.at[1], steps[1], span.left);
  const Four<T> a = read_operand<T>(p.a, 0, span.at[2], steps[2], span.left);
  const Four<T> b = read_operand<T>(p.b, 0, span.at[3], steps[3], span.left);
  Four<T> y;
  for (int i = 0; i < group_size; i++) y.at[i] = flags.at[i] ? a.at[i] : b.at[i];
  write_four((T *)p.y + span.at[0], steps[0], span.left, y);
}

extern "C" __global__ void tensors_select(const __grid_constant__ TensorsSelectParameters p) {
  Span<4> span;
  if (!find_span(p.layout, span)) return;
  switch (p.size) {
    case 1: return choose<u8>(p, span);
    case 2: return choose<u16>(p, span);
    case 4: return choose<u32>(p, span);
    default: return choose<i64>(p, span);
  }
}

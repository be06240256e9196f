// y = a > b or a = b, elementwise, as bytes 1 and 0.
//
// Compiled with NUMBER, the type of the comparison: float (for float32 and half precision), double, int, i64
// or u8.

#include "tensors/elements.cuh"

#include "tensors/kernels.h"

using Number = NUMBER;

extern "C" __global__ void tensors_compare(const __grid_constant__ TensorsCompareParameters p) {
  Span<3> span;
  if (!find_span(p.layout, span)) return;
  const i64 *steps = p.layout.steps;
  const Four<Number> a = read_operand<Number>(p.a, p.type, span.at[1], steps[1], span.left);
  const Four<Number> b = read_operand<Number>(p.b, p.type, span.at[2], steps[2], span.left);
  Four<u8> y;
  for (int i = 0; i < group_size; i++) {
    y.at[i] = p.is_equality ? a.at[i] == b.at[i] : a.at[i] > b.at[i];
  }
  write_four(p.y + span.at[0], steps[0], span.left, y);
}

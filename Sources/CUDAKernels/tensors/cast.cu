// Converts elements to another type: to floating point by rounding to nearest even, to integers by truncating
// and clamping to the type's range (NaN becomes 0), to Booleans by comparing with zero.

#include "tensors/elements.cuh"

#include "tensors/kernels.h"

constexpr i64 largest = 0x7fffffffffffffff;

// An intermediate value: floating-point or integer.
struct Wide {
  bool is_real;
  double real;
  i64 integer;
};

DEVICE Wide read_wide(const void *base, int type, i64 at) {
  switch (type) {
    case type_f32: return {true, ((const float *)base)[at], 0};
    case type_bf16: return {true, bf16::widen(((const u16 *)base)[at]), 0};
    case type_f16: return {true, f16::widen(((const u16 *)base)[at]), 0};
    case type_f64: return {true, ((const double *)base)[at], 0};
    case type_i32: return {false, 0, ((const int *)base)[at]};
    case type_i64: return {false, 0, ((const i64 *)base)[at]};
    default: return {false, 0, ((const u8 *)base)[at] != 0};
  }
}

DEVICE i64 clamped(double x) {
  constexpr double end = 9223372036854775808.0;  // 2⁶³
  if (x != x) return 0;
  if (x >= end) return largest;
  if (x < -end) return -largest - 1;
  return (i64)x;
}

// Rounds to float32 so that a second rounding, to half precision, gives the same as rounding `x` once: the
// last bit is set if anything was lost.
DEVICE float rounded_to_odd(double x) {
  float y = (float)x;
  if ((double)y == x || x != x) return y;
  u32 bits = __float_as_uint(y);
  if (fabs((double)y) > fabs(x)) bits -= 1;
  return __uint_as_float(bits | 1);
}

DEVICE void write_wide(void *base, int type, i64 at, const Wide &x) {
  const i64 integer = x.is_real ? clamped(x.real) : x.integer;
  switch (type) {
    case type_f32: ((float *)base)[at] = x.is_real ? (float)x.real : (float)x.integer; break;
    case type_bf16:
      ((u16 *)base)[at] =
          In<bf16>::narrow(rounded_to_odd(x.is_real ? x.real : (double)x.integer));
      break;
    case type_f16:
      ((u16 *)base)[at] =
          In<f16>::narrow(x.is_real ? rounded_to_odd(x.real) : (float)x.integer);
      break;
    case type_f64: ((double *)base)[at] = x.is_real ? x.real : (double)x.integer; break;
    case type_i32:
      ((int *)base)[at] =
          integer > 0x7fffffff ? 0x7fffffff : integer < -0x7fffffff - 1 ? -0x7fffffff - 1 : (int)integer;
      break;
    case type_i64: ((i64 *)base)[at] = integer; break;
    default: ((u8 *)base)[at] = x.is_real ? x.real != 0 : x.integer != 0;
  }
}

extern "C" __global__ void tensors_cast(const __grid_constant__ TensorsCastParameters p) {
  Span<2> span;
  if (!find_span(p.layout, span)) return;
  const i64 *steps = p.layout.steps;
  if (p.x_type <= type_f16 && p.y_type <= type_f16) {
    const Four<float> four =
        read_numbers<float>(p.x, p.x_type, span.at[1], steps[1], span.left);
    write_numbers(p.y, p.y_type, span.at[0], steps[0], span.left, four);
    return;
  }
  for (int i = 0; i < group_size && i < span.left; i++) {
    write_wide(p.y, p.y_type, span.at[0] + i * steps[0],
               read_wide(p.x, p.x_type, span.at[1] + i * steps[1]));
  }
}

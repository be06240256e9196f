// y = f(x), elementwise.
//
// Compiled with NUMBER, the type of the arithmetic: float (for float32 and half precision) or double.

#include "tensors/elements.cuh"
#include "tensors/real.cuh"

#include "tensors/kernels.h"

using Number = NUMBER;

// In the order of `cpu_unary`.
enum {
  negate, absolute, square, square_root, reciprocal_square_root, reciprocal, exponential, logarithm,
  hyperbolic_tangent, sigmoid, log_sigmoid, silu, relu, complementary_error,
  exponential_minus_one, logarithm_of_one_plus
};

template <typename T>
DEVICE T apply(int operation, T x) {
  switch (operation) {
    case negate: return -x;
    case absolute: return Real::abs(x);
    case square: return x * x;
    case square_root: return Real::sqrt(x);
    case reciprocal_square_root: return 1 / Real::sqrt(x);
    case reciprocal: return 1 / x;
    case exponential: return Real::exp(x);
    case logarithm: return Real::log(x);
    case hyperbolic_tangent: return Real::tanh(x);
    case sigmoid: return 1 / (1 + Real::exp(-x));
    case log_sigmoid: return (x < 0 || x != x ? x : 0) - Real::log1p(Real::exp(-Real::abs(x)));
    case silu: return x / (1 + Real::exp(-x));
    case relu: return x > 0 || x != x ? x : 0;
    case complementary_error: return Real::erfc(x);
    case exponential_minus_one: return Real::expm1(x);
    default: return Real::log1p(x);
  }
}

extern "C" __global__ void tensors_unary(const __grid_constant__ TensorsUnaryParameters p) {
  Span<2> span;
  if (!find_span(p.layout, span)) return;
  Four<Number> four = read_numbers<Number>(p.x, p.type, span.at[1], p.layout.steps[1], span.left);
  for (Number &number : four.at) number = apply(p.operation, number);
  write_numbers(p.y, p.type, span.at[0], p.layout.steps[0], span.left, four);
}

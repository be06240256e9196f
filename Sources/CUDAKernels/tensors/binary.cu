// y = a ∘ b, elementwise.
//
// Compiled with NUMBER, the type of the arithmetic: float (for float32 and half precision), double, int or
// i64; and with POWER for that operation alone, which needs more registers than the others.

#include "tensors/elements.cuh"
#include "tensors/real.cuh"

#include "tensors/kernels.h"

using Number = NUMBER;

// In the order of `cpu_binary`; the last is b times the derivative of silu at a.
enum { add, subtract, multiply, divide, maximum, minimum, power, silu_gradient };

// Signed integers wrap around: arithmetic is unsigned.
template <typename T>
struct WithoutSign {
  using type = unsigned long long;
};
template <>
struct WithoutSign<int> {
  using type = u32;
};

// Integer division by zero gives zero.
template <typename T>
DEVICE T combine_integers(int operation, T u, T v) {
  using U = typename WithoutSign<T>::type;
  switch (operation) {
    case add: return (T)((U)u + (U)v);
    case subtract: return (T)((U)u - (U)v);
    case multiply: return (T)((U)u * (U)v);
    case divide: return v == 0 ? 0 : v == -1 ? (T)(0 - (U)u) : u / v;
    case maximum: return u > v ? u : v;
    default: return u < v ? u : v;
  }
}

// The derivative of x / (1 + e⁻ˣ).
template <typename T>
DEVICE T silu_slope(T x) {
  const T s = 1 / (1 + Real::exp(-x));
  return s * (1 + x * (1 - s));
}

template <typename T>
DEVICE T combine_reals(int operation, T u, T v) {
  switch (operation) {
    case add: return u + v;
    case subtract: return u - v;
    case multiply: return u * v;
    case divide: return u / v;
    case maximum: return u > v || u != u ? u : v;
    case minimum: return u < v || u != u ? u : v;
    case silu_gradient: return v * silu_slope(u);
    default: return u;
  }
}

template <typename T>
DEVICE T combine(int operation, T u, T v) {
#ifdef POWER
  return Real::pow(u, v);
#else
  if constexpr (is_real<T>) {
    return combine_reals(operation, u, v);
  } else {
    return combine_integers(operation, u, v);
  }
#endif
}

extern "C" __global__ void tensors_binary(const __grid_constant__ TensorsBinaryParameters p) {
  Span<3> span;
  if (!find_span(p.layout, span)) return;
  const i64 *steps = p.layout.steps;
  const Four<Number> a = read_operand<Number>(p.a, p.type, span.at[1], steps[1], span.left);
  const Four<Number> b = read_operand<Number>(p.b, p.type, span.at[2], steps[2], span.left);
  Four<Number> y;
  for (int i = 0; i < group_size; i++) y.at[i] = combine(p.operation, a.at[i], b.at[i]);
  write_numbers(p.y, p.type, span.at[0], steps[0], span.left, y);
}

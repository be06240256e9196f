#pragma once

#include "tensors/strided.cuh"

// Elements converted to the type of the arithmetic and back: half precision to `float`, rounded when it is
// written; other types are unchanged. Element types are distinguished at run time, by the number that `DType`
// assigns for kernels.

template <typename A, typename B>
constexpr bool is_same = false;
template <typename A>
constexpr bool is_same<A, A> = true;

template <typename T>
constexpr bool is_real = is_same<T, float> || is_same<T, double>;

template <typename Half>
DEVICE Four<float> widen_four(const void *base, i64 at, i64 step, i64 left) {
  const Four<u16> bits = read_four((const u16 *)base + at, step, left);
  Four<float> numbers;
  for (int i = 0; i < group_size; i++) numbers.at[i] = Half::widen(bits.at[i]);
  return numbers;
}

template <typename Half>
DEVICE void narrow_four(void *base, i64 at, i64 step, i64 left, const Four<float> &numbers) {
  Four<u16> bits;
  for (int i = 0; i < group_size; i++) bits.at[i] = In<Half>::narrow(numbers.at[i]);
  write_four((u16 *)base + at, step, left, bits);
}

template <typename Number>
DEVICE Four<Number> read_numbers(const void *base, int type, i64 at, i64 step, i64 left) {
  if constexpr (is_same<Number, float>) {
    if (type == type_bf16) return widen_four<bf16>(base, at, step, left);
    if (type == type_f16) return widen_four<f16>(base, at, step, left);
  }
  return read_four((const Number *)base + at, step, left);
}

template <typename Number>
DEVICE void write_numbers(void *base, int type, i64 at, i64 step, i64 left,
                          const Four<Number> &numbers) {
  if constexpr (is_same<Number, float>) {
    if (type == type_bf16) return narrow_four<bf16>(base, at, step, left, numbers);
    if (type == type_f16) return narrow_four<f16>(base, at, step, left, numbers);
  }
  write_four((Number *)base + at, step, left, numbers);
}

template <typename Number>
DEVICE Number number_of(const TensorsOperand &operand) {
  if constexpr (is_real<Number>) {
    return (Number)__longlong_as_double(operand.bits);
  } else {
    return (Number)operand.bits;
  }
}

template <typename Number>
DEVICE Four<Number> read_operand(const TensorsOperand &operand, int type, i64 at, i64 step, i64 left) {
  if (operand.base) return read_numbers<Number>(operand.base, type, at, step, left);
  const Number number = number_of<Number>(operand);
  return {number, number, number, number};
}

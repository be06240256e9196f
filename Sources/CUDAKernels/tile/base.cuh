#pragma once

#include "tile/constants.h"

// Fixed-width types and constants. Kernels include no CUDA headers: this folder declares what they use,
// `include/tile` what they share with Swift.

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using i64 = long long;
using u64 = unsigned long long;

#define DEVICE static __device__ __forceinline__
// For rarely called functions: not inlined, they do not raise the register use of their callers.
#define SELDOM static __device__ __noinline__

constexpr float infinity = __builtin_bit_cast(float, 0x7f800000u);
constexpr float largest_number = __builtin_bit_cast(float, 0x7f7fffffu);
constexpr float log2_e = 1.44269504088896340736f;
constexpr float ln_2 = 0.69314718055994530942f;

// One of two types, only one of which need be complete.
template <bool IsFirst, typename First, typename Second>
struct EitherType {
  using Type = First;
};
template <typename First, typename Second>
struct EitherType<false, First, Second> {
  using Type = Second;
};
template <bool IsFirst, typename First, typename Second>
using Either = typename EitherType<IsFirst, First, Second>::Type;

#pragma once

// The vocabulary of the headers that kernels and Swift share. Each declares parameter blocks, constants
// and shared-memory layouts once: kernels include it as C++, Swift imports it as C.

#ifdef __cplusplus
// An address on the device: typed for kernels, a number for Swift.
#define DEVICE_POINTER(T) T *
// The fields of `Name`, which kernels declare as a struct derived from them with functions of its own.
#define FIELDS_OF(Name) Name##Fields
// A struct whose pointers are of a type that each kernel chooses, and one such struct.
#define GENERIC(T) template <typename T>
#define OF(Name, T) Name<T>
#define ALIGNED(bytes) alignas(bytes)
#define CONSTANT(name, value) constexpr int name = value
#define CONSTANT_FUNCTION constexpr
// A count or a number of bytes: 32 bits in kernels, Swift's Int in Swift.
#define SIZE int
#else
#define DEVICE_POINTER(T) unsigned long long
#define FIELDS_OF(Name) Name
#define GENERIC(T)
#define OF(Name, T) struct Name
#define ALIGNED(bytes) _Alignas(bytes)
#define CONSTANT(name, value) enum { name = value }
#define CONSTANT_FUNCTION static inline
#define SIZE long
#endif

// How many pieces of `size` cover `count`. A macro, because a function changes the registers of hot kernels.
#define CEIL_DIVIDE(count, size) (((count) + (size) - 1) / (size))

CONSTANT_FUNCTION SIZE round_up(SIZE count, SIZE step) { return CEIL_DIVIDE(count, step) * step; }

CONSTANT_FUNCTION SIZE smaller_of(SIZE a, SIZE b) { return a < b ? a : b; }
CONSTANT_FUNCTION SIZE larger_of(SIZE a, SIZE b) { return a > b ? a : b; }

#pragma once

// Macros for the headers that declare parameter blocks, constants and shared-memory layouts once for both
// sides: kernels include them as C++, Swift imports them as C.

#ifdef __cplusplus
// A device address: a typed pointer in kernels, an integer in Swift.
#define DEVICE_POINTER(T) T *
// The fields of `Name`; kernels derive `Name` from them and add member functions.
#define FIELDS_OF(Name) Name##Fields
// A struct whose element type each kernel chooses, and an instance of one.
#define GENERIC(T) template <typename T>
#define OF(Name, T) Name<T>
#define ALIGNED(bytes) alignas(bytes)
#define CONSTANT(name, value) constexpr int name = value
#define CONSTANT_FUNCTION constexpr
// A count or a number of bytes: 32 bits in kernels, Int in Swift.
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

// A macro, because a function changes the register allocation of hot kernels.
#define CEIL_DIVIDE(count, size) (((count) + (size) - 1) / (size))

CONSTANT_FUNCTION SIZE round_up(SIZE count, SIZE step) { return CEIL_DIVIDE(count, step) * step; }

CONSTANT_FUNCTION SIZE smaller_of(SIZE a, SIZE b) { return a < b ? a : b; }
CONSTANT_FUNCTION SIZE larger_of(SIZE a, SIZE b) { return a > b ? a : b; }

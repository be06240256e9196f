// AVX2, FMA and F16C: vectors of 32 bytes.
#if defined(__x86_64__)
#include <math.h>
#include <stdint.h>
#include <string.h>
#include "include/CPUKernels.h"
#pragma clang attribute push(__attribute__((target("arch=x86-64-v3"))), apply_to = function)
#define VECTOR_BYTES 32
#define TILE_ROWS 4
#define TILE_VECTORS 2
#define TABLE cpu_kernels_avx2
#include "bodies/all.h"
#pragma clang attribute pop
#endif

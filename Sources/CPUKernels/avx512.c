// AVX-512 F, BW, DQ and VL: vectors of 64 bytes.
#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include "include/CPUKernels.h"
#pragma clang attribute push(__attribute__((target("arch=x86-64-v4"), min_vector_width(512))), apply_to = function)
#define VECTOR_BYTES 64
#define TILE_ROWS 8
#define TILE_VECTORS 2
#define TABLE cpu_kernels_avx512
#include "bodies/all.h"
#pragma clang attribute pop
#endif

// AVX-512 with dot products of bfloat16 pairs.
#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include "include/CPUKernels.h"
#pragma clang attribute push(__attribute__((target("arch=x86-64-v4,avx512bf16"), min_vector_width(512))), apply_to = function)
#define HAS_BFLOAT16_DOT 1
#define VECTOR_BYTES 64
#define TILE_ROWS 8
#define TILE_VECTORS 2
#define TABLE cpu_kernels_avx512_bf16
#include "bodies/all.h"
#pragma clang attribute pop
#endif

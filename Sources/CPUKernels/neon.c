// NEON: vectors of 16 bytes and fused multiply-adds, which every aarch64 processor has.
#if defined(__aarch64__)
#define VECTOR_BYTES 16
// 16 sums, four vectors of B and one element of A in 32 registers: four loads of A per 16 multiply-adds,
// each of which takes its element of A from a lane.
#define TILE_ROWS 4
#define TILE_VECTORS 4
#define TABLE cpu_kernels_neon
#include "bodies/all.h"
#endif

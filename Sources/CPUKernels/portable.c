// Vectors of 16 bytes, which every processor that Swift runs on has.
#define VECTOR_BYTES 16
#define TILE_ROWS 4
#define TILE_VECTORS 2
#define TABLE cpu_kernels_portable
#include "bodies/all.h"

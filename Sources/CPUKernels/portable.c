// Vectors of 16 bytes, available on every processor that Swift supports.
#define VECTOR_BYTES 16
#define TILE_ROWS 4
#define TILE_VECTORS 2
#define TABLE cpu_kernels_portable
#include "bodies/all.h"

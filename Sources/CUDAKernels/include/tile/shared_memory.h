#pragma once

#include "tile/parameters.h"

// Sizes in shared memory, in bytes.

// The width of all banks, to which the rows of tiles are padded.
CONSTANT(bank_bytes, 128);
CONSTANT(float_bytes, 4);
// An mbarrier.
CONSTANT(barrier_bytes, 8);

CONSTANT_FUNCTION SIZE tile_pitch_bytes(SIZE columns, SIZE number_bytes) {
  return round_up(columns * number_bytes, bank_bytes);
}

CONSTANT_FUNCTION SIZE tile_bytes(SIZE rows, SIZE columns, SIZE number_bytes) {
  return rows * tile_pitch_bytes(columns, number_bytes);
}

// The barriers of a ring: two per stage, for when it is full and when it is free.
CONSTANT_FUNCTION SIZE ring_bytes(SIZE stages) { return 2 * stages * barrier_bytes; }

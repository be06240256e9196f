#pragma once

#include "tile/types.cuh"

#include "ladder/product.h"

// What every kernel of the ladder computes: see LadderParameters.

using Element = bf16;

// The part of c that a block computes from the second step on.
constexpr int block_rows = 128;
constexpr int block_columns_of_c = 128;

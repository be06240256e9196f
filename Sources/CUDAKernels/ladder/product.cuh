#pragma once

#include "tile/types.cuh"

#include "ladder/product.h"

// The product that every step computes: see LadderParameters.

using Element = bf16;

// The tile of c that a block computes, from step 2 on.
constexpr int block_rows = 128;
constexpr int block_columns_of_c = 128;

#pragma once

#include "tile/parameters.h"

// The sum of a part of a row's weights, in units of exp(bound). They stay apart: beside a large bound the
// logarithm of a sum is rounded away.
struct AttentionPartialSum {
  ALIGNED(8) float bound;
  float sum;
};

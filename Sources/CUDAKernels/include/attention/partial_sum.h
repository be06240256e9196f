#pragma once

#include "tile/parameters.h"

// The sum of a part of a row's weights, in units of exp(bound). Bound and sum are stored separately, because
// the logarithm of the sum would be rounded away if added to a large bound.
struct AttentionPartialSum {
  ALIGNED(8) float bound;
  float sum;
};

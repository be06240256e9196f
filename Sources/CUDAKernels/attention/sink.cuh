#pragma once

#include "attention/sink.h"
#include "tile/base.cuh"

struct AttentionSink : AttentionSinkFields {
  // Natural; −∞ if there is none.
  __device__ float operator()(int head) const { return scores ? scores[head] : -infinity; }

  // Keeps a query's part of the gradient. `share` is the sink's of the row's sum.
  __device__ void keep_gradient(i64 place, float share, float delta) const {
    if (scores) gradient[place] = -share * delta;
  }
};

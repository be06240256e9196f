// The gradient of rows from the gradient g of the normalised rows: with x̂ = x / |x|, (g − x̂ (x̂·g)) / |x|
// for each slice; zero for a slice of a norm below `shortest`.
//
// Compiled with ELEMENT. One warp processes one row of `groups` equal slices.

#include "attention/rows.cuh"
#include "attention/sink.cuh"
#include "tile/matrix.cuh"

using Element = ELEMENT;
using Number = Element::Number;

#include "attention/row_kernels.h"

extern "C" __global__ void attention_unit_gradient(const __grid_constant__ AttentionUnitGradientParameters p) {
  const i64 row = (i64)blockIdx.x * (blockDim.x / warp_threads) + threadIdx.x / warp_threads;
  if (row >= p.count) return;
  const int lane = threadIdx.x % warp_threads;
  const int slice = p.dimension / p.groups;
  for (int group = 0; group < p.groups; ++group) {
    const Number *numbers =
        p.rows.at(row / p.heads / p.length, row / p.heads % p.length, row % p.heads) +
        group * slice;
    const float *gradient = p.gradient + row * p.pitch + group * slice;
    float squares = 0, along = 0, size = 0;
    for (int i = lane; i < slice; i += warp_threads) {
      const float x = Element::widen(numbers[i]);
      squares += x * x;
      along += x * gradient[i];
      size += fabsf(gradient[i]);
    }
    // A slice that no query attends to may hold anything; its gradient is zero.
    const bool is_unseen = warp_sum(size) == 0;
    const float length = sqrtf(warp_sum(squares));
    const float reciprocal = length < p.shortest ? 0 : 1 / length;
    const float share = warp_sum(along) * reciprocal * reciprocal;
    for (int i = lane; i < slice; i += warp_threads) {
      p.result[row * p.dimension + group * slice + i] =
          is_unseen ? 0 : (gradient[i] - share * Element::widen(numbers[i])) * reciprocal;
    }
  }
}

// Cosine similarity's normalisation of rows: their inverse norms, or the normalised rows.
//
// Compiled with ELEMENT. One warp processes one row of `groups` equal slices. With one slice it writes
// the inverse norm; with several, the row with each slice divided by its norm and rounded, padded with
// zeros to the pitch. A slice of a norm below `shortest` counts as zero.

#include "attention/rows.cuh"
#include "attention/sink.cuh"
#include "tile/matrix.cuh"

using Element = ELEMENT;
using Number = Element::Number;

#include "attention/row_kernels.h"

extern "C" __global__ void attention_lengths(const __grid_constant__ AttentionLengthsParameters p) {
  const i64 row = (i64)blockIdx.x * (blockDim.x / warp_threads) + threadIdx.x / warp_threads;
  if (row >= p.count) return;
  const int lane = threadIdx.x % warp_threads;
  const int slice = p.dimension / p.groups;
  const int batch = row / p.heads / p.length, place = row / p.heads % p.length, head = row % p.heads;
  const Number *numbers = p.rows.at(batch, place, head);
  for (int group = 0; group < p.groups; ++group) {
    float sum = 0;
    for (int i = lane; i < slice; i += warp_threads) {
      const float x = Element::widen(numbers[group * slice + i]);
      sum += x * x;
    }
    const float length = sqrtf(warp_sum(sum));
    const float reciprocal = length < p.shortest ? 0 : 1 / length;
    if (p.reciprocals) {
      if (lane == 0) p.reciprocals[((i64)batch * p.heads + head) * p.length + place] = reciprocal;
      continue;
    }
    for (int i = lane; i < slice; i += warp_threads) {
      const int column = group * slice + i;
      p.unit[row * p.pitch + column] = Element::narrow(Element::widen(numbers[column]) * reciprocal);
    }
  }
  if (p.reciprocals) return;
  for (int i = p.dimension + lane; i < p.pitch; i += warp_threads) {
    p.unit[row * p.pitch + i] = Element::narrow(0);
  }
}

// Cosine similarity's normalisation of rows: their inverse norms, or the normalised rows.
//
// Compiled with ELEMENT. Half a warp processes one row of `groups` equal slices. With one slice it writes
// the inverse norm; with several, the row with each slice divided by its norm and rounded, padded with
// zeros to the pitch. A slice of a norm below `shortest` counts as zero.

#include "attention/rows.cuh"
#include "attention/sink.cuh"
#include "tile/matrix.cuh"

using Element = ELEMENT;
using Number = Element::Number;

#include "attention/row_kernels.h"

constexpr int lanes = warp_threads / 2;

// The sum of a slice's squares, in each of its lanes. Whole chunks of 16 bytes are loaded at once.
DEVICE float sum_of_squares(const Number *slice, int count, int lane) {
  constexpr int chunk_numbers = chunk_bytes / sizeof(Number);
  float sum = 0;
  if (count % chunk_numbers == 0 && (u64)slice % chunk_bytes == 0) {
    for (int chunk = lane; chunk * chunk_numbers < count; chunk += lanes) {
      const uint4 words = *(const uint4 *)(slice + chunk * chunk_numbers);
      const Number *numbers = (const Number *)&words;
#pragma unroll
      for (int i = 0; i < chunk_numbers; ++i) {
        const float x = Element::widen(numbers[i]);
        sum += x * x;
      }
    }
  } else {
    for (int i = lane; i < count; i += lanes) {
      const float x = Element::widen(slice[i]);
      sum += x * x;
    }
  }
#pragma unroll
  for (int distance = lanes / 2; distance > 0; distance /= 2) sum += __shfl_xor_sync(~0u, sum, distance);
  return sum;
}

extern "C" __global__ void attention_lengths(const __grid_constant__ AttentionLengthsParameters p) {
  const i64 index = ((i64)blockIdx.x * blockDim.x + threadIdx.x) / lanes;
  // Both rows of a warp take part in its sums.
  const i64 row = index < p.count ? index : p.count - 1;
  const int lane = threadIdx.x % lanes;
  const int slice = p.dimension / p.groups;
  const int batch = row / p.heads / p.length, place = row / p.heads % p.length, head = row % p.heads;
  const Number *numbers = p.rows.at(batch, place, head);
  for (int group = 0; group < p.groups; ++group) {
    const float length = sqrtf(sum_of_squares(numbers + group * slice, slice, lane));
    const float reciprocal = length < p.shortest ? 0 : 1 / length;
    if (p.reciprocals) {
      if (lane == 0) p.reciprocals[((i64)batch * p.heads + head) * p.length + place] = reciprocal;
      continue;
    }
    for (int i = lane; i < slice; i += lanes) {
      const int column = group * slice + i;
      p.unit[row * p.pitch + column] = Element::narrow(Element::widen(numbers[column]) * reciprocal);
    }
  }
  if (p.reciprocals) return;
  for (int i = p.dimension + lane; i < p.pitch; i += lanes) {
    p.unit[row * p.pitch + i] = Element::narrow(0);
  }
}

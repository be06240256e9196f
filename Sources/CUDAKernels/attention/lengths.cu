// Cosine similarity's normalisation of rows: their inverse norms, or the normalised rows.
//
// Compiled with ELEMENT. Half a warp processes rows of `groups` equal slices. With one slice it writes
// the inverse norm; with several, the row with each slice divided by its norm and rounded, padded with
// zeros to the pitch. A slice of a norm below `shortest` counts as zero.

#include "attention/rows.cuh"
#include "attention/sink.cuh"
#include "tile/matrix.cuh"

using Element = ELEMENT;
using Number = Element::Number;

#include "attention/row_kernels.h"

constexpr int lanes = warp_threads / 2;
constexpr int chunk_numbers = chunk_bytes / sizeof(Number);

DEVICE float squares(uint4 chunk) {
  const Number *numbers = (const Number *)&chunk;
  float sum = 0;
#pragma unroll
  for (int i = 0; i < chunk_numbers; ++i) {
    const float x = Element::widen(numbers[i]);
    sum += x * x;
  }
  return sum;
}

// The sum over a row's lanes, in each of them.
DEVICE float lanes_sum(float sum) {
#pragma unroll
  for (int distance = lanes / 2; distance > 0; distance /= 2) sum += __shfl_xor_sync(~0u, sum, distance);
  return sum;
}

// The sum of a slice's squares, in each of its lanes.
DEVICE float sum_of_squares(const Number *slice, int count, int lane) {
  float sum = 0;
  for (int i = lane; i < count; i += lanes) {
    const float x = Element::widen(slice[i]);
    sum += x * x;
  }
  return lanes_sum(sum);
}

struct Place {
  int batch, row, head;

  __device__ Place(const AttentionLengthsParameters &p, i64 index)
      : batch(index / p.heads / p.length), row(index / p.heads % p.length), head(index % p.heads) {}
};

extern "C" __global__ void attention_lengths(const __grid_constant__ AttentionLengthsParameters p) {
  const int lane = threadIdx.x % lanes, own = threadIdx.x / lanes, step = blockDim.x / lanes;
  const i64 first = (i64)blockIdx.x * step * lengths_rows + own;
  // Both rows of a warp take part in its sums.
  auto index_of = [&](int i) { return first + i * step < p.count ? first + i * step : p.count - 1; };
  auto reciprocal_of = [&](float sum) {
    const float length = sqrtf(sum);
    return length < p.shortest ? 0 : 1 / length;
  };
  auto store = [&](const Place &place, float sum) {
    if (lane != 0) return;
    p.reciprocals[((i64)place.batch * p.heads + place.head) * p.length + place.row] = reciprocal_of(sum);
  };

  // Rows of whole chunks, one for each lane at most, are all loaded before the first is summed.
  const int chunks = p.dimension / chunk_numbers;
  const bool is_whole = p.dimension % chunk_numbers == 0 && chunks <= lanes &&
                        ((u64)p.rows.base | (p.rows.batch | p.rows.row | p.rows.head) * sizeof(Number)) % chunk_bytes == 0;
  if (p.reciprocals && is_whole) {
    uint4 chunk[lengths_rows] = {};
#pragma unroll
    for (int i = 0; i < lengths_rows; ++i) {
      const Place place(p, index_of(i));
      if (lane < chunks) chunk[i] = ((const uint4 *)p.rows.at(place.batch, place.row, place.head))[lane];
    }
#pragma unroll
    for (int i = 0; i < lengths_rows; ++i) store(Place(p, index_of(i)), lanes_sum(squares(chunk[i])));
    return;
  }
  const int slice = p.dimension / p.groups;
  for (int i = 0; i < lengths_rows; ++i) {
    const i64 index = index_of(i);
    const Place place(p, index);
    const Number *numbers = p.rows.at(place.batch, place.row, place.head);
    for (int group = 0; group < p.groups; ++group) {
      const float sum = sum_of_squares(numbers + group * slice, slice, lane);
      if (p.reciprocals) {
        store(place, sum);
        continue;
      }
      const float reciprocal = reciprocal_of(sum);
      for (int column = group * slice + lane; column < (group + 1) * slice; column += lanes) {
        p.unit[index * p.pitch + column] = Element::narrow(Element::widen(numbers[column]) * reciprocal);
      }
    }
    if (p.reciprocals) continue;
    for (int column = p.dimension + lane; column < p.pitch; column += lanes) {
      p.unit[index * p.pitch + column] = Element::narrow(0);
    }
  }
}

// Rotates the pairs (x[i], x[i + half]) of every head of every token by the angles of its position, or
// by their negatives if `direction` is −1.
//
// Compiled with ELEMENT (f32, bf16 or f16). A thread rotates four adjacent pairs.

#include "tile/numbers.cuh"

#include "layers/kernels.h"

using Element = ELEMENT;

extern "C" __global__ void layers_rotary(
    const __grid_constant__ LayersRotaryParameters<Stored<Element>> p) {
  const i64 index = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (index >= p.groups) return;
  const int groups = CEIL_DIVIDE(p.half, group_size);
  const int place = index % groups * group_size;
  const int left = p.half - place;
  const i64 head = index / groups;
  const i64 token = head / p.heads;
  const Stored<Element> *x = p.x + token / p.length * p.batch_stride +
                             token % p.length * p.token_stride + head % p.heads * p.head_stride +
                             place;
  Stored<Element> *y = p.y + head * 2 * p.half + place;
  const i64 row = (i64)p.positions[token] * p.half + place;
  const Group first = read_group<Element>(x, left);
  const Group second = read_group<Element>(x + p.half, left);
  const Group cosine = read_group<f32>(p.cosines + row, left);
  const Group sine = read_group<f32>(p.sines + row, left);
  Group low, high;
  for (int k = 0; k < group_size; k++) {
    const float turn = p.direction * sine.at[k];
    low.at[k] = first.at[k] * cosine.at[k] - second.at[k] * turn;
    high.at[k] = second.at[k] * cosine.at[k] + first.at[k] * turn;
  }
  write_group<Element>(y, left, low);
  write_group<Element>(y + p.half, left, high);
}

// Adds the shares of a gradient that blocks wrote to their slots, in the order of the slots, and those of the
// heads that share a row. If the rows were normalised, computes the gradient of the rows before that.
//
// A warp processes a row of `width` elements.

#include "linear/tokens.cuh"

#include "linear/chunks.h"

// The sum of element `d` of a row, which for the first head of a group begins at `first` in every slot.
DEVICE float slot_sum(const LinearSumSlotsParameters &p, i64 first, int d) {
  const i64 slot = p.rows * p.heads * p.group * p.width;
  float sum = 0;
  for (int n = 0; n < p.slot_count; ++n) {
    for (int g = 0; g < p.group; ++g) sum += read_number(p.slots, p.type, n * slot + first + (i64)g * p.width + d);
  }
  return sum;
}

extern "C" __global__ void linear_sum_slots(const __grid_constant__ LinearSumSlotsParameters p) {
  const i64 index = (i64)blockIdx.x * (blockDim.x / warp_threads) + threadIdx.x / warp_threads;
  if (index >= p.rows * p.heads) return;
  const int lane = threadIdx.x % warp_threads;
  const i64 row = index / p.heads;
  const int head = index % p.heads;
  const int batch = row / p.length;
  const int token = row % p.length;
  const i64 first = index * p.group * p.width;
  const i64 target = p.target.place(batch, token, head);
  if (!p.source.base) {
    for (int d = lane; d < p.width; d += warp_threads) {
      p.target.store(target + d, p.scale * slot_sum(p, first, d));
    }
    return;
  }
  // With x̂ = r x, r = 1 / √(Σ x² + ε): dx = r dx̂ - x r³ Σ x dx̂.
  const i64 source = p.source.place(batch, token, head);
  float squares = 0, along = 0;
  for (int d = lane; d < p.width; d += warp_threads) {
    const float x = p.source.load(source + d);
    squares += x * x;
    along += x * slot_sum(p, first, d);
  }
  squares = warp_sum(squares) + p.epsilon;
  along = warp_sum(along) / squares;
  const float norm = p.scale / sqrtf(squares);
  for (int d = lane; d < p.width; d += warp_threads) {
    const float x = p.source.load(source + d);
    p.target.store(target + d, norm * (slot_sum(p, first, d) - along * x));
  }
}

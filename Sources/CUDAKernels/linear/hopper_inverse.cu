// (I + L)⁻¹ of every chunk of 64 tokens, L_ij = β_i k_i·k_j e^(G_i − G_j) for j < i, for the kernels of erasing
// updates on Hopper. It depends on no state: one warpgroup for each chunk and head, several on a multiprocessor.
//
// Compiled with what linear/hopper.cuh lists, UPDATE 1; OUTPUTS 2 for the backward pass.

#define READS 0

#include "linear/flows.cuh"
#include "linear/inverse.cuh"

struct Parameters {
  TensorMap keys;
  Operands operands;
  u16 *inverses;   // [chunks · 64, hv, 64]
  int key_group;   // value heads that share a head of the keys
  int unused;
};

struct Storage {
  // L takes the place of the keys.
  union {
    alignas(1024) u8 keys[KeyTile::bytes];
    float lower[lower_size];
  };
  Gates gates;
  float sizes[2 * chunk_tokens];
  u64 barrier;
};

extern "C" __global__ void __launch_bounds__(group_threads)
    linear_hopper_inverse(const __grid_constant__ Parameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  Storage &storage = *(Storage *)shared;
  const Operands &o = p.operands;
  const Place at(o, chunk_tokens, segment_tokens);
  const int chunk = blockIdx.y, count = at.sequence.count - chunk * chunk_tokens;
  if (count <= 0) return;
  const int warp = threadIdx.x / warp_threads;
  const u32 keys = shared_address(storage.keys), barrier = shared_address(&storage.barrier);

  if (threadIdx.x == 0) {
    open_barrier(barrier, 1);
    show_barriers();
    arrive_expecting(barrier, KeyTile::bytes);
    copy_blocks<KeyTile>(keys, p.keys, barrier, at.head / p.key_group, at.sequence.first + chunk * chunk_tokens,
                         at.sequence.batch);
  }
  const LoadedGates loaded(o, at, chunk * chunk_tokens);
  __syncthreads();
  wait_for_phase(barrier, 0);
  if (NORMALIZES) {
    if (warp == 1) measure_rows(storage.sizes + chunk_tokens, storage.keys, o.epsilon);
    __syncthreads();
  }
  if (warp == 0) find_gates(storage.gates, loaded, storage.sizes, count, o);
  if (count < chunk_tokens) clear_rows<KeyTile>(storage.keys, count);
  __syncthreads();

  TokenSums sums;
  open_products();
  multiply_tiles<Element, KeyTile, KeyTile>(sums, keys, 0, keys);
  close_products();
  wait_for_products<0>();
  keep(sums);
  __syncthreads();
  clear<group_threads>((u8 *)storage.lower, sizeof(storage.lower));
  __syncthreads();
  const Member own;
  store_lower(storage.lower, storage.gates, sums, own);
  meet_own_group();
  invert(storage.lower, own);

  // Eight numbers at a time.
  constexpr int parts = chunk_tokens / 8;
#pragma unroll
  for (int n = 0; n < chunk_tokens * parts / group_threads; ++n) {
    const int index = threadIdx.x + n * group_threads, row = index / parts, column = index % parts * 8;
    const float4 first = *(const float4 *)(storage.lower + row * lower_pitch + column);
    const float4 second = *(const float4 *)(storage.lower + row * lower_pitch + column + 4);
    const i64 token = (i64)(at.sequence.chunk + chunk) * chunk_tokens + row;
    *(uint4 *)(p.inverses + (token * o.value_heads + at.head) * chunk_tokens + column) = {
        Element::pack(first.x, first.y), Element::pack(first.z, first.w), Element::pack(second.x, second.y),
        Element::pack(second.z, second.w)};
  }
}

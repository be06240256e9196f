// (I + L)⁻¹ of every chunk of 64 tokens, L_ij = β_i k_i·k_j e^(G_i − G_j) for j < i, for the kernels of erasing
// updates on Hopper. It depends on no state: one warpgroup for each chunk and head, several on a multiprocessor.
//
// Compiled with what linear/hopper.cuh lists, UPDATE 1; OUTPUTS 2 for the backward pass.

#define READS 0

#include "linear/flows.cuh"
#include "linear/inverse.cuh"

using Parameters = LinearHopperInverseParameters;

struct Storage {
  // L takes the place of the keys.
  union {
    struct {
      alignas(1024) u8 keys[KeyTile::bytes];
      u8 erasers[ERASERS ? KeyTile::bytes : 1];
    };
    float lower[lower_size];
  };
  Gates gates;
  float sizes[2 * chunk_tokens];
  u64 barrier;
};
static_assert(sizeof(Storage) ==
              round_up(linear_inverse_bytes(KEYS, sizeof(Element::Number), ERASERS, decaying_channels), alignof(Storage)));

// The inverse of `count` tokens of the sequence from `token` on, of which the first `rows` rows are stored. The block's
// turns are counted.
DEVICE void invert_piece(const Parameters &p, const Place &at, Storage &storage, int turn, int token, int count,
                         int rows) {
  const Operands &o = p.operands;
  const int warp = threadIdx.x / warp_threads, first = at.sequence.first + token;
  const u32 keys = shared_address(storage.keys), erasers = shared_address(storage.erasers);
  const u32 barrier = shared_address(&storage.barrier);
  if (threadIdx.x == 0) {
    arrive_expecting(barrier, (1 + ERASERS) * KeyTile::bytes);
    copy_token_rows<KeyTile>(keys, p.keys, barrier, at.head / p.key_group, first, at.sequence.batch, linear_all_rows,
                             KEYS);
#if ERASERS
    copy_token_rows<KeyTile>(erasers, p.erasers, barrier, at.head, first, at.sequence.batch, linear_first_rows, KEYS);
#endif
  }
  const LoadedGates loaded(o, at, token);
  wait_for_phase(barrier, turn % 2);
  if (NORMALIZES) {
    if (warp == 1) measure_rows(storage.sizes + chunk_tokens, storage.keys, o.epsilon);
    __syncthreads();
  }
  if (warp == 0) find_gates(storage.gates, loaded, storage.sizes, count, o);
  if (count < chunk_tokens) {
    clear_rows<KeyTile>(storage.keys, count);
    if (ERASERS) clear_rows<KeyTile>(storage.erasers, count);
  }
  __syncthreads();

  TokenSums sums;
  open_products();
  multiply_tiles<Element, KeyTile, KeyTile>(sums, ERASERS ? erasers : keys, 0, keys);
  close_products();
  wait_for_products<0>();
  keep(sums);
  __syncthreads();
  clear<group_threads>((u8 *)storage.lower, sizeof(storage.lower));
  __syncthreads();
  const Member own;
  store_lower(storage.lower, storage.gates, sums, own);
  __syncthreads();
  invert(storage.lower, own);

  // Eight numbers at a time, four of each half of a row.
  constexpr int parts = chunk_tokens / 8;
#pragma unroll
  for (int n = 0; n < chunk_tokens * parts / group_threads; ++n) {
    const int index = threadIdx.x + n * group_threads, row = index / parts;
    if (row >= rows) break;
    const i64 number = (i64)at.sequence.chunk * chunk_tokens + token + row;
    u16 *target = p.inverses + (number * o.value_heads + at.head) * chunk_tokens;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int column = index % parts * 4 + half * chunk_tokens / 2;
      const float4 numbers = *(const float4 *)(storage.lower + row * lower_pitch + column);
      *(uint2 *)(target + column) = {Element::pack(numbers.x, numbers.y), Element::pack(numbers.z, numbers.w)};
    }
  }
}

extern "C" __global__ void __launch_bounds__(group_threads)
    linear_hopper_inverse(const __grid_constant__ Parameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  Storage &storage = *(Storage *)shared;
  const Place at(p.operands, chunk_tokens, segment_tokens);
  const int first = blockIdx.y * chunk_tokens, count = min(chunk_tokens, at.sequence.count - first);
  if (count <= 0) return;
  if (threadIdx.x == 0) {
    open_barrier(shared_address(&storage.barrier), 1);
    show_barriers();
  }
  __syncthreads();
#if CHANNELS
  const int level = p.levels[(i64)(at.sequence.chunk + blockIdx.y) * p.operands.value_heads + at.head];
  const int tokens = chunk_tokens >> level;
  for (int piece = 0; piece * tokens < count; ++piece) {
    const int begin = piece * tokens, left = count - begin;
    if (piece > 0) __syncthreads();
    // The last piece stores the rest of the chunk's rows, too: whoever reads it reads all of them.
    invert_piece(p, at, storage, piece, first + begin, min(tokens, left), left > tokens ? tokens : chunk_tokens - begin);
  }
#else
  invert_piece(p, at, storage, 0, first, count, chunk_tokens);
#endif
}

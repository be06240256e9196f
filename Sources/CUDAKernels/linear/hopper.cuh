#pragma once

#include "linear/operands.cuh"
#include "tile/blocks.cuh"

// What the kernels of linear attention for Hopper share.
//
// A block owns 64 or 128 columns of the values of one sequence and head, and goes through the sequence in
// chunks of 64 tokens. Its warpgroups have roles: a state group for each 64 columns keeps the state,
// transposed, in registers; the score group computes, a chunk ahead, what does not depend on the state; the
// copying group fills the rings of tiles, and of what follows from gates.
//
// Compiled with
//   ELEMENT      bf16 or f16
//   UPDATE       0 additive, 1 delta rule
//   KEYS         the key dimension, 64 or 128
//   COLUMNS      value columns of a block, 64 or 128
//   DECAYS       whether there is a decay, one per token and head
//   NORMALIZES   whether queries and keys are scaled to unit length
//   REVERSED     0 from the first token to the last; 1 from the last to the first
//   FLOWS        whether it finds, beside its outputs, what passes through tokens on the way to the gradient of
//                the decay (linear/flows.cuh)
//   STRICT       whether a token's query does not see its own key
//   ACCUMULATES  what is in the outputs' place already: 0 nothing, 1 it is added to the outputs, −1 it is taken from
//                them
//   BETAS        whether it finds the gradient of β, its queries being what is written and its keys the gradients of
//                the values
//   OUTPUTS      0 none, but what a piece of a sequence does to the state; 1 those of queries; 2 with the delta
//                rule what is written

using Element = ELEMENT;

// In the backward pass β is nowhere zero: what is written and the gradient of the values are both multiples of it, and
// its own gradient is their product over β². One so small changes no sum.
constexpr float least_beta = BETAS || (UPDATE == 1 && (REVERSED || OUTPUTS == 2)) ? 0x1p-40f : 0;

constexpr int chunk_tokens = 64;
constexpr int group_warps = group_threads / warp_threads;
constexpr int group_columns = 64;
constexpr int state_groups = COLUMNS / group_columns;
constexpr int score_group = state_groups;
constexpr int block_threads = (state_groups + 2) * group_threads;
// Warps of the state groups, and of those and the score group.
constexpr int state_warps = state_groups * group_warps;
constexpr int computing_warps = state_warps + group_warps;

// Registers of a thread in each role. A block starts with equal shares.
constexpr int first_registers = 65536 / block_threads / 8 * 8;
constexpr int state_registers = state_groups == 2 ? (FLOWS ? 184 : 192) : 232;
constexpr int score_registers = state_groups == 2 ? (FLOWS ? 112 : 96) : 152;
constexpr int copying_registers = 32;
static_assert(state_registers * state_groups + score_registers + copying_registers <=
              first_registers * (state_groups + 2));

using KeyTile = BlockedTile<Element, chunk_tokens, KEYS>;
using ValueTile = BlockedTile<Element, chunk_tokens, COLUMNS>;
// Token by token, and a group's columns of the output.
using ScoreTile = BlockedTile<Element, chunk_tokens, chunk_tokens>;
using OutputTile = BlockedTile<Element, chunk_tokens, group_columns>;

// Reversed, rows of the tile of scores are keys.
constexpr bool turned_scores = REVERSED && UPDATE == 0;

// A warpgroup's sums of 64 × 64 and of 64 × KEYS numbers.
using TokenSums = float[chunk_tokens / 8][4];
using StateSums = float[KEYS / 8][4];
// The same of 64 × 64 rounded, as left operand.
using TokenLeft = Element::Left[chunk_tokens / 16];

// The chunk of a turn.
DEVICE int chunk_of(int turn, int turns) { return REVERSED ? turns - 1 - turn : turn; }

// Barriers of the block by number; 0 is `__syncthreads`.
DEVICE void meet_own_group() { synchronize(1 + threadIdx.x / group_threads, group_threads); }

// A thread's place in its warpgroup, read anew each time: addresses that follow from it would otherwise be kept
// in registers through the loop over chunks.
DEVICE int own_thread() { return read_thread_index() % group_threads; }
DEVICE int own_warp() { return own_thread() / warp_threads; }
DEVICE int own_lane() { return read_thread_index() % warp_threads; }

// A warp has read a stage with loads of its own, of which each lane's must have come.
template <int Stages>
DEVICE void leave(const Ring<Stages> &ring, int turn) {
  __syncwarp();
  release(ring, turn);
}

// The factors of the two columns 8 `j` + 2 (lane mod 4) and + 1 of a sum.
DEVICE float2 factors_at(const float *factors, int j) {
  return *(const float2 *)(factors + 8 * j + threadIdx.x % 4 * 2);
}

// Each column of the sums times its factor.
DEVICE void scale_columns(TokenSums &c, const float *factors) {
#pragma unroll
  for (int j = 0; j < chunk_tokens / 8; ++j) {
    const float2 factor = factors_at(factors, j);
    c[j][0] *= factor.x;
    c[j][1] *= factor.y;
    c[j][2] *= factor.x;
    c[j][3] *= factor.y;
  }
}

template <int Columns>
DEVICE void scale(float (&c)[Columns][4], float factor) {
#pragma unroll
  for (int j = 0; j < Columns; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) c[j][i] *= factor;
  }
}

template <int Steps>
DEVICE void round_left(Element::Left (&a)[Steps], const float (&c)[2 * Steps][4]) {
#pragma unroll
  for (int step = 0; step < Steps; ++step) a[step] = Element::as_left(c[2 * step], c[2 * step + 1]);
}

// A left operand as sums.
template <int Steps>
DEVICE void widen_left(float (&c)[2 * Steps][4], const Element::Left (&a)[Steps]) {
#pragma unroll
  for (int j = 0; j < 2 * Steps; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      c[j][i] = Element::widen((u16)(a[j / 2].word[j % 2 * 2 + i / 2] >> 16 * (i % 2)));
    }
  }
}

// Where lane l of a warp finds, of a tile of tokens × columns, its row of the four matrices that are, transposed,
// the left operand of the warp's 16 columns from `column` on and of 16 tokens.
template <typename T>
DEVICE u32 transposed_place(int column, int step) {
  const int lane = threadIdx.x % warp_threads;
  return T::place(step * 16 + lane / 16 * 8 + lane % 8, column / 8 + lane / 8 % 2);
}

// By `Threads` threads, 16 bytes at a time.
template <int Threads>
DEVICE void clear(u8 *memory, u32 bytes) {
  for (u32 place = threadIdx.x % Threads * 16; place < bytes; place += Threads * 16) {
    *(uint4 *)(memory + place) = {0, 0, 0, 0};
  }
}

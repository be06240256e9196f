#pragma once

#include "linear/operands.cuh"
#include "linear/hopper.h"
#include "tile/fragment.cuh"
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
//   CHANNELS     which side of the state decays by channel: 0 none, 1 keys, 2 values. Queries and keys, or values, come
//                with the decay inside their piece of a chunk in them (linear/channel_gates.cu)
//   NORMALIZES   whether queries and keys are scaled to unit length
//   REVERSED     0 from the first token to the last; 1 from the last to the first
//   FLOWS        whether it finds, beside its outputs, what passes through tokens on the way to the gradient of
//                the decay (linear/flows.cuh)
//   STRICT       whether a token's query does not see its own key
//   ACCUMULATES  what is in the outputs' place already: 0 nothing, 1 it is added to the outputs, −1 it is taken from
//                them
//   BETAS        whether it finds the gradient of β, its queries being what is written and its keys the gradients of
//                the values
//   LOW_RANK     whether two rows of a chunk are a token with a low-rank update (linear/low_rank_gates.cu)
//   OUTPUTS      0 none, but what a piece of a sequence does to the state; 1 those of queries; 2 with the delta
//                rule what is written

using Element = ELEMENT;

// Whether blocks read what is multiplied with their outputs row by row. Where channels decay, linear/channel_gradients.cu
// does that.
#define PARTNERS (FLOWS && !CHANNELS)
// Whether tokens erase by other keys than they write by: with the decay of channels from the middle of their piece in
// them, where the keys have it up to there.
#define ERASERS (UPDATE == 1 && CHANNELS)

// Rows of a token, and tokens of a chunk.
constexpr int token_rows = LOW_RANK ? 2 : 1;
constexpr int decay_tokens = linear_hopper_tokens / token_rows;
// Whether erased values are multiplied by β.
constexpr bool has_betas = (UPDATE == 1 || BETAS) && !LOW_RANK;

// In the backward pass β is nowhere zero: what is written and the gradient of the values are both multiples of it, and
// its own gradient is their product over β². One so small changes no sum.
constexpr float least_beta = BETAS || (UPDATE == 1 && (REVERSED || OUTPUTS == 2)) ? 0x1p-40f : 0;

constexpr int chunk_tokens = linear_hopper_tokens;
constexpr int group_warps = linear_group_warps;
constexpr int group_columns = linear_hopper_columns;
constexpr int state_groups = COLUMNS / group_columns;
constexpr int score_group = state_groups;
constexpr int block_threads = linear_hopper_threads(COLUMNS);
// Warps of the state groups, and of those and the score group.
constexpr int state_warps = state_groups * group_warps;
constexpr int computing_warps = state_warps + group_warps;

// Registers of a thread in each role. A block starts with equal shares.
constexpr int first_registers = 65536 / block_threads / 8 * 8;
constexpr bool goes_back_over_erased = UPDATE == 1 && REVERSED;
constexpr int state_registers = state_groups == 1 ? 232 : PARTNERS || goes_back_over_erased && !CHANNELS ? 184 : 192;
constexpr int score_registers = state_groups == 1 ? 152 : CHANNELS ? 72 : PARTNERS ? 112 : 96;
constexpr int copying_registers = CHANNELS ? 56 : goes_back_over_erased ? 40 : 32;
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

// The channels of a block that decay.
constexpr int decaying_channels = CHANNELS == 0 ? 0 : CHANNELS == 2 ? COLUMNS : KEYS;

// The turns of a block: a chunk of tokens each, in order, or reversed from the last. Where channels decay, a chunk is cut
// into equal pieces so short that every factor inside a piece is a number: the level of a chunk says how often it is
// halved. Most chunks have level 0.
struct Walk {
  int turn = 0;
  int level = 0;

  // Through the chunks of `count` tokens. `levels` are those of the first chunk, and `step` further of the next.
  __device__ Walk(int count, const u8 *levels, int step) : count_(count), levels_(levels), step_(step) {
    if (!CHANNELS) return;
    chunk_ = REVERSED ? chunks() - 1 : 0;
    ahead_ = load_level(chunk_);
    enter();
  }

  __device__ bool exists() const { return CHANNELS ? chunk_ >= 0 && chunk_ < chunks() : turn < chunks(); }

  __device__ void next() {
    ++turn;
    if (!CHANNELS) return;
    piece_ += REVERSED ? -1 : 1;
    if (piece_ >= 0 && piece_ < pieces()) return;
    chunk_ += REVERSED ? -1 : 1;
    enter();
  }

  __device__ int chunk() const { return CHANNELS ? chunk_ : REVERSED ? chunks() - 1 - turn : turn; }
  // The turn's first token in the sequence, and its tokens; where the sequence goes on behind a whole chunk, more than 64.
  __device__ int first() const { return chunk() * chunk_tokens + (CHANNELS ? piece_ * piece_tokens() : 0); }
  __device__ int count() const {
    const int left = count_ - first();
    return CHANNELS ? min(left, piece_tokens()) : left;
  }
  __device__ bool is_first_piece() const { return !CHANNELS || piece_ == 0; }

 private:
  int count_;
  int chunks_ = (count_ + chunk_tokens - 1) / chunk_tokens;
  const u8 *levels_;
  int step_;
  int chunk_ = 0, piece_ = 0, ahead_ = 0;

  __device__ int chunks() const { return chunks_; }
  __device__ int piece_tokens() const { return chunk_tokens >> level; }
  __device__ int pieces() const {
    return (min(chunk_tokens, count_ - chunk_ * chunk_tokens) + piece_tokens() - 1) / piece_tokens();
  }
  __device__ int load_level(int number) const {
    return number >= 0 && number < chunks() ? levels_[(i64)number * step_] : 0;
  }
  // Begins a chunk whose level was loaded while the chunk before it was worked on.
  __device__ void enter() {
    level = ahead_;
    ahead_ = load_level(chunk_ + (REVERSED ? -1 : 1));
    piece_ = REVERSED ? pieces() - 1 : 0;
  }
};

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

// Requests the copy of a tile of a head's rows of `width` numbers, from `row` and `column` on. With low-rank updates
// the axes of a map are columns of all heads, rows of a token, and tokens; rows that are not in memory are outside
// the tensor, and become zero.
template <typename T>
DEVICE void copy_token_rows(u32 tile, const TensorMap &map, u32 barrier, int head, int row, int batch, int rows,
                            int width, int column = 0) {
#if LOW_RANK
  const int first = rows == linear_second_rows ? -1 : 0;
  copy_blocks<T>(tile, map, barrier, first, row / token_rows, batch, head * width + column);
#else
  copy_blocks<T>(tile, map, barrier, head, row, batch, column);
#endif
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

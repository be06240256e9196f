#pragma once

#include "attention/maps.h"
#include "attention/operands.cuh"
#include "tile/blocks.cuh"

// What the kernels for Hopper share. A block has warpgroups that own 64 rows each, the readers, and one more
// that requests tiles as stages become free: readers wait for copies only, and take turns.
//
// Compiled with
//   WARPGROUPS    readers of a block

constexpr int readers = WARPGROUPS * group_threads;
constexpr int block_threads = readers + group_threads;

// Registers of a thread: what a block starts with, and how its warpgroups share them later. Requesting more
// registers than the block started with would deadlock.
constexpr int first_registers = 65536 / block_threads / 8 * 8;
constexpr int copying_registers = WARPGROUPS == 3 ? 32 : 24;
constexpr int reading_registers = WARPGROUPS == 3 ? 160 : 240;
static_assert(copying_registers * group_threads + reading_registers * readers <=
              first_registers * block_threads);

// Numbers of barriers that warps meet at; 0 is that of the block.
enum Meeting { all_readers = 1, own_group = 2, turn_of_group = own_group + WARPGROUPS };

DEVICE void meet_own_group() { synchronize(own_group + threadIdx.x / group_threads, group_threads); }

// What passes where keys are owned: every tile of `Rows` queries that see one of the block's keys, of each head
// of the group.
template <int Rows>
struct PassingQueries {
  int first_tile, tile_count, first_head, turns;

  __device__ PassingQueries(const Segment &segment, Range keys, int first_head, int heads)
      : first_head(first_head) {
    const Range seeing = segment.band().seeing(keys, segment.query_count);
    first_tile = seeing.first / Rows;
    tile_count = seeing.end > seeing.first ? CEIL_DIVIDE(seeing.end, Rows) - first_tile : 0;
    turns = tile_count * heads;
  }
  __device__ int first_row(int turn) const { return (first_tile + turn % tile_count) * Rows; }
  __device__ int head(int turn) const { return first_head + turn / tile_count; }
};

// Numbers of a warp's sums become `hidden` where `sees(row, column)` is false, both counted from the warp's first.
template <int Columns, typename Sees>
DEVICE void hide(float (&c)[Columns][4], float hidden, const Sees &sees) {
  const int lane = threadIdx.x % warp_threads;
#pragma unroll
  for (int column = 0; column < Columns; ++column) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (!sees(i / 2 * 8 + lane / 4, column * 8 + lane % 4 * 2 + i % 2)) c[column][i] = hidden;
    }
  }
}

// Subtracts the offsets of a thread's two rows of products, or of the columns. See large_sums.cuh.
template <int Columns>
DEVICE void subtract_from_rows(float (&c)[Columns][4], float first, float second) {
#pragma unroll
  for (int column = 0; column < Columns; ++column) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      c[column][i] -= i < 2 ? first : second;
      settle(c[column][i]);
    }
  }
}

// `unit` is that of the thread's rows, a power of two.
template <int Columns>
DEVICE void subtract_from_columns(float (&c)[Columns][4], const float2 *offsets, const float (&unit)[2]) {
  const int lane = threadIdx.x % warp_threads;
#pragma unroll
  for (int column = 0; column < Columns; ++column) {
    const float2 offset = offsets[column * 4 + lane % 4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      c[column][i] -= (i % 2 ? offset.y : offset.x) * __frcp_rn(unit[i / 2]);
      settle(c[column][i]);
    }
  }
}

// Warpgroups issue products in turn: one that has issued its own lets the next begin, and computes meanwhile.
struct Turns {
  int count;

  // Before the first: the last warpgroup lets the first one begin.
  __device__ Turns(int count) : count(count) {
    if (group() == WARPGROUPS - 1) pass_on(-1);
  }

  __device__ void await() const { synchronize(turn_of_group + group(), 2 * group_threads); }

  __device__ void pass_on(int turn) const {
    const bool is_last = group() == WARPGROUPS - 1;
    if (is_last && turn + 1 == count) return;
    pass(turn_of_group + (is_last ? 0 : group() + 1), 2 * group_threads);
  }

 private:
  DEVICE int group() { return threadIdx.x / group_threads; }
};

#pragma once

#include "attention/hopper.cuh"
#include "attention/layout.h"
#include "tile/planes.cuh"

// What Hopper's kernels for float32 share: tiles of planes (tile/planes.cuh), which `attention/planes.cu` has
// made of the tensors, and the rows' units.

// Warps that copy numbers need more registers than the thread that requests tiles.
constexpr int copying_warp_registers = WARPGROUPS == 3 ? copying_registers : copying_registers + 16;
constexpr int planes_registers = WARPGROUPS == 3 ? reading_registers : reading_registers - 8;
static_assert(copying_warp_registers * group_threads + planes_registers * readers <=
              first_registers * block_threads);

// The planes of a head lie where those of as many heads would.
template <typename T>
DEVICE void copy_planes(u32 tile, const TensorMap &map, u32 barrier, int head, int row, int batch) {
#pragma unroll
  for (int plane = 0; plane < plane_count; ++plane) {
    copy_blocks<typename T::Plane>(tile + plane * T::Plane::bytes, map, barrier, head * plane_count + plane, row,
                                   batch);
  }
}

template <typename T>
DEVICE void clear_planes(u8 *tile, int count) {
#pragma unroll
  for (int plane = 0; plane < plane_count; ++plane) {
    clear_rows<typename T::Plane>(tile + plane * T::Plane::bytes, count);
  }
}

// A warp copies `Count` numbers, of which there are `rest`; the others become `missing`.
template <int Count>
DEVICE void copy_numbers(u32 target, const float *source, int rest, float missing) {
  const int lane = threadIdx.x % warp_threads;
#pragma unroll
  for (int first = 0; first < Count; first += warp_threads) {
    if (Count % warp_threads != 0 && first + lane >= Count) break;
    store_number(target + (first + lane) * 4, first + lane < rest ? source[first + lane] : missing);
  }
}

// The lanes of a warp release a stage of a ring.
template <int Stages>
DEVICE void release_together(const Ring<Stages> &ring, int turn) {
  __syncwarp();
  release(ring, turn);
}

// Keys and values that pass, and the barriers of a block that owns queries.
template <typename KeyTile, typename ValueTile, int Stages>
struct PassingKeys {
  static constexpr int rows = KeyTile::rows;

  u32 keys, values, key_units, value_units, query_barrier;
  Ring<Stages> key_ring = {query_barrier + barrier_bytes};
  Ring<Stages> value_ring = {query_barrier + barrier_bytes + Ring<Stages>::bytes};

  // Where the block's shared memory begins, and its layout.
  __device__ PassingKeys(u32 shared, const AttentionLayout &layout)
      : keys(shared + layout.first_passing),
        values(shared + layout.second_passing),
        key_units(shared + layout.numbers),
        value_units(key_units + Stages * rows * float_bytes),
        query_barrier(shared + layout.barriers) {}

  __device__ u32 key_tile(int turn) const { return keys + turn % Stages * KeyTile::bytes; }
  __device__ u32 value_tile(int turn) const { return values + turn % Stages * ValueTile::bytes; }
  __device__ u32 key_units_of(int turn) const { return key_units + turn % Stages * rows * float_bytes; }
  __device__ u32 value_units_of(int turn) const { return value_units + turn % Stages * rows * float_bytes; }

  // One thread. The copying thread and a warp fill a stage together.
  __device__ void open() const {
    open_barrier(query_barrier, 1);
    key_ring.open(readers / warp_threads, 1 + warp_threads);
    value_ring.open(readers / warp_threads, 1 + warp_threads);
    show_barriers();
  }

  // What the copying thread does, from the rings' turn `turn` on.
  __device__ void copy(const AttentionMaps &maps, const Segment &segment, Range tiles, int group,
                       int turn = 0) const {
#pragma unroll 1
    for (int tile = tiles.first; tile < tiles.end; ++tile, ++turn) {
      const int row = segment.key_start + tile * rows;
      copy_planes<KeyTile>(key_tile(turn), maps.keys, key_ring.claim(turn, KeyTile::bytes), group, row,
                           segment.batch);
      copy_planes<ValueTile>(value_tile(turn), maps.values, value_ring.claim(turn, ValueTile::bytes), group,
                             row, segment.batch);
    }
  }

  // What another warp does. `place` is that of the sequence's first key.
  __device__ void copy_units(const AttentionUnits &units, i64 place, int count, Range tiles, int turn = 0) const {
    const float *key = units.keys + place + tiles.first * rows;
    const float *value = units.values + place + tiles.first * rows;
    int rest = count - tiles.first * rows;
    const int end = turn + tiles.end - tiles.first;
#pragma unroll 1
    for (; turn < end; ++turn) {
      key_ring.wait_for_place(turn);
      copy_numbers<rows>(key_units_of(turn), key, rest, 0);
      key_ring.fill(turn);
      value_ring.wait_for_place(turn);
      copy_numbers<rows>(value_units_of(turn), value, rest, 0);
      value_ring.fill(turn);
      key += rows;
      value += rows;
      rest -= rows;
    }
  }
};

#pragma once

#include "tile/shared_memory.h"
#include "tile/types.cuh"

// Tiles in shared memory, and the copies that fill them.
//
// A tile has rows of `Columns` elements, in chunks of 16 bytes. Eight adjacent chunks are 128 bytes, the
// width of all banks. Chunk c of row r is stored at chunk c ^ (r mod 8) (the swizzle), so that the eight
// rows of one matrix load lie in different banks. Rows are padded to multiples of eight chunks.

template <typename E, int Rows, int Columns>
struct Tile {
  using Element = E;
  using Number = typename E::Number;
  static constexpr int rows = Rows;
  static constexpr int columns = Columns;
  static constexpr int chunk_numbers = chunk_bytes / sizeof(Number);
  static constexpr int chunks = Columns / chunk_numbers;
  static constexpr int pitch_bytes = tile_pitch_bytes(Columns, sizeof(Number));
  static constexpr int bytes = tile_bytes(Rows, Columns, sizeof(Number));

  // The byte offset of a chunk.
  DEVICE u32 place(int row, int chunk) { return row * pitch_bytes + (chunk ^ (row & 7)) * chunk_bytes; }

  // The byte offset of the two elements that a lane holds of a row of the 16 × 8 accumulator at `column`.
  DEVICE u32 pair_place(int row, int column, int lane) {
    const int bytes = lane % 4 * 2 * sizeof(Number);
    return place(row, column * (8 / chunk_numbers) + bytes / chunk_bytes) + bytes % chunk_bytes;
  }
};

// Starts copying a tile whose row i is at `source_row(i)`; rows for which `row_exists` is false become zero.
// `source_row(0)` must be readable memory in any case.
template <typename T, int Threads, typename Exists, typename Row>
DEVICE void copy_rows_where(u32 target, const Exists &row_exists, const Row &source_row) {
  for (int index = threadIdx.x; index < T::rows * T::chunks; index += Threads) {
    const int row = index / T::chunks;
    const int chunk = index % T::chunks;
    const bool exists = row_exists(row);
    copy_chunk(target + T::place(row, chunk),
               source_row(exists ? row : 0) + chunk * T::chunk_numbers, exists);
  }
}

// The same for a tile whose first `count` rows exist.
template <typename T, int Threads, typename Row>
DEVICE void copy_rows(u32 target, int count, const Row &source_row) {
  copy_rows_where<T, Threads>(target, [&](int row) { return row < count; }, source_row);
}

// Starts copying a tile whose first row is at `source`, rows `stride` elements apart; rows from `count` on
// become zero. All `Threads` threads of the block must call it.
template <typename T, int Threads>
DEVICE void copy_tile(u32 target, const typename T::Number *source, i64 stride, int count) {
  if constexpr (Threads % T::chunks == 0) {
    // A thread walks down one column of chunks: one addition per chunk.
    constexpr int step = Threads / T::chunks;
    const int thread = read_thread_index();
    const int row = thread / T::chunks;
    const int chunk = thread % T::chunks;
    u32 offset = row * (u32)stride + chunk * T::chunk_numbers;
#pragma unroll
    for (int first = 0; first < T::rows; first += step) {
      if (T::rows % step != 0 && first + row >= T::rows) break;
      const bool exists = first + row < count;
      copy_chunk(target + T::place(first + row, chunk), source + (exists ? offset : 0), exists);
      offset += step * (u32)stride;
    }
  } else {
    copy_rows<T, Threads>(target, count, [&](int row) { return source + row * stride; });
  }
}

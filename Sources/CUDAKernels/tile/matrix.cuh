#pragma once

#include "tile/memory.cuh"

// Products of tiles: a warp loads fragments from shared memory into registers and multiplies them.

// The address at which a lane reads in a tile. Because of the swizzle, moving by 32 bytes along a row flips
// two bits of the address; moving by 128 bytes adds a constant. So four addresses serve all of a warp's
// reads of a tile.
template <typename T>
struct LaneAddress {
  u32 base;

  // `row` and `chunk` are the lane's position in the tile's first fragment.
  __device__ LaneAddress(u32 tile, int row, int chunk) : base(tile + T::place(row, chunk)) {}

  // The address `rows` rows down, a multiple of 8, and 32 × `step` bytes along the row.
  __device__ u32 at(int rows, int step) const {
    return (base ^ (step % 4 * 2 * chunk_bytes)) + step / 4 * 8 * chunk_bytes +
           rows * T::pitch_bytes;
  }
};

// Whether a step of 32 bytes has 16 elements; otherwise it has 8.
template <typename T>
constexpr bool is_half = sizeof(typename T::Number) == 2;

// Left operands: rows `row` … + 15 of a tile.
template <typename T>
struct LeftOperands {
  LaneAddress<T> lane;

  __device__ LeftOperands(u32 tile, int row)
      : lane(tile, row + threadIdx.x % 16, threadIdx.x % warp_threads / 16) {}

  // The operand `rows` rows down, for the sum over columns 16 × `step` … + 15.
  __device__ typename T::Element::Left load(int rows, int step) const {
    typename T::Element::Left a;
    if constexpr (is_half<T>) {
      load_matrices(a.word, lane.at(rows, step));
    } else {
      load_matrices(a.word[0][0], lane.at(rows, 2 * step));
      load_matrices(a.word[0][1], lane.at(rows, 2 * step + 1));
      T::Element::split(a);
    }
    return a;
  }
};

// Right operands of two products with the transposed tile: a product's columns are rows of the tile, and it
// sums over the tile's columns.
template <typename T>
struct RightOperands {
  LaneAddress<T> lane;

  __device__ RightOperands(u32 tile) : RightOperands(tile, read_thread_index() % warp_threads) {}

  // Rows 16 × `pair` … + 15 at columns 16 × `step` … + 15.
  __device__ typename T::Element::Right load(int pair, int step) const {
    typename T::Element::Right b;
    if constexpr (is_half<T>) {
      load_matrices(b.word, lane.at(16 * pair, step));
    } else {
      load_matrices(b.word[0][0], lane.at(16 * pair, 2 * step));
      load_matrices(b.word[0][1], lane.at(16 * pair, 2 * step + 1));
      T::Element::split(b);
    }
    return b;
  }

 private:
  __device__ RightOperands(u32 tile, int index)
      : lane(tile, index % 8 + index / 16 * 8, index / 8 % 2) {}
};

// The same for products with the tile itself: their columns are its columns, and they sum over its rows.
template <typename T>
struct TransposedOperands {
  LaneAddress<T> lane;

  __device__ TransposedOperands(u32 tile)
      : TransposedOperands(tile, read_thread_index() % warp_threads) {}

  // Rows 16 × `step` … + 15 at columns 16 × `pair` … + 15.
  __device__ typename T::Element::Right load(int step, int pair) const {
    typename T::Element::Right b;
    if constexpr (is_half<T>) {
      load_matrices_transposed(b.word, lane.at(16 * step, pair));
    } else {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const u32 address = lane.at(16 * step + 8 * i, 2 * pair + half);
          b.word[0][i][2 * half] = load_word(address);
          b.word[0][i][2 * half + 1] = load_word((address ^ chunk_bytes) + T::pitch_bytes);
        }
      }
      T::Element::split(b);
    }
    return b;
  }

 private:
  // 32-bit elements are loaded one by one: lane 4 g + t reads rows 2 t and 2 t + 1 at column g.
  __device__ TransposedOperands(u32 tile, int index)
      : lane(tile, is_half<T> ? index % 16 : index % 4 * 2, index / 16) {
    if (!is_half<T>) lane.base += index / 4 % 4 * 4;
  }
};

// c += left rightᵀ, summed over `Columns` columns of both. With `Turned`, c is bit for bit the transpose of
// the product with left and right exchanged.
template <typename Element, int Columns, bool Turned = false, int Strips, int Rows, typename Left,
          typename Right>
DEVICE void multiply_rows(float (&c)[Strips][Rows][4], const Left &left, const Right &right) {
#pragma unroll
  for (int step = 0; step < Columns / 16; ++step) {
    typename Element::Left a[Strips];
#pragma unroll
    for (int strip = 0; strip < Strips; ++strip) a[strip] = left.load(strip * 16, step);
#pragma unroll
    for (int pair = 0; pair < Rows / 2; ++pair) {
      const typename Element::Right b = right.load(pair, step);
#pragma unroll
      for (int strip = 0; strip < Strips; ++strip) {
        Element::template multiply_add<Turned>(c[strip][2 * pair], c[strip][2 * pair + 1], a[strip], b);
      }
    }
  }
}

// sum += columns 16 × `step` … + 15 of `left` times rows 16 × `step` … + 15 of a tile.
template <typename Element, int Strips, int Rows, int Columns, typename Right>
DEVICE void add_product(float (&sum)[Strips][Columns][4], const float (&left)[Strips][Rows][4],
                        const Right &right, int step) {
  typename Element::Left a[Strips];
#pragma unroll
  for (int strip = 0; strip < Strips; ++strip) {
    a[strip] = Element::as_left(left[strip][2 * step], left[strip][2 * step + 1]);
  }
#pragma unroll
  for (int pair = 0; pair < Columns / 2; ++pair) {
    const typename Element::Right b = right.load(step, pair);
#pragma unroll
    for (int strip = 0; strip < Strips; ++strip) {
      Element::multiply_add(sum[strip][2 * pair], sum[strip][2 * pair + 1], a[strip], b);
    }
  }
}

// The maximum and the sum over the four threads of a row, in each of them.
DEVICE float row_maximum(float x) {
  x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
  return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}

DEVICE float row_sum(float x) {
  x += __shfl_xor_sync(~0u, x, 1);
  return x + __shfl_xor_sync(~0u, x, 2);
}

// The sum over a warp, in every lane.
DEVICE float warp_sum(float x) {
#pragma unroll
  for (int distance = warp_threads / 2; distance > 0; distance /= 2) {
    x += __shfl_xor_sync(~0u, x, distance);
  }
  return x;
}

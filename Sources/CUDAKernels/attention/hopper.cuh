#pragma once

#include "attention/layout.h"
#include "attention/maps.h"
#include "attention/operands.cuh"
#include "tile/blocks.cuh"
#include "tile/fragment.cuh"
#include "tile/planes.cuh"

// Shared by the kernels for Hopper. Each warpgroup of a block owns 64 rows, except the last, which fills the
// pipeline stages. The others, the readers, wait only for copies, and issue products in turn.
//
// Half precision is multiplied directly. float32 is multiplied in planes (tile/planes.cuh), which
// attention/planes.cu computes from the tensors: each row then has a unit, and threads add the sums of a
// tile's products to those of earlier tiles. In half precision all units are 1, and the matrix unit
// accumulates.
//
// Compiled with what operands.cuh lists, without KEY_MASK, COSINE and TERMS, half precision or tf32x3, and
//   KEY_DIMENSION, VALUE_DIMENSION   64 or 128
//   WARPGROUPS                       readers of a block
//   STAGES                           pipeline stages

constexpr bool in_planes = sizeof(Number) == float_bytes;
constexpr int stages = STAGES;
constexpr int readers = WARPGROUPS * group_threads;
constexpr int block_threads = readers + group_threads;

// Registers per thread: at the start of a block, and after its warpgroups have redistributed them. Warps that
// copy units need more than a thread that only requests tiles. Requesting more registers than the block
// started with would deadlock.
constexpr int first_registers = 65536 / block_threads / 8 * 8;
constexpr int copying_registers = WARPGROUPS == 3 ? 32 : in_planes ? 40 : 24;
constexpr int reading_registers = WARPGROUPS == 3 ? 160 : in_planes ? 232 : 240;
static_assert(copying_registers * group_threads + reading_registers * readers <=
              first_registers * block_threads);

// Indices of the barriers at which warps synchronise; 0 is the barrier of the block.
enum Meeting { all_readers = 1, own_group = 2, turn_of_group = own_group + WARPGROUPS };

DEVICE void meet_own_group() { synchronize(own_group + threadIdx.x / group_threads, group_threads); }

// Warpgroups issue products in turn: after issuing its own, a warpgroup lets the next begin and computes
// meanwhile.
struct Turns {
  int count;

  // At the start, the last warpgroup lets the first one begin.
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

// Releases a stage that all lanes of a warp have read numbers from; the second, one whose numbers are units.
DEVICE void release_together(const Ring<stages> &ring, int turn) {
  __syncwarp();
  release(ring, turn);
}
DEVICE void release_with_units(const Ring<stages> &ring, int turn) {
  if (in_planes) __syncwarp();
  release(ring, turn);
}

// The arithmetic: tiles, their products and the sums of these.

template <int Rows, int Columns>
using OperandTile = Either<in_planes, PlaneTile<Rows, Columns>, BlockedTile<Element, Rows, Columns>>;

// Requests the rows of a head from `row` on. Each plane of a head is stored like a separate head.
template <typename T>
DEVICE void copy_operand(u32 tile, const TensorMap &map, u32 barrier, int head, int row, int batch) {
  if constexpr (in_planes) {
#pragma unroll
    for (int plane = 0; plane < plane_count; ++plane) {
      copy_blocks<typename T::Plane>(tile + plane * T::Plane::bytes, map, barrier, head * plane_count + plane, row,
                                     batch);
    }
  } else {
    copy_blocks<T>(tile, map, barrier, head, row, batch);
  }
}

// Sets rows from `count` on to zero.
template <typename T>
DEVICE void clear_operand(u8 *tile, int count) {
  if constexpr (in_planes) {
#pragma unroll
    for (int plane = 0; plane < plane_count; ++plane) {
      clear_rows<typename T::Plane>(tile + plane * T::Plane::bytes, count);
    }
  } else {
    clear_rows<T>(tile, count);
  }
}

// Starts c = the product of the left tile's rows `row` … `row` + 63 with the right tile's rows, summed over
// columns, in their units. If `Turned`, it is bitwise the transpose of the product with left and right
// exchanged.
template <typename Left, typename Right, bool Turned = false, int Columns>
DEVICE void start_product(float (&c)[Columns][4], u32 left, int row, u32 right) {
  open_products();
  if constexpr (in_planes) {
    multiply_planes<Left, Right, Turned>(c, left, row, right);
  } else {
    multiply_tiles<Element, Left, Right>(c, left, row, right);
  }
  close_products();
}

// The units of the columns of a tile's products, and the unit of a row.
using Units = Either<in_planes, const float2 *, Ones>;
DEVICE Units column_units(const u8 *units) { return (const float2 *)units; }
DEVICE float row_unit(const float *units, i64 place) { return in_planes ? units[place] : 1; }

// unit · product − number
DEVICE float less(float product, float unit, float number) {
  return in_planes ? fmaf(unit, product, -number) : product - number;
}

// The product minus an offset, which is divided by the product's unit, a power of two. See large_sums.cuh.
DEVICE float less_offset(float product, float unit, float offset) {
  return settled(product - (in_planes ? offset * __frcp_rn(unit) : offset));
}

// A fragment as the left operand of a product, with 16 · `Steps` columns.
template <int Steps, bool InPlanes = in_planes>
struct LeftOperand {
  Element::Left at[Steps];
};
template <int Steps>
struct LeftOperand<Steps, true> {
  PlanesLeft<Steps> at;
  float row_units[2];
};

// `units` are those of the rows that it will be multiplied with.
template <int Columns, typename Units>
DEVICE LeftOperand<Columns / 2> as_left(const float (&number)[Columns][4], const Units &units) {
  LeftOperand<Columns / 2> a;
  if constexpr (in_planes) {
    a.at = as_planes(number, units, a.row_units);
  } else {
#pragma unroll
    for (int step = 0; step < Columns / 2; ++step) {
      a.at[step] = Element::as_left(number[2 * step], number[2 * step + 1]);
    }
  }
  return a;
}

// A sum over tiles of products of a left operand with a tile's rows: `start`, `arrive` once the products are
// complete, then `add`; or all three with `add_at_once`.
template <int Columns, bool InPlanes = in_planes>
struct SumOfProducts {
  float total[1][Columns][4] = {};

  template <typename T, int Steps>
  __device__ void start(const LeftOperand<Steps> &a, u32 tile) {
    open_products();
    add_registers<Element, T>(total[0], a.at, tile);
    close_products();
  }
  __device__ void arrive() { keep(total[0]); }
  template <int Steps>
  __device__ void add(const LeftOperand<Steps> &) {}

  template <typename T, int Steps>
  __device__ void add_at_once(const LeftOperand<Steps> &a, u32 tile) {
    start<T>(a, tile);
    wait_for_products<0>();
    arrive();
  }
};
template <int Columns>
struct SumOfProducts<Columns, true> {
  float total[1][Columns][4] = {};
  float sum[Columns][4];

  template <typename T, int Steps>
  __device__ void start(const LeftOperand<Steps> &a, u32 tile) {
    open_products();
    multiply_left<T>(sum, a.at, tile, 0);
    close_products();
  }
  __device__ void arrive() { keep(sum); }
  template <int Steps>
  __device__ void add(const LeftOperand<Steps> &a) {
    add_in_units(total[0], sum, a.row_units);
  }

  // 64 columns at a time: two gradients leave no registers for more.
  template <typename T, int Steps>
  __device__ void add_at_once(const LeftOperand<Steps> &a, u32 tile) {
    constexpr int part_columns = block_columns / 8;
#pragma unroll
    for (int block = 0; block < Columns / part_columns; ++block) {
      float part[part_columns][4];
      open_products();
      multiply_left<T>(part, a.at, tile, block);
      close_products();
      wait_for_products<0>();
      keep(part);
      add_in_units(total[0] + block * part_columns, part, a.row_units);
    }
  }
};

// A warp copies `Count` numbers, of which `rest` exist; the others are set to `missing`.
template <int Count>
DEVICE void copy_numbers(u32 target, const float *source, int rest, float missing) {
  const int lane = threadIdx.x % warp_threads;
#pragma unroll
  for (int first = 0; first < Count; first += warp_threads) {
    if (Count % warp_threads != 0 && first + lane >= Count) break;
    store_number(target + (first + lane) * float_bytes, first + lane < rest ? source[first + lane] : missing);
  }
}

// The keys and values that a block of queries iterates over, and the block's barriers.
template <typename KeyTile, typename ValueTile>
struct PassingKeys {
  static constexpr int rows = KeyTile::rows;

  u32 keys, values, first_key_units, first_value_units, query_barrier;
  Ring<stages> key_ring = {query_barrier + barrier_bytes};
  Ring<stages> value_ring = {query_barrier + barrier_bytes + Ring<stages>::bytes};

  // The start of the block's shared memory, and its layout.
  __device__ PassingKeys(u32 shared, const AttentionLayout &layout)
      : keys(shared + layout.first_passing),
        values(shared + layout.second_passing),
        first_key_units(shared + layout.numbers),
        first_value_units(first_key_units + stages * rows * float_bytes),
        query_barrier(shared + layout.barriers) {}

  __device__ u32 key_tile(int turn) const { return keys + turn % stages * KeyTile::bytes; }
  __device__ u32 value_tile(int turn) const { return values + turn % stages * ValueTile::bytes; }
  __device__ u32 key_units(int turn) const { return first_key_units + turn % stages * rows * float_bytes; }
  __device__ u32 value_units(int turn) const { return first_value_units + turn % stages * rows * float_bytes; }

  // Called by one thread. In planes, the copying thread and a warp fill a stage together.
  __device__ void open() const {
    const int fillers = in_planes ? 1 + warp_threads : 1;
    open_barrier(query_barrier, 1);
    key_ring.open(readers / warp_threads, fillers);
    value_ring.open(readers / warp_threads, fillers);
    show_barriers();
  }

  // The work of the copying thread, starting at the rings' turn `turn`.
  __device__ void copy(const AttentionMaps &maps, const Segment &segment, Range tiles, int group,
                       int turn = 0) const {
#pragma unroll 1
    for (int tile = tiles.first; tile < tiles.end; ++tile, ++turn) {
      const int row = segment.key_start + tile * rows;
      copy_operand<KeyTile>(key_tile(turn), maps.keys, key_ring.claim(turn, KeyTile::bytes), group, row,
                            segment.batch);
      copy_operand<ValueTile>(value_tile(turn), maps.values, value_ring.claim(turn, ValueTile::bytes), group, row,
                              segment.batch);
    }
  }

  // The work of another warp. `place` is the index of the sequence's first key.
  __device__ void copy_units(const AttentionUnits &units, i64 place, int count, Range tiles, int turn = 0) const {
    const float *key = units.keys + place + tiles.first * rows;
    const float *value = units.values + place + tiles.first * rows;
    int rest = count - tiles.first * rows;
    const int end = turn + tiles.end - tiles.first;
#pragma unroll 1
    for (; turn < end; ++turn) {
      key_ring.wait_for_place(turn);
      copy_numbers<rows>(key_units(turn), key, rest, 0);
      key_ring.fill(turn);
      value_ring.wait_for_place(turn);
      copy_numbers<rows>(value_units(turn), value, rest, 0);
      value_ring.fill(turn);
      key += rows;
      value += rows;
      rest -= rows;
    }
  }
};

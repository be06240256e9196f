#pragma once

#include "attention/layout.h"
#include "attention/maps.h"
#include "attention/hopper_terms.cuh"
#include "attention/operands.cuh"
#include "tile/blocks.cuh"
#include "tile/fragment.cuh"
#include "tile/planes.cuh"

// Shared by the kernels for Hopper. Each warpgroup of a block owns 64 rows, except the last, which fills the
// pipeline stages. The others, the readers, wait only for copies, and issue products in turn.
//
// Half precision is multiplied directly. float32 is multiplied in planes (tile/planes.cuh), which
// attention/planes.cu computes from the tensors: each row then has a unit, and threads add the sums of a
// tile's products to those of earlier tiles. In half precision the matrix unit accumulates, and all units are
// 1; but with COSINE the inverse norm of a query or key is part of its unit.
//
// Compiled with what operands.cuh and hopper_terms.cuh list, half precision or tf32x3, and
//   KEY_DIMENSION, VALUE_DIMENSION   64 or 128
//   WARPGROUPS                       readers of a block
//   STAGES                           pipeline stages

// Whether queries and keys have units.
constexpr bool has_units = in_planes || COSINE;
constexpr int stages = STAGES;
constexpr int readers = WARPGROUPS * group_threads;
constexpr int block_threads = readers + group_threads;

// Registers per thread: at the start of a block, and after its warpgroups have redistributed them. Warps that
// copy many numbers need more than a thread that only requests tiles. Requesting more registers than the block
// started with would deadlock.
constexpr int first_registers = 65536 / block_threads / 8 * 8;
struct Registers {
  int copying, reading;

  constexpr bool exist() const {
    return copying * group_threads + reading * readers <= first_registers * block_threads;
  }
};
constexpr Registers few_numbers = {WARPGROUPS == 3 ? 32 : 24, WARPGROUPS == 3 ? 160 : 240};
constexpr Registers many_numbers = {WARPGROUPS == 3 ? 32 : 40, WARPGROUPS == 3 ? 160 : 232};
static_assert(few_numbers.exist() && many_numbers.exist());

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

// Releases a stage that all lanes of a warp may have read numbers from.
DEVICE void release_together(const Ring<stages> &ring, int turn, bool has_numbers = true) {
  if (has_numbers) __syncwarp();
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

// Calls `clear` with the tile, or with each of its planes.
template <typename T, typename Clear>
DEVICE void for_each_plane(u8 *tile, const Clear &clear) {
  if constexpr (in_planes) {
#pragma unroll
    for (int plane = 0; plane < plane_count; ++plane) clear(typename T::Plane(), tile + plane * T::Plane::bytes);
  } else {
    clear(T(), tile);
  }
}

// Sets rows from `count` on to zero.
template <typename T>
DEVICE void clear_operand(u8 *tile, int count) {
  for_each_plane<T>(tile, [&](auto own, u8 *place) { clear_rows<decltype(own)>(place, count); });
}

// Sets keys that are hidden in a streamed tile to zero: beyond the `count` of the sequence, or not kept. Returns
// whether there may be any; then the warpgroup must meet.
template <typename T>
DEVICE bool clear_hidden(u8 *tile, int count, const KeptKeys<T::rows> &kept) {
  const bool is_cut = PACKED && count < T::rows, is_mixed = KEY_MASK && !kept.are_all();
  if (is_cut) clear_operand<T>(tile, count);
  if (is_mixed) {
    for_each_plane<T>(tile, [&](auto own, u8 *place) { clear_others<decltype(own)>(place, kept.words); });
  }
  return is_cut || is_mixed;
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

// The units of the columns of a tile's products: those of queries or keys, and those of values or of outputs'
// gradients; and the unit of a row of either.
using Units = Either<has_units, const float2 *, Ones>;
using PlaneUnits = Either<in_planes, const float2 *, Ones>;
DEVICE const float2 *pairs(const u8 *numbers) { return (const float2 *)numbers; }
DEVICE float row_unit(const float *units, const float *inverse_norms, i64 place) {
  return (in_planes ? __ldg(units + place) : 1) * (COSINE ? __ldg(inverse_norms + place) : 1);
}
DEVICE float plane_unit(const float *units, i64 place) { return in_planes ? __ldg(units + place) : 1; }

// unit · product − number
DEVICE float less(float product, float unit, float number) {
  return in_planes ? fmaf(unit, product, -number) : product - number;
}

// Where threads multiply products by the units of keys at once, not with the factor that converts scores to
// base 2: inverse norms are no powers of two, so that large sums would be rounded otherwise (large_sums.cuh).
constexpr bool scales_first = COSINE || TERMS;

// The product minus an offset, which is divided by the product's unit, a power of two, unless the product has
// been multiplied by it. See large_sums.cuh.
DEVICE float less_offset(float product, float unit, float offset) {
  return settled(product - (in_planes && !scales_first ? offset * __frcp_rn(unit) : offset));
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

// Numbers of `Count` rows that a warp copies. All of a tile's are loaded before the first is stored: one after
// the other, their latencies would add up to more than a turn of the products.
template <int Count>
struct LaneNumbers {
  static constexpr int parts = CEIL_DIVIDE(Count, warp_threads);
  float at[parts];

  // The numbers `read(row)` of the first `rest` rows; the others are zero.
  template <typename Read>
  __device__ LaneNumbers(int rest, const Read &read) {
#pragma unroll
    for (int part = 0; part < parts; ++part) at[part] = row(part) < rest ? read(row(part)) : 0;
  }

  __device__ void store(u32 target) const {
#pragma unroll
    for (int part = 0; part < parts; ++part) {
      if (Count % warp_threads == 0 || row(part) < Count) store_number(target + row(part) * float_bytes, at[part]);
    }
  }

  DEVICE int row(int part) { return part * warp_threads + threadIdx.x % warp_threads; }
};

// The keys and values that a block of queries iterates over, and the block's barriers.
template <typename KeyTile, typename ValueTile, typename Bias>
struct PassingKeys {
  static constexpr int rows = KeyTile::rows;
  static constexpr bool has_key_numbers = has_units || DECAY;
  static constexpr Registers registers = has_key_numbers ? many_numbers : few_numbers;

  // Numbers lie kind after kind, each for all stages.
  enum KeyNumber { unit, sum = has_units, rest_of_sum, value_unit = sum + decay_parts };

  u32 keys, values, biases, numbers, query_barrier;
  Ring<stages> key_ring = {query_barrier + barrier_bytes};
  Ring<stages> value_ring = {query_barrier + barrier_bytes + Ring<stages>::bytes};

  // The start of the block's shared memory, and its layout.
  __device__ PassingKeys(u32 shared, const AttentionLayout &layout)
      : keys(shared + layout.first_passing),
        values(shared + layout.second_passing),
        biases(shared + layout.bias),
        numbers(shared + layout.numbers),
        query_barrier(shared + layout.barriers) {}

  __device__ u32 key_tile(int turn) const { return keys + turn % stages * KeyTile::bytes; }
  __device__ u32 value_tile(int turn) const { return values + turn % stages * ValueTile::bytes; }
  __device__ u32 bias_tile(int turn) const { return biases + turn % stages * Bias::bytes; }
  __device__ u32 numbers_of(int turn, KeyNumber kind) const {
    return numbers + (kind * stages + turn % stages) * rows * float_bytes;
  }

  // Called by one thread. The copying thread and, where there are numbers, a warp fill a stage together.
  __device__ void open() const {
    auto fillers = [](bool has_numbers) { return has_numbers ? 1 + warp_threads : 1; };
    open_barrier(query_barrier, 1);
    key_ring.open(readers / warp_threads, fillers(has_key_numbers));
    value_ring.open(readers / warp_threads, fillers(in_planes));
    show_barriers();
  }

  // The work of the copying thread for queries of a head from `first_row` on, starting at the rings' turn `turn`.
  __device__ void copy(const AttentionMaps &maps, const TensorMap &bias, const Operands &o, const Segment &segment,
                       Range tiles, int head, int first_row, int turn = 0) const {
    const int group = head / o.heads_per_group;
#pragma unroll 1
    for (int tile = tiles.first; tile < tiles.end; ++tile, ++turn) {
      const int row = segment.key_start + tile * rows;
      const u32 barrier = key_ring.claim(turn, KeyTile::bytes + Bias::bytes);
      copy_operand<KeyTile>(key_tile(turn), maps.keys, barrier, group, row, segment.batch);
      if (BIASED) {
        Bias::copy(bias_tile(turn), bias, barrier, o.terms, segment.batch, head, segment.query_start + first_row, row);
      }
      copy_operand<ValueTile>(value_tile(turn), maps.values, value_ring.claim(turn, ValueTile::bytes), group, row,
                              segment.batch);
    }
  }

  // The work of another warp, where there are numbers.
  __device__ void copy_numbers(const AttentionUnits &units, const Operands &o, const Segment &segment, Range tiles,
                               int head, int turn = 0) const {
    i64 place = o.group_key_place(segment.batch, head / o.heads_per_group, segment.key_start) + tiles.first * rows;
    const DecaySum *sums = decay_sums_of(o.terms, segment, head, o.heads, o.query_length) + tiles.first * rows;
    int rest = segment.keys - tiles.first * rows;
    const int end = turn + tiles.end - tiles.first;
#pragma unroll 1
    for (; turn < end; ++turn) {
      const LaneNumbers<rows> key(has_units ? rest : 0, [&](int row) {
        return row_unit(units.keys, o.key_lengths, place + row);
      });
      const DecaySum origin = DECAY && !in_planes ? load_sum(sums) : DecaySum();
      const LaneNumbers<rows> whole(DECAY ? rest : 0, [&](int row) {
        return in_planes ? __ldg(&sums[row].large) : difference(load_sum(sums + row), origin);
      });
      const LaneNumbers<rows> small(decay_parts > 1 ? rest : 0, [&](int row) { return __ldg(&sums[row].rest); });
      const LaneNumbers<rows> value(in_planes ? rest : 0, [&](int row) {
        return plane_unit(units.values, place + row);
      });
      __syncwarp();
      if (has_key_numbers) {
        key_ring.wait_for_place(turn);
        if (has_units) key.store(numbers_of(turn, unit));
        if (DECAY) whole.store(numbers_of(turn, sum));
        if (decay_parts > 1) small.store(numbers_of(turn, rest_of_sum));
        key_ring.fill(turn);
      }
      if (in_planes) {
        value_ring.wait_for_place(turn);
        value.store(numbers_of(turn, value_unit));
        value_ring.fill(turn);
      }
      place += rows;
      sums += rows;
      rest -= rows;
    }
  }
};

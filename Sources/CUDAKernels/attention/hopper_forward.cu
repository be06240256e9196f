// Exact attention, forward, for Hopper: O = softmax(scale Q Kᵀ, masked) V and the rows' log-sum-exp.
//
// Like forward.cu, with wgmma and TMA, the instructions of sm_90a. A warpgroup owns 64 queries. While it
// computes the weights of a tile, the values of its previous tile are multiplied, and another warpgroup
// issues products (Shah et al., FlashAttention-3, 2024).
//
// Compiled with what hopper.cuh and forward.cuh list, and
//   KEY_ROWS    64, 96 or 128, in float32 also 48

#include "attention/forward.cuh"
#include "attention/hopper.cuh"

constexpr int query_rows = group_rows * WARPGROUPS;
constexpr int score_columns = KEY_ROWS / 8;
constexpr int value_columns = VALUE_DIMENSION / 8;
using Bias = BiasTile<query_rows, KEY_ROWS>;
constexpr AttentionLayout layout =
    attention_layout(owns_queries, query_rows, KEY_ROWS, KEY_DIMENSION, VALUE_DIMENSION, sizeof(Number), stages,
                     Bias::bytes,
                     attention_passing_numbers(owns_queries, has_units, in_planes, decay_parts), true);

using QueryTile = OperandTile<query_rows, KEY_DIMENSION>;
using KeyTile = OperandTile<KEY_ROWS, KEY_DIMENSION>;
using ValueTile = OperandTile<KEY_ROWS, VALUE_DIMENSION>;
using OutputTile = Either<in_planes, Tile<Element, query_rows, VALUE_DIMENSION>, OperandTile<query_rows, VALUE_DIMENSION>>;

extern "C" __global__ void __launch_bounds__(block_threads, 1)
    attention_hopper_forward(const __grid_constant__ AttentionHopperForwardParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  const Operands &o = p.forward.operands;
  const Segment segment = o.segment();
  // Later queries of a causal sequence attend to more keys, so blocks with the most work start first.
  const int first_row = (gridDim.x - 1 - blockIdx.x) * query_rows;
  const int row_count = min(query_rows, segment.query_count - first_row);
  if (row_count <= 0) return;
  const int head = blockIdx.y;
  const Range queries = {first_row, first_row + row_count};
  const Range tiles =
      kept_tiles(p.key_words, segment, segment.band().visible_tiles(queries, KEY_ROWS), KEY_ROWS);
  const Range whole = segment.band().whole_tiles(queries, KEY_ROWS);
  const u32 query_tile = shared_address(shared);
  using Passing = PassingKeys<KeyTile, ValueTile, Bias>;
  const Passing passing(query_tile, layout);

  if (threadIdx.x == 0) passing.open();
  __syncthreads();
  if (threadIdx.x >= readers) {
    give_registers<Passing::registers.copying>();
    if (threadIdx.x == readers) {
      arrive_expecting(passing.query_barrier, QueryTile::bytes);
      copy_operand<QueryTile>(query_tile, p.maps.queries, passing.query_barrier, head,
                              segment.query_start + first_row, segment.batch);
      passing.copy(p.maps, p.bias, o, segment, tiles, head, first_row);
    } else if (Passing::has_key_numbers && threadIdx.x / warp_threads == readers / warp_threads + 1) {
      passing.copy_numbers(p.units, o, segment, tiles, head);
    }
    return;
  }
  take_registers<Passing::registers.reading>();

  const int group = threadIdx.x / group_threads;
  const int warp_row = threadIdx.x / warp_threads * 16;
  const float scale = o.scale_of(head);
  auto query_of = [&](int half) { return first_row + min(warp_row + fragment_row(half), row_count - 1); };
  const FragmentTerms<false, Bias> terms(o, segment, head, warp_row, query_of);
  // The factors that convert scores to base 2 and, with TERMS, products to similarities.
  PerRow<1> factor;
  float size[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const i64 place = o.query_place(segment.batch, head, segment.query_start + query_of(half));
    size[half] = fabsf(scale) * row_unit(p.units.queries, o.query_lengths, place);
    factor[0][half] = TERMS ? terms.unit() * log2_e : fmaxf(size[half] * log2_e, smallest_factor);
  }
  Softmax<1> softmax = softmax_of<1>(p.forward, factor, [&](int, int) { return scale; });
  PerRow<1> shrink;
  SumOfProducts<value_columns> output;
  float score[1][score_columns][4];
  LeftOperand<KEY_ROWS / 16> a;
  auto at = [&](u32 address) { return shared + (address - query_tile); };

  // Masks a tile's scores and computes their weights, as powers of two.
  auto weigh_tile = [&](int tile, const KeptKeys<KEY_ROWS> &kept) {
    const int first_key = tile * KEY_ROWS;
    if (tile < whole.first || tile >= whole.end) {
      hide(score[0], -infinity, [&](int row, int column) {
        return segment.band().sees(first_row + warp_row + row, first_key + column);
      });
    }
    if (KEY_MASK && !kept.are_all()) kept.hide_others(score[0], -infinity);
    if (terms.is_cut(queries, {first_key, min(segment.keys, first_key + KEY_ROWS)})) {
      terms.hide_cut(score[0], -infinity, first_key, segment.keys);
    }
    const bool shrinks = softmax.raise_bounds(score, factor, shrink);
#pragma unroll
    for (int step = 0; step < KEY_ROWS / 16; ++step) weigh(softmax, score, step, factor);
    return shrinks;
  };
  auto kept_keys = [&](int turn) { return KeptKeys<KEY_ROWS>(p.key_words, segment, (tiles.first + turn) * KEY_ROWS); };
  auto await_values = [&](int turn, const KeptKeys<KEY_ROWS> &kept) {
    passing.value_ring.wait(turn);
    const int rest = segment.keys - (tiles.first + turn) * KEY_ROWS;
    if (clear_hidden<ValueTile>(at(passing.value_tile(turn)), rest, kept)) meet_own_group();
  };

  // 1. Wait for the queries. A negative scale would reverse the order of the scores, so the queries' signs
  // are flipped instead.
  wait_for_phase(passing.query_barrier, 0);
  if (scale < 0) {
    for (u32 place = threadIdx.x * 4; place < QueryTile::bytes; place += readers * 4) {
      *(u32 *)(shared + place) ^= (in_planes ? f16::sign_bits : Element::sign_bits);
    }
    show_to_products();
    synchronize(all_readers, readers);
  }

  const int turns = tiles.end - tiles.first;
  const Turns order(turns);
  // The keys that are kept of this tile and of the one before.
  KeptKeys<KEY_ROWS> kept = kept_keys(0), kept_before = kept;
  for (int turn = 0; turn < turns; ++turn) {
    // 2. S = Q Kᵀ, and P V of the previous tile while the weights of S are computed.
    const int first_key = (tiles.first + turn) * KEY_ROWS;
    passing.key_ring.wait(turn);
    if (!in_planes && turn > 0) await_values(turn - 1, kept_before);
    order.await();
    start_product<QueryTile, KeyTile>(score[0], query_tile, group * group_rows, passing.key_tile(turn));
    if (turn > 0) {
      output.template start<ValueTile>(a, passing.value_tile(turn - 1));
      order.pass_on(turn);
      wait_for_products<1>();
    } else {
      order.pass_on(turn);
      wait_for_products<0>();
    }
    keep(score[0]);
    auto numbers = [&](typename Passing::KeyNumber kind) { return pairs(at(passing.numbers_of(turn, kind))); };
    transform(score[0], [](float s, int, float unit) { return s * unit; }, Units(numbers(Passing::unit)));
    terms.apply(score[0], size, first_key, segment.keys, false,
                {numbers(Passing::sum), numbers(Passing::rest_of_sum), at(passing.bias_tile(turn))},
                [](int, int, float) {});
    release_together(passing.key_ring, turn, Passing::has_key_numbers || BIASED);
    const bool shrinks = weigh_tile(tiles.first + turn, kept);
    // Outside the branch, because the compiler would otherwise serialise the products.
    wait_for_products<0>();
    output.arrive();
    if (turn > 0) {
      release(passing.value_ring, turn - 1);
      output.add(a);
    }
    if (shrinks) softmax.scale(output.total, shrink);
    if (in_planes) await_values(turn, kept);
    kept_before = kept;
    kept = kept_keys(turn + 1);
    a = as_left(score[0], PlaneUnits(numbers(Passing::value_unit)));
  }

  // 3. P V of the last tile. In planes, outputs overwrite other groups' queries.
  if (turns > 0) {
    if (!in_planes) await_values(turns - 1, kept_before);
    output.template start<ValueTile>(a, passing.value_tile(turns - 1));
    wait_for_products<0>();
    output.arrive();
    output.add(a);
  }
  if (in_planes) synchronize(all_readers, readers);
  finish_rows<OutputTile>(p.forward, segment, softmax, output.total, factor, warp_row, first_row, row_count, head,
                          shared);
  meet_own_group();
  const Range rows = {group * group_rows, min(row_count, (group + 1) * group_rows)};
  write_rows<OutputTile, group_threads>(p.forward, segment, rows, first_row, head, shared,
                                        threadIdx.x % group_threads);
}

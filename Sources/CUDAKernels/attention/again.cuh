#pragma once

#include "attention/operands.cuh"
#include "tile/matrix.cuh"

// Rows of results that are computed again, from the pairs that see each other only.
//
// Tiles hold rows that some see and others do not. A hidden pair's weight is zero, but zero times NaN or
// infinity is NaN, and hidden memory may hold anything: padding, unwritten pages of a cache. What
// comes out finite has nothing of that, so the inner loops need not know of it. Where pairs are hidden, a warp
// looks at its rows in the end and computes those that are not finite again, pair by pair, before they are
// used. A row that sees NaN is NaN as before.
//
// A lane holds every 32nd number of a row.

template <int Columns>
constexpr int lane_numbers = CEIL_DIVIDE(Columns, warp_threads);

DEVICE bool is_finite(float x) { return fabsf(x) < infinity; }

// Whether any pair of the sequence that a block's queries and keys make is hidden, or may be: a bias of −∞ hides
// as a mask does.
DEVICE bool hides_pairs(const Operands &o, const Segment &s, Range queries, Range keys) {
  return KEY_MASK || (TERMS && (o.terms.bias || o.terms.decay_sums)) || s.band().cuts(queries, keys);
}

// Rows of a warp that are not finite, one bit per row.
struct UnfitRows {
  u32 rows = 0;

  // Of eight rows from `first` on: lane 4 r + t has numbers of row r, and their sum if it multiplies them by
  // zero. All lanes of the warp.
  __device__ void note(int first, float zeros) {
    const u32 lanes = __ballot_sync(~0u, zeros != 0);
    if (lanes == 0) return;
    for (int row = 0; row < 8; ++row) {
      if (lanes >> 4 * row & 15) rows |= 1u << (first + row);
    }
  }

  template <typename Body>
  __device__ void for_each(const Body &body) const {
    // What the warp has written of them is overwritten.
    __syncwarp();
#pragma unroll 1
    for (int row = 0; row < 32; ++row) {
      if (rows >> row & 1) body(row);
    }
  }
};

// The numbers of a lane.
template <int Columns>
struct LaneRow {
  float at[lane_numbers<Columns>];

  __device__ LaneRow(float number) {
#pragma unroll
    for (int i = 0; i < lane_numbers<Columns>; ++i) at[i] = number;
  }

  __device__ LaneRow(const Number *row) {
#pragma unroll
    for (int i = 0; i < lane_numbers<Columns>; ++i) {
      at[i] = column(i) < Columns ? Element::widen(row[column(i)]) : 0;
    }
  }

  DEVICE int column(int i) { return i * warp_threads + threadIdx.x % warp_threads; }

  // The product with another row, in every lane.
  __device__ float times(const LaneRow &other) const {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < lane_numbers<Columns>; ++i) sum += at[i] * other.at[i];
    return warp_sum(sum);
  }

  // A factor of zero takes nothing of the other row.
  __device__ void add(float factor, const LaneRow &other) {
    if (factor == 0) return;
#pragma unroll
    for (int i = 0; i < lane_numbers<Columns>; ++i) at[i] += factor * other.at[i];
  }

  __device__ bool is_zero() const {
    bool is = true;
#pragma unroll
    for (int i = 0; i < lane_numbers<Columns>; ++i) is &= at[i] == 0;
    return __all_sync(~0u, is);
  }

  __device__ bool is_nan() const {
    bool is = true;
#pragma unroll
    for (int i = 0; i < lane_numbers<Columns>; ++i) is &= column(i) >= Columns || isnan(at[i]);
    return __all_sync(~0u, is);
  }

  template <typename Store>
  __device__ void for_each(const Store &store) const {
#pragma unroll
    for (int i = 0; i < lane_numbers<Columns>; ++i) {
      if (column(i) < Columns) store(column(i), at[i]);
    }
  }
};

// A pair's score with the terms, −∞ if it is hidden; what it changes by with the scaled product; and the reciprocals
// of the rows' lengths.
struct PairScore {
  float score;
  float change;
  float lengths;
};

DEVICE PairScore score_pair(const Operands &o, const Segment &s, int head, int query, int key,
                            float product) {
  float lengths = 1;
  if (COSINE) {
    lengths = *o.query_length_at(s.batch, s.query_start + query, head) *
              *o.key_length_at(s.batch, s.key_start + key, head / o.heads_per_group);
  }
  TermScore score = {product * lengths * o.scale_of(head), 1};
#if TERMS
  score = HeadTerms(o.terms, s, head, o.heads, o.query_length).apply(score.score, query, key);
#endif
  return {score.score, score.slope, lengths};
}

// The keys, of `keys`, in which a query's band lies.
DEVICE Range seen_keys(const Segment &s, int query, Range keys) {
  return {max(keys.first, max(0, query + s.low)),
          min(keys.end, min(s.keys, query + s.high))};
}

// Stores a query's output of the keys `keys` and a sink, −∞ for none, unless a score is no number: then that is
// what the output is. One warp.
template <typename Store>
DEVICE void attend_again(const Operands &o, const Segment &s, int head, int query, Range keys, float sink,
                         const Store &store) {
  const int group = head / o.heads_per_group;
  const LaneRow<KEY_DIMENSION> own(o.queries.at(s.batch, s.query_start + query, head));
  const Range seen = seen_keys(s, query, keys);
  auto score_of = [&](int key) {
    if (!o.keeps(s, key)) return -infinity;
    const LaneRow<KEY_DIMENSION> other(o.keys.at(s.batch, s.key_start + key, group));
    return score_pair(o, s, head, query, key, own.times(other)).score;
  };
  float largest = sink;
  for (int key = seen.first; key < seen.end; ++key) {
    const float score = score_of(key);
    if (!(score < infinity)) return;
    largest = fmaxf(largest, score);
  }
  float sum = sink == -infinity ? 0 : exp2_fast((sink - largest) * log2_e);
  LaneRow<VALUE_DIMENSION> output(0.0f);
  for (int key = seen.first; key < seen.end; ++key) {
    const float score = score_of(key);
    if (score == -infinity) continue;
    const float weight = exp2_fast((score - largest) * log2_e);
    sum += weight;
    output.add(weight, LaneRow<VALUE_DIMENSION>(o.values.at(s.batch, s.key_start + key, group)));
  }
  output.for_each([&](int column, float number) { store(column, sum == 0 ? 0 : number / sum); });
}

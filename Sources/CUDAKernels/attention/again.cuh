#pragma once

#include "attention/operands.cuh"
#include "tile/matrix.cuh"

// Recomputes rows of results from their unmasked pairs only.
//
// Tiles may hold masked pairs. Their weight is zero, but zero times NaN or infinity is NaN, and masked memory
// may hold anything: padding, unwritten pages of a cache. A finite result is unaffected, so the inner loops
// ignore the problem. Instead, where pairs are masked, a warp checks its rows at the end and recomputes those
// that are not finite, pair by pair, before they are used. A row that attends to NaN stays NaN.
//
// A lane holds every 32nd element of a row.

template <int Columns>
constexpr int lane_numbers = CEIL_DIVIDE(Columns, warp_threads);

DEVICE bool is_finite(float x) { return fabsf(x) < infinity; }

// Whether any pair of these queries and keys may be masked; a bias or a decay of −∞ masks too.
DEVICE bool hides_pairs(const Operands &o, const Segment &s, Range queries, Range keys) {
  return KEY_MASK || (TERMS && (o.terms.bias || o.terms.decay_sums)) || s.band().cuts(queries, keys);
}

// Rows of a warp that are not finite, one bit per row.
struct UnfitRows {
  u32 rows = 0;

  // Notes which of the eight rows from `first` on are unfit. In lane 4 r + t, `zeros` is the sum of its
  // elements of row r times zero, which is not 0 if any is not finite. Called by all lanes of the warp.
  __device__ void note(int first, float zeros) {
    const u32 lanes = __ballot_sync(~0u, zeros != 0);
    if (lanes == 0) return;
    for (int row = 0; row < 8; ++row) {
      if (lanes >> 4 * row & 15) rows |= 1u << (first + row);
    }
  }

  template <typename Body>
  __device__ void for_each(const Body &body) const {
    // The rows overwrite what the warp has written before.
    __syncwarp();
#pragma unroll 1
    for (int row = 0; row < 32; ++row) {
      if (rows >> row & 1) body(row);
    }
  }
};

// A row distributed over the lanes of a warp.
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

  // The dot product with another row, in every lane.
  __device__ float times(const LaneRow &other) const {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < lane_numbers<Columns>; ++i) sum += at[i] * other.at[i];
    return warp_sum(sum);
  }

  // A factor of zero adds nothing, even if the other row has NaN.
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

// A pair's score with the terms, −∞ if it is masked; its derivative with respect to the scaled similarity;
// and the product of the rows' inverse norms.
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

// The intersection of `keys` with a query's band.
DEVICE Range seen_keys(const Segment &s, int query, Range keys) {
  return {max(keys.first, max(0, query + s.low)),
          min(keys.end, min(s.keys, query + s.high))};
}

// Stores a query's output over the keys `keys` and a sink, −∞ for none. If a score is NaN or +∞ it stores
// nothing: the output already is NaN. Called by one warp.
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

#pragma once

#include "attention/again.cuh"
#include "attention/backward.cuh"

// Recomputed gradients: see again.cuh.
//
// A maximum from products summed in another order does not match recomputed large scores. So the maximum and
// sum of a row of large scores are recomputed too, by the first warps that need them, with equal results.

// The sum of a row's gradient times zero.
template <int Columns>
DEVICE float zeros_of(const float (&gradient)[Columns][4], int half) {
  float zeros = 0;
#pragma unroll
  for (int column = 0; column < Columns; ++column) {
    zeros = fmaf(gradient[column][2 * half], 0, fmaf(gradient[column][2 * half + 1], 0, zeros));
  }
  return zeros;
}

DEVICE void store_gradient(Gradient *place, float number) {
#if WIDE
  *place = number;
#else
  *place = Element::narrow(number);
#endif
}

// Writes scale · gradient, where `gradient` is that of products with the row; with COSINE, without its
// component along the row, whose inverse norm is `length`. A row outside of all unmasked pairs may hold
// anything; its gradient is zero.
template <int Columns>
DEVICE void store_again(Gradient *target, LaneRow<Columns> gradient, const LaneRow<Columns> &row, float length,
                        float scale) {
  if (COSINE && !gradient.is_zero()) gradient.add(-gradient.times(row) * length * length, row);
  gradient.for_each([&](int column, float number) { store_gradient(target + column, scale * number); });
}

// The largest score of a query whose sum is large, and the rest of the log-sum in base 2. Called by one warp.
DEVICE float2 sum_again(const BackwardParameters &p, const Segment &s, int head, int query) {
  const Operands &o = p.operands;
  const i64 place = o.query_place(s.batch, head, s.query_start + query);
  const float2 known = p.again[place];
  if (__all_sync(~0u, known.x != unknown_shift && known.y != unknown_shift)) return known;
  const LaneRow<KEY_DIMENSION> own(o.queries.at(s.batch, s.query_start + query, head));
  const Range seen = seen_keys(s, query, {0, s.keys});
  float largest = -infinity, sum = 0;
  for (int key = seen.first; key < seen.end; ++key) {
    if (!o.keeps(s, key)) continue;
    const LaneRow<KEY_DIMENSION> other(o.keys.at(s.batch, s.key_start + key, head / o.heads_per_group));
    const float score = score_pair(o, s, head, query, key, own.times(other)).score;
    if (score == -infinity) continue;
    const float before = largest;
    largest = fmaxf(before, score);
    sum = sum * exp2_fast((before - largest) * log2_e) + exp2_fast((score - largest) * log2_e);
  }
  const RowShift row = resolve_sum(sum, 0, largest, 1, p.sink(head));
  const float2 found = {row.offset, row.shift};
  if (threadIdx.x % warp_threads == 0) p.again[place] = found;
  return found;
}

// Computes these for all queries that attend to any of `keys`. Warps start at different queries.
DEVICE void sum_rows_again(const BackwardParameters &p, const Segment &s, int group, Range keys) {
  const Operands &o = p.operands;
  const Range seeing = s.band().seeing(keys, s.query_count);
  const int count = seeing.end - seeing.first;
  for (int head = group * o.heads_per_group; head < (group + 1) * o.heads_per_group; ++head) {
    if (count <= 0 || !p.has_large(s, head, seeing)) continue;
    for (int step = 0; step < count; ++step) {
      const int query = seeing.first + (keys.first + step) % count;
      if (p.offset[o.query_place(s.batch, head, s.query_start + query)] != 0) sum_again(p, s, head, query);
    }
  }
}

struct PairGradient {
  // P, and the gradient of the score with its terms.
  float weight;
  float slope;
  // The gradient of the product of the rows.
  float product_slope;
};

template <int Keys, int Values>
DEVICE PairGradient pair_gradient(const BackwardParameters &p, const Segment &s, int head, int query, int key,
                                  const LaneRow<Keys> &own_query, const LaneRow<Values> &output_gradient,
                                  const LaneRow<Keys> &own_key, const LaneRow<Values> &own_value) {
  const Operands &o = p.operands;
  const i64 place = o.query_place(s.batch, head, s.query_start + query);
  const PairScore pair = score_pair(o, s, head, query, key, own_query.times(own_key));
  // Subtracted before and after the score is converted to base 2.
  float2 less = {0, p.shift[place]};
  if (p.offset[place] != 0) less = sum_again(p, s, head, query);
  const bool is_hidden = pair.score == -infinity || less.y == infinity;
  const float weight = is_hidden ? 0 : exp2_fast(fmaf(pair.score - less.x, log2_e, -less.y));
  const float slope = weight == 0 ? 0 : weight * (output_gradient.times(own_value) - p.delta[place]);
  return {weight, slope, slope == 0 ? 0 : slope * pair.change * pair.lengths};
}

// The gradient of a query. Called by one warp.
DEVICE void query_gradient_again(const BackwardParameters &p, const Segment &s, int head, int query) {
  const Operands &o = p.operands;
  const int group = head / o.heads_per_group;
  const int row = s.query_start + query;
  const i64 place = o.query_place(s.batch, head, row);
  const LaneRow<KEY_DIMENSION> own(o.queries.at(s.batch, row, head));
  const LaneRow<VALUE_DIMENSION> output_gradient(p.output_gradient.at(s.batch, row, head));
  LaneRow<KEY_DIMENSION> gradient(0.0f);
  float sum = 0;
  const Range seen = seen_keys(s, query, {0, s.keys});
  for (int key = seen.first; key < seen.end; ++key) {
    if (!o.keeps(s, key)) continue;
    const LaneRow<KEY_DIMENSION> own_key(o.keys.at(s.batch, s.key_start + key, group));
    const LaneRow<VALUE_DIMENSION> own_value(o.values.at(s.batch, s.key_start + key, group));
    const PairGradient pair =
        pair_gradient(p, s, head, query, key, own, output_gradient, own_key, own_value);
    sum += pair.slope;
    gradient.add(pair.product_slope, own_key);
    // Once NaN, always NaN.
    if (isnan(pair.product_slope)) break;
  }
  const float length = COSINE ? *o.query_length_at(s.batch, row, head) : 1;
  store_again(p.queries_gradient.at(s.batch, row, head), gradient, own, length, o.scale_of(head));
  const float along = gradient.is_zero() ? 0 : gradient.times(own);
  if (threadIdx.x % warp_threads != 0) return;
  if (p.scale_gradient) p.scale_gradient[place] = along;
  if (p.query_sums) p.query_sums[place] = sum;
}

// The same for the warp's rows `unfit`, whose row 0 is query `first`, up to query `end`.
SELDOM void query_gradients_again(const BackwardParameters &p, int head, int first, int end,
                                  UnfitRows unfit) {
  const Segment s = p.operands.segment();
  if (!hides_pairs(p.operands, s, {first, end}, {0, s.keys})) return;
  unfit.for_each([&](int row) {
    if (first + row < end) query_gradient_again(p, s, head, first + row);
  });
}

// The gradients of a key and its value. Called by one warp.
template <bool OfKeys, bool OfValues>
DEVICE void key_gradients_again(const BackwardParameters &p, const Segment &s, int group, int key) {
  const Operands &o = p.operands;
  const int row = s.key_start + key;
  const LaneRow<KEY_DIMENSION> own_key(o.keys.at(s.batch, row, group));
  const LaneRow<VALUE_DIMENSION> own_value(o.values.at(s.batch, row, group));
  LaneRow<KEY_DIMENSION> keys_gradient(0.0f);
  LaneRow<VALUE_DIMENSION> values_gradient(0.0f);
  const Range seeing = o.keeps(s, key) ? s.band().seeing({key, key + 1}, s.query_count) : Range{0, 0};
  for (int head = group * o.heads_per_group; head < (group + 1) * o.heads_per_group; ++head) {
    float sum = 0;
    for (int query = seeing.first; query < seeing.end; ++query) {
      const LaneRow<KEY_DIMENSION> own_query(o.queries.at(s.batch, s.query_start + query, head));
      const LaneRow<VALUE_DIMENSION> output_gradient(
          p.output_gradient.at(s.batch, s.query_start + query, head));
      const PairGradient pair =
          pair_gradient(p, s, head, query, key, own_query, output_gradient, own_key, own_value);
      sum += pair.slope;
      keys_gradient.add(pair.product_slope * o.scale_of(head), own_query);
      values_gradient.add(pair.weight, output_gradient);
      // Once NaN, always NaN.
      if (isnan(pair.slope) && (!OfValues || values_gradient.is_nan())) break;
    }
    if (OfKeys && p.key_sums && threadIdx.x % warp_threads == 0) {
      p.key_sums[o.key_place(s.batch, head, row)] = sum;
    }
  }
  if (OfKeys) {
    const float length = COSINE ? *o.key_length_at(s.batch, row, group) : 1;
    store_again(p.keys_gradient.at(s.batch, row, group), keys_gradient, own_key, length, 1);
  }
  if (OfValues) {
    values_gradient.for_each([&](int column, float number) {
      store_gradient(p.values_gradient.at(s.batch, row, group) + column, number);
    });
  }
}

// The same for the warp's rows `unfit`, whose row 0 is key `first`, up to key `end`.
template <bool OfKeys, bool OfValues>
SELDOM void key_gradients_again(const BackwardParameters &p, int group, int first, int end,
                                UnfitRows unfit) {
  const Segment s = p.operands.segment();
  if (!hides_pairs(p.operands, s, {0, s.query_count}, {first, end})) return;
  sum_rows_again(p, s, group, {first, min(end, first + warp_threads)});
  unfit.for_each([&](int row) {
    if (first + row < end) key_gradients_again<OfKeys, OfValues>(p, s, group, first + row);
  });
}

#pragma once

#include "attention/softmax.cuh"

// Rows whose log Σ is too large for the backward pass to compute weights from it.
//
// exp(s − log Σ) is off by as much as log Σ is rounded, |log Σ| · 2^-24: beside a maximum of −10^9 there is no
// place for what the sum adds to it, and weights of n equal scores would be 1, not 1 / n. So the kernel that
// owns queries goes over the keys of such a row once more before, and keeps its maximum and the rest of its
// log Σ apart: by the very products that the weights come from, for rounded otherwise, large scores would not
// fit their maximum. The kernel that owns keys computes the same products, turned around.

// Up to here a rounded log Σ, and its rounded product with log2(e), change a weight by at most 2^-14 of itself.
DEVICE bool is_large_sum(float log_sum) {
  return fabsf(log_sum) > 512 && fabsf(log_sum) < infinity;
}

// The shift of a row that is not known yet: a value that no log Σ gives, which may itself be NaN.
constexpr float unknown_shift = -infinity;

// What is subtracted from a row's scores: the offset before they are multiplied by the factor that makes powers
// of two of them, the shift after.
struct RowShift {
  float shift;
  float offset;
  float sink_share;    // of the row's sum
};

// `sum` is that of the weights of a row, 2^(factor (score − maximum) + rest), and `unit` · maximum is natural,
// as is the sink; −∞ if there is none.
DEVICE RowShift resolve_sum(float sum, float rest, float maximum, float unit, float sink) {
  // Nothing but the sink is seen: no weights.
  if (!(fabsf(maximum) < infinity)) return {infinity, 0, 1};
  const float log_sum = log2f(sum) - rest;
  if (sink == -infinity) return {log_sum, maximum, 0};
  const float above = (sink - unit * maximum) * log2_e - log_sum;
  // The sink and the others, in units of the larger.
  const float smaller = exp2_fast(-fabsf(above)), both = 1 + smaller;
  return {log_sum + fmaxf(above, 0) + log2f(both), maximum, (above > 0 ? 1 : smaller) / both};
}

// Whether any of a tile's `Count` queries has an offset. A warp looks together.
template <int Count>
DEVICE bool any_offset(const float2 *offsets) {
  bool any = false;
#pragma unroll
  for (int query = 0; query < Count; query += warp_threads) {
    const int own = query + read_thread_index() % warp_threads;
    any |= own < Count && ((const float *)offsets)[own] != 0;
  }
  return __any_sync(~0u, any);
}

// Maxima and sums of rows whose scores arrive one tile at a time. `factor` has a sign: where it is negative, the
// smallest score makes the largest power of two.
template <int Strips>
struct RowSums {
  PerRow<Strips> steepness;
  float sign;
  RunningBound<Strips> bound;

  __device__ RowSums(const PerRow<Strips> &factor) : bound(0) {
    sign = factor[0][0] < 0 ? -1 : 1;
#pragma unroll
    for (int strip = 0; strip < Strips; ++strip) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        steepness[strip][half] = fmaxf(fabsf(factor[strip][half]), smallest_factor);
      }
    }
  }

  // Scores that are not seen are hidden by `hide`, which makes them −∞.
  template <int Columns, typename Hide>
  __device__ void add(float (&score)[Strips][Columns][4], const Hide &hide) {
#pragma unroll
    for (int strip = 0; strip < Strips; ++strip) {
#pragma unroll
      for (int column = 0; column < Columns; ++column) {
#pragma unroll
        for (int i = 0; i < 4; ++i) score[strip][column][i] *= sign;
      }
    }
    hide(score);
    PerRow<Strips> shrink;
    bound.raise_bounds(score, steepness, shrink);
#pragma unroll
    for (int step = 0; step < Columns / 2; ++step) weigh(bound, score, step, steepness);
  }

  __device__ RowShift resolve(int strip, int half, float unit, float sink) const {
    const float maximum = bound.maximum[strip][half];
    const float subtracted = bound.bound(strip, half, steepness);
    const float rest = subtracted == 0 ? 0 : fmaf(steepness[strip][half], maximum, -subtracted);
    return resolve_sum(row_sum(bound.sum[strip][half]), rest, sign * maximum, unit, sink);
  }
};

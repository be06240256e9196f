#pragma once

#include "attention/softmax.cuh"

// Rows whose log Σ is too large for the backward pass to compute weights from it.
//
// exp(s − log Σ) has the relative error of rounding log Σ, |log Σ| · 2^-24. Beside a maximum of −10^9 the
// logarithm of the sum is lost, and weights of n equal scores would be 1, not 1 / n. So the kernel that owns
// queries makes an extra pass over the keys of such a row and stores its maximum and the rest of its log Σ
// separately. It uses the same products as the weights: large scores rounded otherwise would not match their
// maximum. The kernel that owns keys computes the transposes of these products, bit for bit the same.

// Below this limit the roundings of log Σ and of its base-2 value change a weight by at most 2^-14 of it.
DEVICE bool is_large_sum(float log_sum) {
  return fabsf(log_sum) > 512 && fabsf(log_sum) < infinity;
}

// The shift of a row that is not resolved yet: a value that no log Σ, which may be NaN, gives.
constexpr float unknown_shift = -infinity;

// Subtracted from a row's scores: the offset before they are converted to base 2, the shift after.
struct RowShift {
  float shift;
  float offset;
  float sink_share;    // of the row's sum
};

// `sum` is the sum of a row's weights, 2^(factor (score − maximum) + rest). `unit` · maximum and the sink, −∞
// if there is none, are natural logarithms.
DEVICE RowShift resolve_sum(float sum, float rest, float maximum, float unit, float sink) {
  // The query attends to the sink only: no weights.
  if (!(fabsf(maximum) < infinity)) return {infinity, 0, 1};
  const float log_sum = log2f(sum) - rest;
  if (sink == -infinity) return {log_sum, maximum, 0};
  const float above = (sink - unit * maximum) * log2_e - log_sum;
  // The sink and the other scores, in units of the larger.
  const float smaller = exp2_fast(-fabsf(above)), both = 1 + smaller;
  return {log_sum + fmaxf(above, 0) + log2f(both), maximum, (above > 0 ? 1 : smaller) / both};
}

// Whether any of a tile's `Count` queries has an offset. Called by a whole warp.
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

// Maxima and sums of rows whose scores arrive one tile at a time. `factor` may be negative: then the smallest
// score has the largest weight.
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

  // `hide` sets masked scores to −∞.
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

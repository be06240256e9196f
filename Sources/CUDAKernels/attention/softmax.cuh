#pragma once

#include "tile/matrix.cuh"

// The softmax of rows whose scores arrive one tile at a time (Dao, FlashAttention-2, 2023).
//
// A warp holds `Strips` strips of 16 rows, a thread two rows of each. A row's weights are 2^(factor · score −
// bound), with a `factor` > 0 that converts scores to base 2. Until the end, each thread sums its own
// columns.

template <int Strips>
using PerRow = float[Strips][2];

// The lower limit of a row's factor: zero times a masked score of −∞ would be NaN.
constexpr float smallest_factor = 1e-30f;

// Whether a bound, in base 2, is subtracted in the same fused multiply-add that applies the factor. That
// rounds it by up to 2^-13, an error common to all weights of a tile. For larger bounds, where the error
// would be larger, the maximum is subtracted from the scores beforehand.
DEVICE bool is_fused(float bound) { return fabsf(bound) <= 0x1p12f; }

// Bounds that follow the scores. A bound need not be the largest score: only when a score exceeds it by more
// than `slack` powers of two is it raised, and earlier sums scaled down. So weights are at most 2^slack,
// which affects neither their relative rounding nor the result, as the sums of weights and of values share
// the factor.
template <int Strips>
struct RunningBound {
  static constexpr float usual_slack = 8;

  // −∞ while a row is large, so that the maximum is subtracted from the scores of every tile.
  float slack = usual_slack;
  PerRow<Strips> maximum;
  PerRow<Strips> sum;

  // Takes an argument only for the sake of `ConstantBound`.
  __device__ RunningBound(float) {
#pragma unroll
    for (int strip = 0; strip < Strips; ++strip) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        maximum[strip][half] = -infinity;
        sum[strip][half] = 0;
      }
    }
  }

  // The bound in base 2, subtracted after applying the factor: 0 if the maximum was subtracted beforehand, or
  // if all scores so far are −∞, whose weights are zero.
  __device__ float bound(int strip, int half, const PerRow<Strips> &factor) const {
    const float bound = factor[strip][half] * maximum[strip][half];
    return is_fused(bound) ? bound : 0;
  }

  // The bound as a natural logarithm, however it was subtracted.
  __device__ float log_bound(int strip, int half, const PerRow<Strips> &factor) const {
    return factor[strip][half] * ln_2 * maximum[strip][half];
  }

  // Raises the bounds for a tile of scores where necessary and rescales the sums. Subtracts large maxima from
  // the scores. Returns whether outputs must be rescaled too, by `shrink`.
  template <int Columns>
  __device__ bool raise_bounds(float (&score)[Strips][Columns][4],
                               const PerRow<Strips> &factor, PerRow<Strips> &shrink) {
    PerRow<Strips> largest;
    bool exceeds = false;
#pragma unroll
    for (int strip = 0; strip < Strips; ++strip) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float value = -infinity;
#pragma unroll
        for (int column = 0; column < Columns; ++column) {
          const float *pair = score[strip][column] + 2 * half;
          value = fmaxf(value, fmaxf(pair[0], pair[1]));
        }
        largest[strip][half] = row_maximum(value);
        exceeds |= factor[strip][half] * (largest[strip][half] - maximum[strip][half]) > slack;
      }
    }
    if (!__any_sync(~0u, exceeds)) return false;
    bool is_large = false;
#pragma unroll
    for (int strip = 0; strip < Strips; ++strip) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float before = maximum[strip][half];
        const float raised = fmaxf(largest[strip][half], before);
        shrink[strip][half] =
            raised == -infinity ? 1 : exp2_fast(factor[strip][half] * (before - raised));
        maximum[strip][half] = raised;
        sum[strip][half] *= shrink[strip][half];
        is_large |= !is_fused(factor[strip][half] * raised);
      }
    }
    is_large = __any_sync(~0u, is_large);
    slack = is_large ? -infinity : usual_slack;
    if (is_large) subtract_large(score, factor);
    return true;
  }

  // A maximum of −∞ is not subtracted: −∞ − −∞ is NaN.
  template <int Columns>
  __device__ void subtract_large(float (&score)[Strips][Columns][4], const PerRow<Strips> &factor) const {
#pragma unroll
    for (int strip = 0; strip < Strips; ++strip) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float own = maximum[strip][half];
        const float offset = own == -infinity || is_fused(factor[strip][half] * own) ? 0 : own;
#pragma unroll
        for (int column = 0; column < Columns; ++column) {
#pragma unroll
          for (int i = 2 * half; i < 2 * half + 2; ++i) {
            score[strip][column][i] -= offset;
            settle(score[strip][column][i]);
          }
        }
      }
    }
  }

  template <int Outputs>
  __device__ void scale(float (&output)[Strips][Outputs][4], const PerRow<Strips> &shrink) const {
#pragma unroll
    for (int strip = 0; strip < Strips; ++strip) {
#pragma unroll
      for (int i = 0; i < Outputs; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) output[strip][i][j] *= shrink[strip][j / 2];
      }
    }
  }

  // Raises the bounds, and rescales sums and outputs.
  template <int Columns, int Outputs>
  __device__ void raise(float (&score)[Strips][Columns][4], float (&output)[Strips][Outputs][4],
                        const PerRow<Strips> &factor) {
    PerRow<Strips> shrink;
    if (raise_bounds(score, factor, shrink)) scale(output, shrink);
  }
};

// A constant bound known in advance, for scores that cannot underflow: no maxima, no rescaling.
template <int Strips>
struct ConstantBound {
  float shift;
  PerRow<Strips> sum;

  __device__ ConstantBound(float shift) : shift(shift) {
#pragma unroll
    for (int strip = 0; strip < Strips; ++strip) sum[strip][0] = sum[strip][1] = 0;
  }

  __device__ float bound(int, int, const PerRow<Strips> &) const { return shift; }
  __device__ float log_bound(int, int, const PerRow<Strips> &) const { return ln_2 * shift; }

  template <int Columns>
  __device__ bool raise_bounds(float (&)[Strips][Columns][4], const PerRow<Strips> &, PerRow<Strips> &) {
    return false;
  }
  template <int Outputs>
  __device__ void scale(float (&)[Strips][Outputs][4], const PerRow<Strips> &) const {}
  template <int Columns, int Outputs>
  __device__ void raise(float (&)[Strips][Columns][4], float (&)[Strips][Outputs][4],
                        const PerRow<Strips> &) {}
};

// Either of the two, chosen when a warp reads the scales of its rows.
template <int Strips>
struct TestedBound : RunningBound<Strips> {
  bool is_constant;

  // `shift(strip, half)` is the row's constant bound, or infinity if the row needs a running one.
  template <typename Shift>
  __device__ TestedBound(const PerRow<Strips> &factor, Shift shift) : RunningBound<Strips>(0) {
    bool needs_running = false;
#pragma unroll
    for (int strip = 0; strip < Strips; ++strip) {
#pragma unroll
      for (int half = 0; half < 2; ++half) needs_running |= shift(strip, half) == infinity;
    }
    is_constant = !__any_sync(~0u, needs_running);
    if (!is_constant) return;
#pragma unroll
    for (int strip = 0; strip < Strips; ++strip) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        this->maximum[strip][half] = shift(strip, half) / factor[strip][half];
      }
    }
  }

  template <int Columns>
  __device__ bool raise_bounds(float (&score)[Strips][Columns][4], const PerRow<Strips> &factor,
                               PerRow<Strips> &shrink) {
    return !is_constant && RunningBound<Strips>::raise_bounds(score, factor, shrink);
  }
  template <int Columns, int Outputs>
  __device__ void raise(float (&score)[Strips][Columns][4], float (&output)[Strips][Outputs][4],
                        const PerRow<Strips> &factor) {
    if (!is_constant) RunningBound<Strips>::raise(score, output, factor);
  }
};

// Replaces 16 columns of scores by weights and adds them to the sums.
template <typename Softmax, int Strips, int Columns>
DEVICE void weigh(Softmax &softmax, float (&score)[Strips][Columns][4], int step,
                  const PerRow<Strips> &factor) {
#pragma unroll
  for (int strip = 0; strip < Strips; ++strip) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float shift = softmax.bound(strip, half, factor);
#pragma unroll
      for (int column = 2 * step; column < 2 * step + 2; ++column) {
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          const float weight = exp2_fast(fmaf(factor[strip][half], score[strip][column][i], -shift));
          score[strip][column][i] = weight;
          softmax.sum[strip][half] += weight;
        }
      }
    }
  }
}

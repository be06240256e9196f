#pragma once

#include "attention/again.cuh"
#include "attention/operands.cuh"
#include "attention/sink.cuh"
#include "attention/softmax.cuh"

#include "attention/forward.h"

// What the kernels of the forward pass share.
//
// Compiled with
//   CONSTANT_BOUND   0 or 1: the softmax subtracts a constant bound of the scores; with HEAD_SCALES, in heads
//                    whose scale allows it

#if CONSTANT_BOUND && HEAD_SCALES
template <int Strips>
using Softmax = TestedBound<Strips>;
#elif CONSTANT_BOUND
template <int Strips>
using Softmax = ConstantBound<Strips>;
#else
template <int Strips>
using Softmax = RunningBound<Strips>;
#endif

// The softmax of rows with these factors; `scale_of(strip, half)` is a row's scale.
template <int Strips, typename Scale>
DEVICE Softmax<Strips> softmax_of(const AttentionForwardParameters &p, const PerRow<Strips> &factor,
                                  const Scale &scale_of) {
#if CONSTANT_BOUND
  auto shift = [&](int strip, int half) {
    const float size = fabsf(scale_of(strip, half)) * p.bound_factor;
    return !HEAD_SCALES || 2 * size <= p.bound_range ? (size - p.bound_rise) * log2_e : infinity;
  };
#if HEAD_SCALES
  return {factor, shift};
#else
  return {shift(0, 0)};
#endif
#else
  return {0};
#endif
}

// The factor of a row's outputs, and the sum of its weights.
struct RowWeights {
  float reciprocal;
  AttentionPartialSum part;

  __device__ float log_sum() const {
    return part.sum == 0 ? -infinity : part.bound + ln_2 * log2f(part.sum);
  }
};

// `bound` and `sink` are natural logarithms; the sink is one more score in the sum, without a value, or −∞ if
// there is none. A NaN in the sum is kept.
DEVICE RowWeights finish_row(float sum, float bound, float sink) {
  float shrink = 1;
  if (sink != -infinity) {
    // The larger of the two is never subtracted from itself, which would be NaN for an infinite sink.
    const float above = sum == 0 ? infinity : (sink - bound) * log2_e;
    const float share = exp2_fast(-fabsf(above));
    shrink = above > 0 ? share : 1;
    sum = above > 0 ? sum * share + 1 : sum + share;
    bound = above > 0 ? sink : bound;
  }
  return {sum == 0 ? 0 : shrink / sum, {bound, sum}};
}

// Recomputes the warp's rows `unfit` and stores them in shared memory with the others. See again.cuh.
template <typename T>
SELDOM void outputs_again(const AttentionForwardParameters &p, int head, int first_row, int row_count, int warp_row,
                          UnfitRows unfit, u8 *shared) {
  const Segment segment = p.operands.segment();
  const Range queries = {first_row, first_row + row_count}, keys = {0, segment.keys};
  if (!hides_pairs(p.operands, segment, queries, keys)) return;
  unfit.for_each([&](int index) {
    const int row = warp_row + index;
    if (row >= row_count) return;
    const float sink = p.sink(head);
    attend_again(p.operands, segment, head, first_row + row, keys, sink, [&](int column, float number) {
      const u32 chunk = T::place(row, column / T::chunk_numbers);
      ((Number *)(shared + chunk))[column % T::chunk_numbers] = Element::narrow(number);
    });
  });
}

// Stores O / Σ P of the thread's rows in shared memory that is no longer read, and writes their log-sum-exp.
template <typename T, typename Softmax, int Strips, int Columns>
DEVICE void finish_rows(const AttentionForwardParameters &p, const Segment &segment, const Softmax &softmax,
                        const float (&output)[Strips][Columns][4], const PerRow<Strips> &factor,
                        int warp_row, int first_row, int row_count, int head, u8 *shared) {
  const int lane = threadIdx.x % warp_threads;
  const float sink = p.sink(head);
  UnfitRows unfit;
#pragma unroll
  for (int strip = 0; strip < Strips; ++strip) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = warp_row + strip * 16 + fragment_row(half);
      const RowWeights weights = finish_row(row_sum(softmax.sum[strip][half]),
                                            softmax.log_bound(strip, half, factor), sink);
      const float log_sum = weights.log_sum();
      float zeros = 0;
#pragma unroll
      for (int column = 0; column < Columns; ++column) {
        const float first = output[strip][column][2 * half] * weights.reciprocal;
        const float second = output[strip][column][2 * half + 1] * weights.reciprocal;
        Element::store(shared + T::pair_place(row, column, lane), first, second);
        zeros = fmaf(first, 0, fmaf(second, 0, zeros));
      }
      unfit.note(strip * 16 + half * 8, zeros);
      if (leads_row() && row < row_count) {
        const int query = segment.query_start + first_row + row;
        p.log_sum_exp[p.operands.query_place(segment.batch, head, query)] = log_sum;
      }
    }
  }
  if (unfit.rows != 0) outputs_again<T>(p, head, first_row, row_count, warp_row, unfit, shared);
}

// `Threads` threads, of which this one is `thread`, write rows of a tile to global memory in whole chunks.
// All of them must have stored their parts of the tile before.
template <typename T, int Threads>
DEVICE void write_rows(const AttentionForwardParameters &p, const Segment &segment, Range rows, int first_row,
                       int head, const u8 *shared, int thread) {
  Number *target = p.output.at(segment.batch, segment.query_start + first_row, head);
  for (int index = rows.first * T::chunks + thread; index < rows.end * T::chunks; index += Threads) {
    const int row = index / T::chunks;
    const int chunk = index % T::chunks;
    *(uint4 *)(target + row * p.output.row + chunk * T::chunk_numbers) =
        *(const uint4 *)(shared + T::place(row, chunk));
  }
}

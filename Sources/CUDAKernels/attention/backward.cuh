#pragma once

#include "attention/large_sums.cuh"
#include "attention/operands.cuh"
#include "attention/sink.cuh"
#include "tile/matrix.cuh"

// Shared by the kernels of the backward pass. They recompute the weights (Dao, FlashAttention-2, 2023):
//
//     P = exp(scale Q Kᵀ − log Σ)      dV = Pᵀ dO      dS = P ∘ (dO Vᵀ − δ)
//     dK = scale dSᵀ Q                 dQ = scale dS K         δ = Σ dO ∘ O − dlog Σ, one number per row
//
// One kernel owns keys and sums over queries, the other owns queries and sums over keys. So one warp
// accumulates each gradient in registers in a fixed order; there are no atomics, and results are the
// same in every run. The price is that S and dP are computed twice: seven products instead of five.
//
// With COSINE, q and k above are divided by their norms, and the gradient of a row x is
// (g − x̂ (x̂·g)) / |x|, with g the gradient of x̂. With TERMS, dS above is the gradient of the score with
// its terms; the products use it times the derivative of that score with respect to the similarity.
//
// Compiled with the macros of operands.cuh, and
//   WIDE    0 or 1: gradients are written as float32, not as ELEMENT

#if WIDE
using Gradient = float;
#else
using Gradient = Number;
#endif

#include "attention/backward.h"

struct AttentionBackwardParameters : AttentionBackwardParametersFields {
  // Whether any of a head's queries, numbered within the sequence, has a large sum: the thread checks every
  // `step`-th group of 32, from group `first` on.
  __device__ bool sees_large(const Segment &segment, int head, Range queries, int first, int step) const {
    const int groups = CEIL_DIVIDE(operands.query_length, warp_threads);
    const int *own = large + ((i64)segment.batch * operands.heads + head) * groups;
    bool any = false;
#pragma unroll 1
    for (int group = (segment.query_start + queries.first) / warp_threads + first;
         group * warp_threads < segment.query_start + queries.end; group += step) {
      any |= own[group] != 0;
    }
    return any;
  }

  // The same for all groups. Called by a whole warp.
  __device__ bool has_large(const Segment &segment, int head, Range queries) const {
    return __any_sync(~0u, sees_large(segment, head, queries, threadIdx.x % warp_threads, warp_threads));
  }

  // Keeps what a query's owner has found. Threads that share the row write the same.
  __device__ void keep_shift(i64 place, const RowShift &row) const {
    shift[place] = row.shift;
    offset[place] = row.offset;
    sink.keep_gradient(place, row.sink_share, delta[place]);
  }
};

using BackwardParameters = AttentionBackwardParameters;

// Starts copying the streamed tiles of kernels that own keys: the queries of a head from `first` on, the
// gradients of their outputs, and for each query the shift, δ, the offset and, with COSINE, the inverse norm.
template <typename Queries, typename Outputs, int Threads>
DEVICE void copy_query_step(const BackwardParameters &p, u32 queries, u32 outputs, u32 numbers,
                            int first, int head) {
  const Operands &o = p.operands;
  o.copy_queries<Queries, Threads>(queries, o.queries, first, head);
  o.copy_queries<Outputs, Threads>(outputs, p.output_gradient, first, head);
  const int thread = read_thread_index();
  if (thread >= Queries::rows) return;
  const bool exists = first + thread < o.query_count();
  const int query = o.query_start() + first + (exists ? thread : 0);
  const i64 place = o.query_place(o.batch_entry(), head, query);
  const u32 target = numbers + thread * 4;
  copy_number(target, p.shift + place, exists);
  copy_number(target + Queries::rows * 4, p.delta + place, exists);
  copy_number(target + 2 * Queries::rows * 4, p.offset + place, exists);
  if (COSINE) {
    copy_number(target + 3 * Queries::rows * 4, o.query_length_at(o.batch_entry(), query, head),
                exists);
  }
}

// The sum over columns of a row's gradient times the row itself, which lies in a tile, or in memory.
template <typename T, int Columns>
DEVICE float dot_with_row(const float (&gradient)[Columns][4], int half, const u8 *tile, int row) {
  float sum = 0;
#pragma unroll
  for (int column = 0; column < Columns; ++column) {
    const float2 two = Element::pair(tile + T::pair_place(row, column, threadIdx.x));
    sum += gradient[column][2 * half] * two.x;
    sum += gradient[column][2 * half + 1] * two.y;
  }
  return row_sum(sum);
}
template <int Columns>
DEVICE float dot_with_row(const float (&gradient)[Columns][4], int half, const Number *row) {
  float sum = 0;
#pragma unroll
  for (int column = 0; column < Columns; ++column) {
    const float2 two = Element::pair(row + fragment_column(column, 0));
    sum += gradient[column][2 * half] * two.x + gradient[column][2 * half + 1] * two.y;
  }
  return row_sum(sum);
}

DEVICE void store_pair(Gradient *place, float first, float second) {
#if WIDE
  *(float2 *)place = {first, second};
#else
  Element::store(place, first, second);
#endif
}

// Writes a row of a gradient: factor gradient, or factor (gradient − share row), with the row in memory or in a
// tile.
template <int Columns>
DEVICE void store_row(Gradient *target, const float (&gradient)[Columns][4], int half, float factor) {
#pragma unroll
  for (int column = 0; column < Columns; ++column) {
    const float *two = gradient[column] + 2 * half;
    store_pair(target + fragment_column(column, 0), factor * two[0], factor * two[1]);
  }
}
template <int Columns>
DEVICE void store_row(Gradient *target, const float (&gradient)[Columns][4], int half, float factor, float share,
                      const Number *row) {
  if (share == 0) return store_row(target, gradient, half, factor);
#pragma unroll
  for (int column = 0; column < Columns; ++column) {
    const float *own = gradient[column] + 2 * half;
    const float2 two = Element::pair(row + fragment_column(column, 0));
    store_pair(target + fragment_column(column, 0), factor * fmaf(-share, two.x, own[0]),
               factor * fmaf(-share, two.y, own[1]));
  }
}
template <typename T, int Columns>
DEVICE void store_row(Gradient *target, const float (&gradient)[Columns][4], int half, float factor,
                      float share, const u8 *tile, int row) {
#pragma unroll
  for (int column = 0; column < Columns; ++column) {
    float first = gradient[column][2 * half];
    float second = gradient[column][2 * half + 1];
    if (share != 0) {
      const float2 two = Element::pair(tile + T::pair_place(row, column, threadIdx.x));
      first -= share * two.x;
      second -= share * two.y;
    }
    store_pair(target + fragment_column(column, 0), factor * first, factor * second);
  }
}

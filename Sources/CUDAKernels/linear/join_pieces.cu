// The states before the pieces of split sequences: S ← M S + B from piece to piece, with M and B from
// linear/hopper_forward.cu compiled without outputs.
//
// One block per 16 columns of the values of one sequence and head. Compiled with
//   KEYS     the key dimension, 64 or 128
//   UPDATE   0: M is a scalar, or one scalar per row; 1: M is a matrix
//   CHANNELS whether M is one scalar per row

#include "linear/tokens.cuh"
#include "linear/hopper.h"

constexpr int columns = linear_join_columns;
constexpr int block_threads = linear_join_threads;
constexpr int row_step = block_threads / columns;
constexpr int thread_rows = KEYS / row_step;
constexpr int map_chunks = KEYS * KEYS / 4;
constexpr int pieces_ahead = UPDATE == 0 ? 4 : 2;

extern "C" __global__ void __launch_bounds__(block_threads)
    linear_join_pieces(const __grid_constant__ LinearJoinParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  float *state = (float *)shared;              // [k, 16]
  float *maps = state + KEYS * columns;        // two of [k, k]
  const int slices = p.value_dimension / columns;
  const int slice = blockIdx.x % slices;
  const int head = blockIdx.x / slices % p.value_heads;
  const int number = blockIdx.x / slices / p.value_heads;
  const int column = threadIdx.x % columns, first_row = threadIdx.x / columns;
  // The index of this thread's element of a row in an array of states.
  auto place = [&](int index, int i) {
    const i64 rows = ((i64)index * p.value_heads + head) * KEYS + first_row + i * row_step;
    return rows * p.value_dimension + slice * columns + column;
  };
  const int first = p.first_pieces[number], end = p.first_pieces[number + 1];
  auto load_map = [&](int piece) {
    if (UPDATE == 0 || piece >= end) return close_copies();
    const float *source = p.maps + ((i64)piece * p.value_heads + head) * KEYS * KEYS;
    float *target = maps + (piece - first) % 2 * KEYS * KEYS;
    for (int index = threadIdx.x; index < map_chunks; index += block_threads) {
      copy_chunk(shared_address(target + index * 4), source + index * 4, true);
    }
    close_copies();
  };

  float own[thread_rows];
#pragma unroll
  for (int i = 0; i < thread_rows; ++i) own[i] = p.initial_state ? p.initial_state[place(number, i)] : 0;
  auto pass = [&](int piece, const float (&effect)[thread_rows]) {
#pragma unroll
    for (int i = 0; i < thread_rows; ++i) p.states[place(piece, i)] = own[i];
#if UPDATE == 0
    const float *factors = p.maps + ((i64)piece * p.value_heads + head) * (CHANNELS ? KEYS : 1);
#pragma unroll
    for (int i = 0; i < thread_rows; ++i) {
      own[i] = fmaf(factors[CHANNELS ? first_row + i * row_step : 0], own[i], effect[i]);
    }
#else
#pragma unroll
    for (int i = 0; i < thread_rows; ++i) state[(first_row + i * row_step) * columns + column] = own[i];
    load_map(piece + 1);
    wait_for_copies<1>();
    __syncthreads();
    const float *map = maps + (piece - first) % 2 * KEYS * KEYS;
#pragma unroll
    for (int i = 0; i < thread_rows; ++i) own[i] = effect[i];
#pragma unroll 2
    for (int d = 0; d < KEYS; d += 4) {
      float numbers[4];
#pragma unroll
      for (int n = 0; n < 4; ++n) numbers[n] = state[(d + n) * columns + column];
#pragma unroll
      for (int i = 0; i < thread_rows; ++i) {
        const float4 row = *(const float4 *)(map + (first_row + i * row_step) * KEYS + d);
        own[i] = fmaf(row.x, numbers[0], own[i]);
        own[i] = fmaf(row.y, numbers[1], own[i]);
        own[i] = fmaf(row.z, numbers[2], own[i]);
        own[i] = fmaf(row.w, numbers[3], own[i]);
      }
    }
    __syncthreads();
#endif
  };
  load_map(first);
  // B of the next pieces is loaded ahead.
  float left[pieces_ahead][thread_rows] = {};
  auto load_left = [&](float (&target)[thread_rows], int piece) {
#pragma unroll
    for (int i = 0; i < thread_rows; ++i) {
      if (piece < end) target[i] = __ldg(p.effects + place(piece, i));
    }
  };
#pragma unroll
  for (int n = 0; n < pieces_ahead; ++n) load_left(left[n], first + n);
  for (int start = first; start < end; start += pieces_ahead) {
#pragma unroll
    for (int n = 0; n < pieces_ahead; ++n) {
      if (start + n < end) pass(start + n, left[n]);
      load_left(left[n], start + n + pieces_ahead);
    }
  }
#pragma unroll
  for (int i = 0; i < thread_rows; ++i) {
    if (p.final_state) p.final_state[place(number, i)] = own[i];
  }
}

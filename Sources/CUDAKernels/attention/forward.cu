// Exact attention, forward: O = softmax(scale Q Kᵀ, masked) V and the rows' log-sum-exp.
//
// One block computes `query_rows` queries of one head: the queries stay in shared memory, keys and
// values go by in tiles of `key_rows`, the next tile arriving while this one is multiplied. Each warp
// owns whole rows, so that the softmax needs no other warp.
//
// Compiled with
//   ELEMENT                          bf16 or f16
//   KEY_DIMENSION, VALUE_DIMENSION   multiples of 16
//   QUERY_ROWS, KEY_ROWS, WARPS      the tile: QUERY_ROWS / WARPS is a multiple of 16
//   BLOCKS                           blocks that share a multiprocessor
//   KEY_MASK                         0 or 1: some keys may not be attended
//   COSINE                           0 or 1: queries and keys are divided by their lengths
//   CONSTANT_BOUND                   0 or 1: the scores are bounded closely
//   TERMS                            0 or 1: something is done to scores before the mask

#include "attention/rows.cuh"
#include "attention/softmax.cuh"
#include "attention/terms.cuh"
#include "tile/matrix.cuh"

using Element = ELEMENT;

constexpr int threads = WARPS * warp_threads;
constexpr int strips = QUERY_ROWS / WARPS / 16;
constexpr int key_steps = KEY_DIMENSION / 16;
constexpr int score_columns = KEY_ROWS / 8;
constexpr int value_columns = VALUE_DIMENSION / 8;

using QueryTile = Tile<QUERY_ROWS, KEY_DIMENSION>;
using KeyTile = Tile<KEY_ROWS, KEY_DIMENSION>;
using ValueTile = Tile<KEY_ROWS, VALUE_DIMENSION>;
using OutputTile = Tile<QUERY_ROWS, VALUE_DIMENSION>;

constexpr int query_bytes =
    QueryTile::bytes > OutputTile::bytes ? QueryTile::bytes : OutputTile::bytes;
constexpr int stages = 2;

#if CONSTANT_BOUND
using Softmax = ConstantBound<strips>;
#else
using Softmax = RunningBound<strips>;
#endif

struct Parameters {
  Rows<u16> queries;
  Rows<u16> keys;
  Rows<u16> values;
  Rows<u16> output;
  float *log_sum_exp;            // [batch, heads, queries]
  const Segment *segments;
  const float *scale;            // [heads]
  const u8 *key_mask;            // [batch, keys]
  const float *query_lengths;    // [batch, queries, heads]: their reciprocals
  const float *key_lengths;      // [batch, keys, groups]: their reciprocals
  const float *bounds;           // [heads], of the scores
  const float *sinks;            // [heads], or null
  Terms terms;
  int query_length;
  int key_length;
  int heads_per_group;
  int unused;                    // to a multiple of eight bytes
};

extern "C" __global__ void __launch_bounds__(threads, BLOCKS)
    attention_forward(const __grid_constant__ Parameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  const Segment segment = p.segments[blockIdx.z];
  // Later queries of a causal sequence see more keys: the longest work starts first.
  const int first_row = (gridDim.x - 1 - blockIdx.x) * QUERY_ROWS;
  const int row_count = min(QUERY_ROWS, segment.query_count - first_row);
  if (row_count <= 0) return;
  const int head = blockIdx.y;
  const int group = head / p.heads_per_group;
  const Range block_rows = {first_row, first_row + row_count};
  const Range tiles = segment.band.visible_tiles(block_rows, KEY_ROWS);
  const Range whole = segment.band.whole_tiles(block_rows, KEY_ROWS);

  const u32 query_tile = shared_address(shared);
  const u32 key_tiles = query_tile + query_bytes;
  const u32 value_tiles = key_tiles + stages * KeyTile::bytes;
  const u32 key_length_tiles = value_tiles + stages * ValueTile::bytes;

  auto copy_keys = [&](int tile) {
    const Segment &s = p.segments[blockIdx.z];
    const int batch = read_again(s.batch);
    const int key_start = read_again(s.key_start);
    const int key_count = read_again(s.band.keys);
    const int first = tile * KEY_ROWS;
    copy_tile<KeyTile, threads>(key_tiles + tile % stages * KeyTile::bytes,
                                p.keys.at(batch, key_start + first, group), p.keys.row,
                                key_count - first);
#if COSINE
    // One number a key, behind the tiles.
    const int thread = read_thread_index();
    if (thread < KEY_ROWS) {
      const bool exists = first + thread < key_count;
      const int groups = gridDim.y / p.heads_per_group;
      const i64 place =
          ((i64)batch * p.key_length + key_start + (exists ? first + thread : 0)) * groups + group;
      copy_number(key_length_tiles + (tile % stages * KEY_ROWS + thread) * 4,
                  p.key_lengths + place, exists);
    }
#endif
  };
  auto copy_values = [&](int tile) {
    const Segment &s = p.segments[blockIdx.z];
    const int batch = read_again(s.batch);
    const int key_start = read_again(s.key_start);
    const int key_count = read_again(s.band.keys);
    const int first = tile * KEY_ROWS;
    copy_tile<ValueTile, threads>(value_tiles + tile % stages * ValueTile::bytes,
                                  p.values.at(batch, key_start + first, group),
                                  p.values.row, key_count - first);
  };

  const int lane = threadIdx.x % warp_threads;
  const int warp_row = threadIdx.x / warp_threads * strips * 16;
  const float scale = p.scale[head];
#if TERMS
  const HeadTerms terms(p.terms, segment, head, gridDim.y, p.query_length);
#endif
  PerRow<strips> factor;
#pragma unroll
  for (int strip = 0; strip < strips; ++strip) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float size = fabsf(scale);
#if COSINE
      const int row = min(first_row + warp_row + strip * 16 + half * 8 + lane / 4, block_rows.end - 1);
      size *= p.query_lengths[((i64)segment.batch * p.query_length + segment.query_start + row) *
                                  gridDim.y + head];
#endif
      factor[strip][half] = fmaxf(size * log2_e, smallest_factor);
    }
  }

  const auto query_operands = left_operands<QueryTile>(query_tile, warp_row);

  using Scores = float[strips][score_columns][4];
  float output[strips][value_columns][4] = {};
#if CONSTANT_BOUND
  Softmax softmax(p.bounds[head] * log2_e);
#else
  Softmax softmax(0);
#endif

  // S = Q Kᵀ
  auto multiply_keys = [&](int tile, Scores &score) {
    const auto key_operands =
        right_operands<KeyTile>(key_tiles + tile % stages * KeyTile::bytes);
#pragma unroll
    for (int i = 0; i < strips * score_columns * 4; ++i) (&score[0][0][0])[i] = 0;
#pragma unroll
    for (int step = 0; step < key_steps; ++step) {
      u32 a[strips][4];
#pragma unroll
      for (int strip = 0; strip < strips; ++strip) {
        load_matrices(a[strip], query_operands.at(strip * 16, step));
      }
#pragma unroll
      for (int pair = 0; pair < score_columns / 2; ++pair) {
        u32 b[4];
        load_matrices(b, key_operands.at(pair * 16, step));
#pragma unroll
        for (int strip = 0; strip < strips; ++strip) {
          Element::multiply_add(score[strip][2 * pair], a[strip], b[0], b[1]);
          Element::multiply_add(score[strip][2 * pair + 1], a[strip], b[2], b[3]);
        }
      }
    }
  };

#if COSINE
  // Scores of keys of length 1.
  auto divide_by_lengths = [&](int tile, Scores &score) {
    const float2 *lengths =
        (const float2 *)(shared + (key_length_tiles - query_tile)) + tile % stages * (KEY_ROWS / 2);
#pragma unroll
    for (int column = 0; column < score_columns; ++column) {
      const float2 two = lengths[column * 4 + lane % 4];
#pragma unroll
      for (int strip = 0; strip < strips; ++strip) {
#pragma unroll
        for (int i = 0; i < 4; ++i) score[strip][column][i] *= i % 2 ? two.y : two.x;
      }
    }
  };
#endif

  // The terms, and the mask where the tile is not wholly seen.
  auto mask = [&](int tile, Scores &score) {
    if (!KEY_MASK && !TERMS && tile >= whole.first && tile < whole.end) return;
    const int first_column = tile * KEY_ROWS;
    const Band band = read_again(p.segments[blockIdx.z].band);
#pragma unroll
    for (int column = 0; column < score_columns; ++column) {
#pragma unroll
      for (int odd = 0; odd < 2; ++odd) {
        const int key = first_column + column * 8 + lane % 4 * 2 + odd;
        bool kept = true;
        if (KEY_MASK && key < band.keys) {
          kept = p.key_mask[(i64)segment.batch * p.key_length + segment.key_start + key] != 0;
        }
#pragma unroll
        for (int strip = 0; strip < strips; ++strip) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const int row = first_row + warp_row + strip * 16 + half * 8 + lane / 4;
            float &value = score[strip][column][2 * half + odd];
#if TERMS
            // Terms are added to true scores: the factor is undone after them.
            if (row < block_rows.end && key < band.keys) {
              const float size = factor[strip][half] / log2_e;
              value = terms.apply(value * size, row, key) / size;
            }
#endif
            if (!kept || !band.sees(row, key)) value = -infinity;
          }
        }
      }
    }
  };

  // O += P V
  auto multiply_values = [&](int tile, Scores &weight) {
    const auto value_operands =
        right_operands_transposed<ValueTile>(value_tiles + tile % stages * ValueTile::bytes);
#pragma unroll
    for (int step = 0; step < KEY_ROWS / 16; ++step) {
      weigh(softmax, weight, step, factor);
      u32 a[strips][4];
#pragma unroll
      for (int strip = 0; strip < strips; ++strip) {
        as_left<Element>(a[strip], weight[strip][2 * step], weight[strip][2 * step + 1]);
      }
#pragma unroll
      for (int pair = 0; pair < value_columns / 2; ++pair) {
        u32 b[4];
        load_matrices_transposed(b, value_operands.at(step * 16, pair));
#pragma unroll
        for (int strip = 0; strip < strips; ++strip) {
          Element::multiply_add(output[strip][2 * pair], a[strip], b[0], b[1]);
          Element::multiply_add(output[strip][2 * pair + 1], a[strip], b[2], b[3]);
        }
      }
    }
  };

  // 1. Queries and the first tile of keys and values start to arrive.
  copy_tile<QueryTile, threads>(
      query_tile,
      p.queries.at(segment.batch, segment.query_start + first_row, head), p.queries.row,
      row_count);
  // A negative scale turns the order of the scores around: the queries' signs are turned instead.
  if (scale < 0) {
    close_copies();
    wait_for_copies<0>();
    __syncthreads();
    for (int place = threadIdx.x * 4; place < QueryTile::bytes; place += threads * 4) {
      *(u32 *)(shared + place) ^= 0x80008000u;
    }
    __syncthreads();
  }
  if (tiles.first < tiles.end) {
    copy_keys(tiles.first);
    copy_values(tiles.first);
  }
  close_copies();
  for (int tile = tiles.first; tile < tiles.end; ++tile) {
    // 2. This tile is there, and nobody reads the one before any more: its place takes the next.
    wait_for_copies<0>();
    __syncthreads();
    if (tile + 1 < tiles.end) {
      copy_keys(tile + 1);
      copy_values(tile + 1);
    }
    close_copies();
    Scores score;
    multiply_keys(tile, score);
#if COSINE
    divide_by_lengths(tile, score);
#endif
    mask(tile, score);
    softmax.raise(score, output, factor);
    multiply_values(tile, score);
  }

  // 7. O / Σ P goes out through the queries' shared memory, in whole chunks.
  wait_for_copies<0>();
  __syncthreads();
#pragma unroll
  for (int strip = 0; strip < strips; ++strip) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float sum = row_sum(softmax.sum[strip][half]);
      float bound = softmax.bound(strip, half, factor);
      float shrink = 1;
      if (p.sinks) {
        // One more score in the sum, without a value.
        const float sink = p.sinks[head] * log2_e;
        const float raised = fmaxf(sum > 0 ? bound : -infinity, sink);
        shrink = sum > 0 ? exp2_fast(bound - raised) : 0;
        sum = sum * shrink + (sink == -infinity ? 0 : exp2_fast(sink - raised));
        bound = raised;
      }
      const float reciprocal = sum > 0 ? shrink / sum : 0;
      const int row = warp_row + strip * 16 + half * 8 + lane / 4;
#pragma unroll
      for (int column = 0; column < value_columns; ++column) {
        u32 two = Element::pack(output[strip][column][2 * half] * reciprocal,
                                output[strip][column][2 * half + 1] * reciprocal);
        *(u32 *)(shared + OutputTile::place(row, column) + lane % 4 * 4) = two;
      }
      if (lane % 4 == 0 && row < row_count) {
        const i64 place = number_place(segment.batch, gridDim.y, head, p.query_length,
                                       segment.query_start + first_row + row);
        p.log_sum_exp[place] =
            sum > 0 ? ln_2 * (bound + log2f(sum)) : -infinity;
      }
    }
  }
  __syncthreads();
  u16 *target = p.output.at(segment.batch, segment.query_start + first_row, head);
  for (int index = threadIdx.x; index < row_count * OutputTile::chunks; index += threads) {
    int row = index / OutputTile::chunks;
    int chunk = index % OutputTile::chunks;
    *(uint4 *)(target + row * p.output.row + chunk * chunk_elements) =
        *(const uint4 *)(shared + OutputTile::place(row, chunk));
  }
}

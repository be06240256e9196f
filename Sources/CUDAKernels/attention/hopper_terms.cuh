#pragma once

#include "attention/maps.h"
#include "attention/operands.cuh"
#include "tile/fragment.cuh"
#include "tile/shared_memory.h"
#include "tile/tma.cuh"

// The terms of scores and the key mask for Hopper's kernels, whose inner loops apply to a whole fragment what
// HeadTerms (terms.cuh) applies to one pair: the same operations in the same order.
//
// Compiled with what operands.cuh lists, and 0 or 1 for each term
//   SOFTCAP, ALIBI, BIASED, DECAY

// tanh(x) of |x| ≤ 1, to 2^-20 of its value: multiplications only, which take no longer than the products that
// run meanwhile.
DEVICE float small_tanh(float x) {
  const float square = x * x;
  float sum = -0.00306705735f;
  sum = fmaf(sum, square, 0.0167431068f);
  sum = fmaf(sum, square, -0.0516056679f);
  sum = fmaf(sum, square, 0.132814333f);
  sum = fmaf(sum, square, -0.333290428f);
  return x * fmaf(sum, square, 0.999999404f);
}

// The same for all x: beyond 1 it is 1 − 2 / (e^2x + 1).
DEVICE float any_tanh(float x) {
  return fabsf(x) > 1 ? fmaf(reciprocal_fast(exp2_fast(x * (2 * log2_e)) + 1), -2, 1) : small_tanh(x);
}

// Places of a fragment's columns, counted from the first of those that the thread holds.
struct ColumnPlaces {};
DEVICE float2 numbers_of(const ColumnPlaces &, int column) { return {8.0f * column, 8.0f * column + 1}; }

// A tile of the bias in shared memory, whose rows are queries: blocks of 128 bytes of a row, swizzled.
template <int Queries, int Keys>
struct BiasTile {
  static constexpr int bytes = BIASED ? attention_bias_bytes(Queries, Keys, sizeof(BiasNumber)) : 0;

  // Along an axis that it is broadcast over there is one entry; but rows are repeated.
  DEVICE void copy(u32 tile, const TensorMap &map, u32 barrier, const Terms &t, int batch, int head, int query,
                   int key) {
    constexpr int map_bytes = 2, box_columns = bank_bytes / map_bytes;
#pragma unroll
    for (int block = 0; block < bytes / (Queries * bank_bytes); ++block) {
      copy_box(tile + block * Queries * bank_bytes, map, barrier,
               key * (int)sizeof(BiasNumber) / map_bytes + block * box_columns, t.bias_head != 0 ? head : 0, query,
               t.bias_batch != 0 ? batch : 0);
    }
  }

  DEVICE float at(const u8 *tile, int query, int key) {
    const int byte = key * sizeof(BiasNumber);
    return BiasElement::widen(
        *(const BiasNumber *)(tile + byte / bank_bytes * Queries * bank_bytes + query * bank_bytes +
                              (byte / chunk_bytes % 8 ^ query % 8) * chunk_bytes + byte % chunk_bytes));
  }
};

// What terms read for the columns of a tile: decay sums, and the bias.
struct ColumnTerms {
  Either<DECAY, const float2 *, Ones> large;
  Either<DECAY, const float2 *, Ones> rest;
  const u8 *bias;
};

constexpr bool in_float32 = sizeof(Number) == float_bytes;

// The terms of one head for the pairs of a fragment, whose rows are queries or, with `RowsAreKeys`, keys. `Bias`
// is the type of the bias's tiles; the fragment's rows are those of the block from `first_row` on.
template <bool RowsAreKeys, typename Bias>
struct FragmentTerms {
  float softcap;
  float slope;
  int place;
  int first_row;
  const DecaySum *sums;
  // Of the thread's two rows.
  int row[2];
  float large[2];
  float rest[2];

  // `row_of(half)` is a row's index within the sequence.
  template <typename Row>
  __device__ FragmentTerms(const Operands &o, const Segment &s, int head, int first_row, const Row &row_of)
      : first_row(first_row) {
    const Terms &t = o.terms;
    softcap = SOFTCAP ? t.softcap : 0;
    slope = ALIBI ? t.slopes[head] : 0;
    place = s.place;
    sums = decay_sums_of(t, s, head, o.heads, o.query_length);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      row[half] = row_of(half);
      large[half] = DECAY ? sums[row[half]].large : 0;
      rest[half] = DECAY ? sums[row[half]].rest : 0;
    }
  }

  // The score of each pair, for similarities `score` of columns from `first` on.
  template <int Columns>
  __device__ void apply(float (&score)[Columns][4], int first, const ColumnTerms &columns) const {
    apply(score, first, columns, [](int, int, float) {});
  }

  // The same; with SOFTCAP, `change(column, i, derivative)` is told by what a pair's score changes with its
  // similarity.
  template <int Columns, typename Change>
  __device__ void apply(float (&score)[Columns][4], int first, const ColumnTerms &columns,
                        const Change &change) const {
    if (SOFTCAP) cap(score, change);
    if (ALIBI) add_distances(score, first);
    if (BIASED) add_bias(score, columns.bias);
    if (!DECAY) return;
    transform(score, [&](float s, int half, float column_large, float column_rest) {
      const float sum = (large[half] - column_large) + (rest[half] - column_rest);
      return RowsAreKeys ? s - sum : s + sum;
    }, columns.large, columns.rest);
  }
  // Whether a decay of −∞ masks any of these pairs, unless there are none.
  __device__ bool is_cut(Range queries, Range keys) const {
    if (!DECAY || queries.first >= queries.end || keys.first >= keys.end) return false;
    const int own = __ldg(&sums[queries.first].cuts);
    return own != __ldg(&sums[queries.end - 1].cuts) || own != __ldg(&sums[keys.first].cuts) ||
           own != __ldg(&sums[keys.end - 1].cuts);
  }

  // Hides the pairs that it masks.
  template <int Columns>
  __device__ void hide_cut(float (&score)[Columns][4], float hidden, int first, int end) const {
    if (!DECAY) return;
    const int cuts[2] = {__ldg(&sums[row[0]].cuts), __ldg(&sums[row[1]].cuts)};
    hide(score, hidden, [&](int row, int column) {
      return cuts[row / 8] == __ldg(&sums[min(first + column, end - 1)].cuts);
    });
  }


 private:
  template <int Columns>
  __device__ void add_distances(float (&score)[Columns][4], int first) const {
    // Where a row stands, counted from the first column.
    float row_place[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      row_place[half] = (float)(row[half] + (RowsAreKeys ? -place : place) - first - fragment_column(0, 0));
    }
    transform(score, [&](float s, int half, float column) {
      return fmaf(-slope, fabsf(row_place[half] - column), s);
    }, ColumnPlaces());
  }

  template <int Columns>
  __device__ void add_bias(float (&score)[Columns][4], const u8 *tile) const {
    auto bias_of = [&](int column, int i) {
      const int own = first_row + fragment_row(i / 2), other = fragment_column(column, i % 2);
      return RowsAreKeys ? Bias::at(tile, other, own) : Bias::at(tile, own, other);
    };
    float zeros = 0;
#pragma unroll
    for (int column = 0; column < Columns; ++column) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        score[column][i] += bias_of(column, i);
        zeros = fmaf(score[column][i], 0, zeros);
      }
    }
    if (!__any_sync(~0u, zeros != 0)) return;
    // Sums that are not finite. One that overflows becomes the largest finite number: only a bias of −∞ masks a
    // pair, even one whose score is NaN.
#pragma unroll
    for (int column = 0; column < Columns; ++column) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float &sum = score[column][i];
        if (fabsf(sum) < infinity) continue;
        const float bias = bias_of(column, i);
        if (bias == -infinity) {
          sum = -infinity;
        } else if (fabsf(sum) == infinity && fabsf(bias) < infinity) {
          sum = copysignf(largest_number, sum);
        }
      }
    }
  }

  // c tanh(score / c). Most tiles have scores below c only, so that a warp does without exponentials.
  template <int Columns, typename Change>
  __device__ void cap(float (&score)[Columns][4], const Change &change) const {
    const float reciprocal = 1 / softcap;
    bool is_small = !in_float32;
    if (!in_float32) {
      float largest = 0;
      transform(score, [&](float s, int) {
        const float share = s * reciprocal;
        largest = fmaxf(largest, fabsf(share));
        return share;
      });
      is_small = __all_sync(~0u, largest <= 1);
    }
    auto replace = [&](const auto &tanh) {
#pragma unroll
      for (int column = 0; column < Columns; ++column) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float share = tanh(score[column][i]);
          change(column, i, fmaf(-share, share, 1));
          score[column][i] = softcap * share;
        }
      }
    };
    if (in_float32) {
      replace([&](float s) { return tanhf(s / softcap); });
    } else if (is_small) {
      replace(small_tanh);
    } else {
      replace(any_tanh);
    }
  }
};

// The key mask.

DEVICE u32 kept_bits(const AttentionKeyWords &mask, const Segment &s, int key) {
  const int place = s.key_start + key;
  const u32 *word = mask.words + (i64)s.batch * mask.pitch + place / 32;
  return __funnelshift_r(__ldg(word), __ldg(word + 1), place % 32);
}

DEVICE bool is_kept(const AttentionKeyWords &mask, const Segment &s, int key) {
  return !KEY_MASK || kept_bits(mask, s, key) & 1;
}

// A bit for each of a tile's keys.
template <int Keys>
struct KeptKeys {
  static constexpr int count = CEIL_DIVIDE(Keys, 32);
  u32 words[count];

  __device__ KeptKeys(const AttentionKeyWords &mask, const Segment &s, int first) {
#pragma unroll
    for (int i = 0; i < count; ++i) words[i] = KEY_MASK ? kept_bits(mask, s, first + 32 * i) : ~0u;
  }

  __device__ bool are_all() const {
    u32 all = ~0u;
#pragma unroll
    for (int i = 0; i < count; ++i) all &= words[i];
    return all == ~0u;
  }

  // Whether none of the first `keys` is kept.
  __device__ bool are_none(int keys) const {
    u32 any = 0;
#pragma unroll
    for (int i = 0; i < count; ++i) {
      const int rest = keys - 32 * i;
      any |= rest <= 0 ? 0 : rest >= 32 ? words[i] : words[i] & (1u << rest) - 1;
    }
    return any == 0;
  }

  // Hides the columns of keys that are not kept.
  template <int Columns>
  __device__ void hide_others(float (&score)[Columns][4], float hidden) const {
#pragma unroll
    for (int column = 0; column < Columns; ++column) {
      const u32 own = words[column / 4] >> fragment_column(0, 0);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (!(own >> (column % 4 * 8 + i % 2) & 1)) score[column][i] = hidden;
      }
    }
  }
};

// Whether a streamed tile holds rows that must be cleared: rows from `first` on of a sequence that ends at `end`,
// or that are not kept.
template <int Rows>
DEVICE bool holds_hidden_rows(const AttentionKeyWords &mask, const Segment &s, int first, int end) {
  return PACKED && end - first < Rows || KEY_MASK && !KeptKeys<Rows>(mask, s, first).are_all();
}

// The part of a range of tiles of `size` keys outside of which no key of the batch entry is kept.
DEVICE Range kept_tiles(const AttentionKeyWords &mask, const Segment &s, Range tiles, int size) {
  if (!KEY_MASK || PACKED) return tiles;
  const int *kept = mask.kept + 2 * s.batch;
  const int first = max(tiles.first, __ldg(kept) / size), end = min(tiles.end, CEIL_DIVIDE(__ldg(kept + 1), size));
  return {first, max(first, end)};
}

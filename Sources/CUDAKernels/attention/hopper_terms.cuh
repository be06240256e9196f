#pragma once

#include "attention/maps.h"
#include "attention/operands.cuh"
#include "tile/fragment.cuh"
#include "tile/shared_memory.h"
#include "tile/tma.cuh"

// The terms of scores and the key mask for Hopper's kernels, whose inner loops apply to a whole fragment what
// HeadTerms (terms.cuh) applies to one pair, in the same order.
//
// Compiled with what operands.cuh lists, and 0 or 1 for each term
//   SOFTCAP, ALIBI, BIASED, DECAY

// float32 is multiplied in planes: see hopper.cuh.
constexpr bool in_planes = sizeof(Number) == float_bytes;

// tanh(x) of |x| ≤ 1, to 2^-17 of its value: multiplications only, which take no longer than the products that
// run meanwhile.
DEVICE float small_tanh(float x) {
  const float square = x * x;
  float sum = 0.00903641526f;
  sum = fmaf(sum, square, -0.0448175371f);
  sum = fmaf(sum, square, 0.130368099f);
  sum = fmaf(sum, square, -0.332980663f);
  return x * fmaf(sum, square, 0.999993086f);
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

  DEVICE u32 place(int query, int key) {
    const int byte = key * sizeof(BiasNumber);
    return byte / bank_bytes * Queries * bank_bytes + query * bank_bytes +
           (byte / chunk_bytes % 8 ^ query % 8) * chunk_bytes + byte % chunk_bytes;
  }

  DEVICE float at(const u8 *tile, int query, int key) {
    return BiasElement::widen(*(const BiasNumber *)(tile + place(query, key)));
  }

  // The numbers of a query and two adjacent keys, the first of an even index.
  DEVICE float2 pair(const u8 *tile, int query, int key) {
    struct alignas(2 * sizeof(BiasNumber)) Pair {
      BiasNumber first, second;
    };
    const Pair two = *(const Pair *)(tile + place(query, key));
    return {BiasElement::widen(two.first), BiasElement::widen(two.second)};
  }
};

// What terms read for the columns of a tile: decay sums, and the bias. In half precision the sums are whole, and
// count from that of the first column.
struct ColumnTerms {
  const float2 *sum;
  const float2 *rest;
  const u8 *bias;
};
// The parts of a decay sum that are kept per column.
constexpr int decay_parts = DECAY ? in_planes ? 2 : 1 : 0;

// The sum at one token less that at another. Both may be large, so their large parts are subtracted first.
DEVICE float difference(const DecaySum &a, const DecaySum &b) { return (a.large - b.large) + (a.rest - b.rest); }
DEVICE DecaySum load_sum(const DecaySum *sum) {
  const float2 parts = __ldg((const float2 *)sum);
  return {parts.x, parts.y};
}

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
  DecaySum own[2];

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
      if (DECAY) own[half] = load_sum(sums + row[half]);
    }
  }

  // What scores are counted in: with nothing added to them, those that are capped are left as shares of the cap.
  __device__ float unit() const { return SOFTCAP && !ALIBI && !BIASED && !DECAY ? softcap : 1; }

  // The score of each pair, in units of `unit`, for products `score` of columns from `first` to `end`, which `size`
  // makes similarities of. With SOFTCAP, `change(column, i, derivative)` is told by what a pair's score changes with
  // its similarity. If `is_exact`, the scores of a pair are the same bits whichever its rows are, as large sums need
  // it (large_sums.cuh).
  template <int Columns, typename Change>
  __device__ void apply(float (&score)[Columns][4], const float (&size)[2], int first, int end, bool is_exact,
                        const ColumnTerms &columns, const Change &change) const {
    if (SOFTCAP) cap(score, size, change);
    // The first term is added in the instruction that multiplies.
    const float factor[2] = {SOFTCAP ? softcap : size[0], SOFTCAP ? softcap : size[1]}, ones[2] = {1, 1};
    if (ALIBI) add_distances(score, factor, first, is_exact);
    if (BIASED) add_bias(score, ALIBI ? ones : factor, columns.bias);
    if (DECAY) add_decays(score, ALIBI || BIASED ? ones : factor, first, end, is_exact, columns);
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
  __device__ void add_distances(float (&score)[Columns][4], const float (&factor)[2], int first,
                                bool is_exact) const {
    // Where a row stands, counted from the first column.
    float place_of_row[2];
    bool is_later = true;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int distance = row[half] + (RowsAreKeys ? -place : place) - first - fragment_column(0, 0);
      place_of_row[half] = (float)distance;
      is_later &= RowsAreKeys ? distance <= 0 : distance >= fragment_column(Columns, 0);
    }
    // On one side of the diagonal, where most tiles are, the distance is a difference.
    if (!in_planes && !is_exact && __all_sync(~0u, is_later)) {
      const float rise = RowsAreKeys ? slope : -slope, of_row[2] = {rise * place_of_row[0], rise * place_of_row[1]};
      transform(score, [&](float s, int half, float column) {
        return fmaf(s, factor[half], fmaf(-rise, column, of_row[half]));
      }, ColumnPlaces());
    } else {
      transform(score, [&](float s, int half, float column) {
        return fmaf(s, factor[half], -slope * fabsf(place_of_row[half] - column));
      }, ColumnPlaces());
    }
  }

  template <int Columns>
  __device__ void add_decays(float (&score)[Columns][4], const float (&factor)[2], int first, int end, bool is_exact,
                             const ColumnTerms &columns) const {
    const float sign = RowsAreKeys ? -1 : 1;
    if (!in_planes && is_exact) {
#pragma unroll
      for (int column = 0; column < Columns; ++column) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const DecaySum other = load_sum(sums + min(first + fragment_column(column, i % 2), end - 1));
          score[column][i] = fmaf(score[column][i], factor[i / 2], sign * difference(own[i / 2], other));
        }
      }
    } else if (in_planes) {
      transform(score, [&](float s, int half, float large, float rest) {
        return fmaf(s, factor[half], sign * ((own[half].large - large) + (own[half].rest - rest)));
      }, columns.sum, columns.rest);
    } else {
      const DecaySum origin = load_sum(sums + first);
      const float since[2] = {sign * difference(own[0], origin), sign * difference(own[1], origin)};
      transform(score, [&](float s, int half, float sum) {
        return fmaf(s, factor[half], fmaf(-sign, sum, since[half]));
      }, columns.sum);
    }
  }

  template <int Columns>
  __device__ void add_bias(float (&score)[Columns][4], const float (&factor)[2], const u8 *tile) const {
    auto bias_of = [&](int column, int i) {
      const int own = first_row + fragment_row(i / 2), other = fragment_column(column, i % 2);
      return RowsAreKeys ? Bias::at(tile, other, own) : Bias::at(tile, own, other);
    };
    float zeros = 0;
#pragma unroll
    for (int column = 0; column < Columns; ++column) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float2 bias;
        // Loads stay where their numbers are used: there are no registers for those of a whole fragment.
        asm volatile("" ::: "memory");
        if (RowsAreKeys) {
          bias = {bias_of(column, 2 * half), bias_of(column, 2 * half + 1)};
        } else {
          bias = Bias::pair(tile, first_row + fragment_row(half), fragment_column(column, 0));
        }
        float *two = score[column] + 2 * half;
        two[0] = fmaf(two[0], factor[half], bias.x);
        two[1] = fmaf(two[1], factor[half], bias.y);
        zeros = fmaf(two[0], 0, fmaf(two[1], 0, zeros));
      }
    }
    // Sums that are not finite. One that overflows becomes the largest finite number: only a bias of −∞ masks a
    // pair, even one whose score is NaN. Where keys are owned there are no registers for that; gradients that are
    // not finite are recomputed.
    if (RowsAreKeys || !__any_sync(~0u, zeros != 0)) return;
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

  // tanh(score / c). Most tiles have scores below c only, so that a warp does without exponentials.
  template <int Columns, typename Change>
  __device__ void cap(float (&score)[Columns][4], const float (&size)[2], const Change &change) const {
    // Its reciprocal is finite, so that a similarity of zero stays zero.
    const float reciprocal = 1 / fmaxf(softcap, 0x1p-120f);
    float largest = 0;
    transform(score, [&](float s, int half) {
      const float share = in_planes ? s * size[half] / softcap : s * (size[half] * reciprocal);
      largest = fmaxf(largest, fabsf(share));
      return share;
    });
    auto replace = [&](const auto &tanh) {
#pragma unroll
      for (int column = 0; column < Columns; ++column) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float share = tanh(score[column][i]);
          change(column, i, fmaf(-share, share, 1));
          score[column][i] = share;
        }
      }
    };
    if (in_planes) {
      replace([&](float share) { return tanhf(share); });
    } else if (__all_sync(~0u, largest <= 1)) {
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

// The part of a range of tiles of `size` keys outside of which no key of the batch entry is kept.
DEVICE Range kept_tiles(const AttentionKeyWords &mask, const Segment &s, Range tiles, int size) {
  if (!KEY_MASK || PACKED) return tiles;
  const int *kept = mask.kept + 2 * s.batch;
  const int first = max(tiles.first, __ldg(kept) / size), end = min(tiles.end, CEIL_DIVIDE(__ldg(kept + 1), size));
  return {first, max(first, end)};
}

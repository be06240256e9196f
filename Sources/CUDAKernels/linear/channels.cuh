#pragma once

#include "linear/hopper.cuh"
#include "linear/gates.cuh"

// Decays by channel inside a chunk of 64 rows, which are tokens or, with low-rank updates, halves of tokens.
//
// With G the inclusive sum of a channel's log-decays, e^(G_i − G_j) = e^(G_i − m) e^(m − G_j) for any m. With
// m halfway between G of the first and the last token, both factors are normal numbers as long as G spans at
// most `widest_span`; otherwise the chunk is halved until its pieces do. Pieces of two rows always do,
// because no token decays by more than `strongest_decay`. With low-rank updates tokens read before they decay, and
// the span begins with the exclusive sum of the first token.
//
// One block per chunk and head, or CHANNEL_SLICES of them: a thread has two channels of eight tokens, a part
// of the chunk.

constexpr float widest_span = 150 * log2_e;
constexpr int deepest_level = 5;
constexpr int parts = linear_channel_parts;
constexpr int part_tokens = decay_tokens / parts;
constexpr int row_pairs = KEYS / 2;
constexpr int channel_pairs = row_pairs / CHANNEL_SLICES;
constexpr int channel_threads = linear_channel_threads(KEYS / CHANNEL_SLICES);

// The shared memory of a block.
struct ChannelShares {
  float2 totals[parts][channel_pairs], squares[parts][channel_pairs];
  // Where the span of a part begins, and G of its last token.
  float2 first[parts][channel_pairs], last[parts][channel_pairs];
  int levels[channel_threads / warp_threads];
};
static_assert(sizeof(ChannelShares) == linear_channel_bytes(channel_threads));

DEVICE float2 operator+(float2 a, float2 b) { return {a.x + b.x, a.y + b.y}; }
DEVICE float2 operator-(float2 a, float2 b) { return {a.x - b.x, a.y - b.y}; }
DEVICE float2 operator*(float2 a, float2 b) { return {a.x * b.x, a.y * b.y}; }
DEVICE float2 operator*(float a, float2 b) { return {a * b.x, a * b.y}; }
DEVICE float2 raised(float2 a) { return {exp2_fast(a.x), exp2_fast(a.y)}; }
DEVICE float2 widened(u32 pair) { return {Element::widen((u16)pair), Element::widen((u16)(pair >> 16))}; }
DEVICE float2 rounded(float2 a) { return widened(Element::pack(a.x, a.y)); }

// A thread's channels and tokens.
struct OwnChannels {
  int pair = threadIdx.x % channel_pairs;
  int column = blockIdx.z * channel_pairs + pair;   // in rows of pairs
  int part = threadIdx.x / channel_pairs;
  int first_token = part * part_tokens;
};

// Loads the thread's pairs of channels of half-precision rows; zeros from token `count` of the chunk on. Rows
// are aligned to 4 bytes.
DEVICE void load_pairs(u32 (&words)[part_tokens], const Rows &rows, const Place &at, int head, int first, int count,
                       const OwnChannels &own) {
  const u32 *source = (const u32 *)rows.base +
                      rows.place(at.sequence.batch, at.sequence.first + first + own.first_token, head) / 2 + own.column;
#pragma unroll
  for (int r = 0; r < part_tokens; ++r) {
    words[r] = own.first_token + r < count ? source[r * (rows.token / 2)] : 0;
  }
}

// G of a thread's tokens and channels in base 2, or G − m.
struct ChannelSums {
  float2 sums[part_tokens];
  // Of low-rank updates, the exclusive sums.
  float2 starts[LOW_RANK ? part_tokens : 1];
  // G of the chunk's last token, and of the middle of a whole chunk.
  float2 whole, middle;

  // Loads and sums the gates of a thread's tokens. The decay's rows are aligned to two elements.
  __device__ ChannelSums(const Operands &o, const Place &at, int first, int count, ChannelShares &shares,
                         const OwnChannels &own) {
    if (o.decay.type == type_f32) {
      const float2 *source =
          (const float2 *)o.decay.base +
          o.decay.place(at.sequence.batch, at.sequence.first + first + own.first_token, at.head) / 2 + own.column;
#pragma unroll
      for (int r = 0; r < part_tokens; ++r) {
        sums[r] = own.first_token + r < count ? source[r * (o.decay.token / 2)] : float2{0, 0};
      }
    } else {
      u32 words[part_tokens];
      load_pairs(words, o.decay, at, at.head, first, count, own);
#pragma unroll
      for (int r = 0; r < part_tokens; ++r) {
        sums[r] = o.decay.type == type_bf16
                      ? float2{bf16::widen((u16)words[r]), bf16::widen((u16)(words[r] >> 16))}
                      : float2{f16::widen((u16)words[r]), f16::widen((u16)(words[r] >> 16))};
      }
    }
    float2 sum = {};
#pragma unroll
    for (int r = 0; r < part_tokens; ++r) {
      sum = sum + log2_e * float2{fmaxf(sums[r].x, strongest_decay), fmaxf(sums[r].y, strongest_decay)};
      sums[r] = sum;
    }
    shares.totals[own.part][own.pair] = sum;
    __syncthreads();
    float2 before = {};
#pragma unroll
    for (int part = 0; part < parts - 1; ++part) {
      if (part < own.part) before = before + shares.totals[part][own.pair];
    }
#pragma unroll
    for (int r = 0; r < part_tokens; ++r) sums[r] = sums[r] + before;
    if (LOW_RANK) {
#pragma unroll
      for (int r = 0; r < part_tokens; ++r) starts[r] = r == 0 ? before : sums[r - 1];
    }
    shares.first[own.part][own.pair] = span_start(0);
    shares.last[own.part][own.pair] = sums[part_tokens - 1];
    __syncthreads();
    whole = shares.last[parts - 1][own.pair];
    middle = 0.5f * (shares.first[0][own.pair] + whole);
  }

  // How often the chunk must be halved; the maximum over all threads' channels.
  __device__ int level(ChannelShares &shares, const OwnChannels &own) const {
    int level = 0;
    // Whether the thread's pieces of the level's length span little enough.
    auto fits = [&](float2 first, float2 last) {
      return first.x - last.x <= widest_span && first.y - last.y <= widest_span;
    };
    auto parts_fit = [&](int step) {
      const int first = own.part / step * step;
      return fits(shares.first[first][own.pair], shares.last[first + step - 1][own.pair]);
    };
    auto tokens_fit = [&](int step) {
      bool all = true;
#pragma unroll
      for (int r = 0; r < part_tokens; r += 2) {
        if (r % step == 0) all = all && fits(span_start(r), sums[r + step - 1]);
      }
      return all;
    };
    // Pieces of whole parts first, then pieces within a part.
    constexpr int level_of_parts = 3;
    while (level <= level_of_parts && !parts_fit(parts >> level)) ++level;
    if (level == 4 && !tokens_fit(part_tokens / 2)) level = deepest_level;
#pragma unroll
    for (int distance = warp_threads / 2; distance > 0; distance /= 2) {
      level = max(level, __shfl_xor_sync(~0u, level, distance));
    }
    if (threadIdx.x % warp_threads == 0) shares.levels[threadIdx.x / warp_threads] = level;
    __syncthreads();
#pragma unroll
    for (int warp = 0; warp < channel_threads / warp_threads; ++warp) level = max(level, shares.levels[warp]);
    return level;
  }

  // Replaces G by G − m, with the m of each piece of a level.
  __device__ void count_from_middles(int level, const ChannelShares &shares, const OwnChannels &own) {
    if (level == 4) return count_from_middles_of<part_tokens / 2>();
    if (level == deepest_level) return count_from_middles_of<part_tokens / 4>();
    const int step = parts >> level, first = own.part / step * step;
    const float2 common = 0.5f * (shares.first[first][own.pair] + shares.last[first + step - 1][own.pair]);
#pragma unroll
    for (int r = 0; r < part_tokens; ++r) count_from(common, r);
  }

 private:
  __device__ float2 span_start(int r) const { return LOW_RANK ? starts[r] : sums[r]; }
  __device__ void count_from(float2 middle, int r) {
    sums[r] = sums[r] - middle;
    if (LOW_RANK) starts[r] = starts[r] - middle;
  }
  template <int Tokens>
  __device__ void count_from_middles_of() {
#pragma unroll
    for (int first = 0; first < part_tokens; first += Tokens) {
      const float2 common = 0.5f * (span_start(first) + sums[first + Tokens - 1]);
#pragma unroll
      for (int r = 0; r < Tokens; ++r) count_from(common, first + r);
    }
  }
};

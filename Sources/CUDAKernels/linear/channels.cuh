#pragma once

#include "linear/hopper.cuh"
#include "linear/gates.cuh"

// Decays of channels inside a chunk of 64 tokens.
//
// With G the inclusive sum of the log-decay of a channel, e^(G_i − G_j) = e^(G_i − m) e^(m − G_j) for any m. With m in
// the middle between G of the first token and the last, both factors are numbers, and of some digits, as long as not
// more than `widest_span` decays between those two; a chunk of which that is not true is halved until it is. Two tokens
// are always near enough, because nothing decays more than `strongest_decay` at one token.
//
// One block for a chunk and head: a thread has two channels of 16 tokens, a quarter of the chunk.

constexpr float widest_span = 150 * log2_e;
constexpr int deepest_level = 5;
constexpr int quarters = 4;
constexpr int quarter_tokens = chunk_tokens / quarters;
constexpr int channel_pairs = KEYS / 2;
constexpr int channel_threads = quarters * channel_pairs;

// What the threads of a block share.
struct ChannelShares {
  float2 totals[quarters][channel_pairs];
  // G of the first token of a quarter, and of the last.
  float2 first[quarters][channel_pairs], last[quarters][channel_pairs];
  int levels[channel_threads / warp_threads];
};

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
  int quarter = threadIdx.x / channel_pairs;
  int first_token = quarter * quarter_tokens;
};

// The pairs of numbers of a thread's tokens, of rows in half precision; zeros from `count` tokens of the chunk on.
// The rows begin at multiples of 4 bytes.
DEVICE void load_pairs(u32 (&words)[quarter_tokens], const Rows &rows, const Place &at, int head, int first, int count,
                       const OwnChannels &own) {
#pragma unroll
  for (int r = 0; r < quarter_tokens; ++r) {
    const int token = own.first_token + r;
    const i64 place = rows.place(at.sequence.batch, at.sequence.first + first + token, head) / 2 + own.pair;
    words[r] = token < count ? ((const u32 *)rows.base)[place] : 0;
  }
}

// G of a thread's tokens and channels, in powers of two, and the middles that factors count from.
struct ChannelSums {
  float2 sums[quarter_tokens];
  float2 middles[quarter_tokens / 2];   // of its pairs of tokens
  // G of the chunk's last token, and of the middle of a whole chunk.
  float2 whole, middle;

  // Gates of a thread's tokens, summed up. The decay's rows begin at multiples of the size of two numbers.
  __device__ ChannelSums(const Operands &o, const Place &at, int first, int count, ChannelShares &shares,
                         const OwnChannels &own) {
    if (o.decay.type == type_f32) {
#pragma unroll
      for (int r = 0; r < quarter_tokens; ++r) {
        const int token = own.first_token + r;
        const i64 place = o.decay.place(at.sequence.batch, at.sequence.first + first + token, at.head) / 2 + own.pair;
        sums[r] = token < count ? ((const float2 *)o.decay.base)[place] : float2{0, 0};
      }
    } else {
      u32 words[quarter_tokens];
      load_pairs(words, o.decay, at, at.head, first, count, own);
#pragma unroll
      for (int r = 0; r < quarter_tokens; ++r) {
        sums[r] = o.decay.type == type_bf16
                      ? float2{bf16::widen((u16)words[r]), bf16::widen((u16)(words[r] >> 16))}
                      : float2{f16::widen((u16)words[r]), f16::widen((u16)(words[r] >> 16))};
      }
    }
    float2 sum = {};
#pragma unroll
    for (int r = 0; r < quarter_tokens; ++r) {
      sum = sum + log2_e * float2{fmaxf(sums[r].x, strongest_decay), fmaxf(sums[r].y, strongest_decay)};
      sums[r] = sum;
    }
    shares.totals[own.quarter][own.pair] = sum;
    __syncthreads();
    float2 before = {};
#pragma unroll
    for (int quarter = 0; quarter < quarters - 1; ++quarter) {
      if (quarter < own.quarter) before = before + shares.totals[quarter][own.pair];
    }
#pragma unroll
    for (int r = 0; r < quarter_tokens; ++r) sums[r] = sums[r] + before;
    shares.first[own.quarter][own.pair] = sums[0];
    shares.last[own.quarter][own.pair] = sums[quarter_tokens - 1];
    __syncthreads();
    whole = shares.last[quarters - 1][own.pair];
    middle = 0.5f * (shares.first[0][own.pair] + whole);
  }

  // How often the chunk is halved, of all threads' channels.
  __device__ int level(ChannelShares &shares, const OwnChannels &own) const {
    int level = 0;
    // Whether pieces of the level's length are short enough, those that the thread has tokens of.
    auto fits = [&](float2 first, float2 last) {
      return first.x - last.x <= widest_span && first.y - last.y <= widest_span;
    };
    auto quarters_fit = [&](int step) {
      const int first = own.quarter / step * step;
      return fits(shares.first[first][own.pair], shares.last[first + step - 1][own.pair]);
    };
    auto tokens_fit = [&](int step) {
      bool all = true;
#pragma unroll
      for (int r = 0; r < quarter_tokens; r += 2) {
        if (r % step == 0) all = all && fits(sums[r], sums[r + step - 1]);
      }
      return all;
    };
    if (!quarters_fit(4)) level = 1;
    if (level == 1 && !quarters_fit(2)) level = 2;
    if (level == 2 && !quarters_fit(1)) level = 3;
    if (level == 3 && !tokens_fit(8)) level = 4;
    if (level == 4 && !tokens_fit(4)) level = 5;
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

  // The middles of the pieces of a level.
  __device__ void find_middles(int level, const ChannelShares &shares, const OwnChannels &own) {
    if (level <= 2) {
      const int step = quarters >> level, first = own.quarter / step * step;
      const float2 common = 0.5f * (shares.first[first][own.pair] + shares.last[first + step - 1][own.pair]);
#pragma unroll
      for (int n = 0; n < quarter_tokens / 2; ++n) middles[n] = common;
      return;
    }
    auto find = [&](int step) {
#pragma unroll
      for (int r = 0; r < quarter_tokens; r += 2) {
        const int first = r / step * step;
        middles[r / 2] = 0.5f * (sums[first] + sums[first + step - 1]);
      }
    };
    if (level == 3) find(8);
    if (level == 4) find(4);
    if (level == deepest_level) find(2);
  }

  // e^(G − m) of a token, and e^(m − G).
  __device__ float2 decayed(int r) const { return raised(sums[r] - middles[r / 2]); }
  __device__ float2 restored(int r) const { return raised(middles[r / 2] - sums[r]); }
};

// Queries and keys with the decays of their channels inside their piece of a chunk, for the kernels for Hopper:
//
//     q̂ = q e^(G − m) ,  k̂ = k e^(m − G) ,  and of erasing tokens  ǩ = k e^(G − m) ,
//
// and of each chunk, how often it is halved and what a channel of the state decays before m and behind it. The products
// q̂_i·k̂_j are those of queries and keys with the decay in between, and the sums over tokens need no gates any more.
//
// Compiled with what linear/hopper.cuh lists.

#define READS 1
#define CHANNEL_SLICES 1

#include "linear/channels.cuh"

extern "C" __global__ void __launch_bounds__(channel_threads, 1024 / channel_threads)
    linear_channel_gates(const __grid_constant__ LinearChannelGatesParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  ChannelShares &shares = *(ChannelShares *)shared;
  const Operands &o = p.operands;
  const Place at(o, chunk_tokens);
  const int chunk = blockIdx.y, first = chunk * chunk_tokens, count = at.sequence.count - first;
  if (count <= 0) return;
  const OwnChannels own;

  u32 words[part_tokens];
  load_pairs(words, o.queries, at, at.query_head, first, count, own);
  ChannelSums sums(o, at, first, count, shares, own);
  const int level = sums.level(shares, own);

  const i64 head = (i64)(at.sequence.chunk + chunk) * o.value_heads + at.head;
  if (threadIdx.x == 0) p.levels[head] = level;
  if (own.part == 0) {
    float2 *edges = p.edges + head * 2 * row_pairs + own.column;
    edges[0] = raised(sums.middle);
    edges[row_pairs] = raised(sums.whole - sums.middle);
  }
  sums.count_from_middles(level, shares, own);
  const i64 token = (i64)at.sequence.batch * o.length + at.sequence.first + first + own.first_token;
  const i64 target = (token * o.value_heads + at.head) * row_pairs + own.column;
  const int step = o.value_heads * row_pairs, left = count - own.first_token;
#pragma unroll
  for (int r = 0; r < part_tokens; ++r) {
    const float2 query = raised(sums.sums[r]) * widened(words[r]);
    if (r < left) p.queries[target + r * step] = Element::pack(query.x, query.y);
  }
  load_pairs(words, o.keys, at, at.query_head, first, count, own);
#pragma unroll
  for (int r = 0; r < part_tokens; ++r) {
    const float2 key = raised(float2{0, 0} - sums.sums[r]) * widened(words[r]);
    if (r < left) p.keys[target + r * step] = Element::pack(key.x, key.y);
#if UPDATE == 1
    const float2 eraser = raised(sums.sums[r]) * widened(words[r]);
    if (r < left) p.erasers[target + r * step] = Element::pack(eraser.x, eraser.y);
#endif
  }
}

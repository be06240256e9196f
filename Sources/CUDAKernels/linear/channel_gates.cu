// Queries and keys with the decays of their channels inside their piece of a chunk, for the kernels for Hopper:
//
//     q̂ = q e^(G − m) ,  k̂ = k e^(m − G) ,
//
// and of each chunk, how often it is halved and what a channel of the state decays before m and behind it. The products
// q̂_i·k̂_j are those of queries and keys with the decay in between, and the sums over tokens need no gates any more.
//
// Compiled with what linear/hopper.cuh lists.

#define READS 1

#include "linear/channels.cuh"

struct Parameters {
  Operands operands;
  u32 *queries, *keys;   // pairs of numbers [b, t, hv, k / 2]
  u8 *levels;            // [chunks, hv]
  float2 *edges;         // [chunks, hv, 2, k / 2]
};

extern "C" __global__ void __launch_bounds__(channel_threads)
    linear_channel_gates(const __grid_constant__ Parameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  ChannelShares &shares = *(ChannelShares *)shared;
  const Operands &o = p.operands;
  const Place at(o, chunk_tokens);
  const int chunk = blockIdx.y, first = chunk * chunk_tokens, count = at.sequence.count - first;
  if (count <= 0) return;
  const OwnChannels own;

  u32 queries[quarter_tokens], keys[quarter_tokens];
  load_pairs(queries, o.queries, at, at.query_head, first, count, own);
  load_pairs(keys, o.keys, at, at.query_head, first, count, own);
  ChannelSums sums(o, at, first, count, shares, own);
  const int level = sums.level(shares, own);
  sums.find_middles(level, shares, own);

  const i64 head = (i64)(at.sequence.chunk + chunk) * o.value_heads + at.head;
  if (threadIdx.x == 0) p.levels[head] = level;
  if (own.quarter == 0) {
    float2 *edges = p.edges + head * 2 * channel_pairs + own.pair;
    edges[0] = raised(sums.middle);
    edges[channel_pairs] = raised(sums.whole - sums.middle);
  }
  const i64 token = (i64)at.sequence.batch * o.length + at.sequence.first + first + own.first_token;
  const i64 target = (token * o.value_heads + at.head) * channel_pairs + own.pair;
#pragma unroll
  for (int r = 0; r < quarter_tokens; ++r) {
    if (own.first_token + r >= count) break;
    const float2 query = sums.decayed(r) * widened(queries[r]), key = sums.restored(r) * widened(keys[r]);
    p.queries[target + r * o.value_heads * channel_pairs] = Element::pack(query.x, query.y);
    p.keys[target + r * o.value_heads * channel_pairs] = Element::pack(key.x, key.y);
  }
}

// Queries, keys, a and b of low-rank updates with the decays of their channels in them, for the kernels of erasing
// updates on Hopper: the rows of linear/low_rank.cuh. As linear/channel_gates.cu, it also stores how often each
// chunk is halved, and what a channel of the state decays before m and after it.
//
// Compiled with what linear/hopper.cuh lists, LOW_RANK 1.

#define READS 1
#define CHANNEL_SLICES 1

#include "linear/low_rank.cuh"

extern "C" __global__ void __launch_bounds__(channel_threads, 1024 / channel_threads)
    linear_low_rank_gates(const __grid_constant__ LinearLowRankGatesParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  ChannelShares &shares = *(ChannelShares *)shared;
  const Operands &o = p.operands;
  const Place at = place_of_tokens(o);
  const int chunk = blockIdx.y, first = chunk * decay_tokens, count = at.sequence.count - first;
  if (count <= 0) return;
  const OwnChannels own;

  u32 queries[part_tokens], keys[part_tokens], a[part_tokens], b[part_tokens];
  load_pairs(queries, o.queries, at, at.query_head, first, count, own);
  load_pairs(keys, o.keys, at, at.query_head, first, count, own);
  load_pairs(a, o.first_update, at, at.head, first, count, own);
  load_pairs(b, o.second_update, at, at.head, first, count, own);
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
  const TokenPairs pairs(o, at, at.sequence.first + first + own.first_token, own);
  const int left = count - own.first_token;
#pragma unroll
  for (int r = 0; r < part_tokens; ++r) {
    if (r >= left) break;
    const float2 restored = raised(float2{0, 0} - sums.sums[r]);
    const float2 query = raised(sums.sums[r]) * widened(queries[r]), eraser = raised(sums.starts[r]) * widened(a[r]);
    const float2 removal = restored * widened(b[r]), key = restored * widened(keys[r]);
    const i64 row = pairs.first_row(r);
    p.reads[row] = Element::pack(-eraser.x, -eraser.y);
    p.reads[row + pairs.step] = Element::pack(query.x, query.y);
    p.writes[row] = Element::pack(removal.x, removal.y);
    p.writes[row + pairs.step] = Element::pack(key.x, key.y);
  }
}

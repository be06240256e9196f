// The gradients of queries, keys, a, b and the decays of their channels, of low-rank updates, from those that
// linear/hopper_forward.cu computed for the rows of linear/low_rank.cuh without the pairs of a row with itself. With
// x̂' that of x̂, and d = scale dO·v,
//
//     dq = e^(G − m) q̂' + d k ,  dk = e^(m − G) k̂' + d q ,  db = e^(m − G) b̂' ,  da = e^(E − m) â' ,
//     dg_t = F + Σ_{i < t} (k̂ k̂' + b̂ b̂' − q̂ q̂')_i − Σ_{i ≤ t} (â â')_i ,
//
// F the flow through the chunk's beginning (linear/channel_flows.cuh), and the sums over the chunk's tokens.
//
// Compiled with what linear/hopper.cuh lists, LOW_RANK 1.

#define READS 1
// Blocks of 256 threads: several on a multiprocessor, whose loads and stores overlap.
#define CHANNEL_SLICES (KEYS / linear_channel_slice)

#include "linear/channel_flows.cuh"
#include "linear/low_rank.cuh"

extern "C" __global__ void __launch_bounds__(channel_threads, 2)
    linear_low_rank_gradients(const __grid_constant__ LinearLowRankGradientsParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  ChannelShares &shares = *(ChannelShares *)shared;
  const Operands &o = p.operands;
  const Place at = place_of_tokens(o);
  const int chunk = blockIdx.y, first = chunk * decay_tokens, count = at.sequence.count - first;
  if (count <= 0) return;
  const OwnChannels own;

  const i64 head = (i64)(at.sequence.chunk + chunk) * o.value_heads + at.head;
  const int first_token = at.sequence.first + first + own.first_token, left = count - own.first_token;
  const TokenPairs pairs(o, at, first_token, own);
  const float *diagonals =
      p.diagonals + ((i64)at.sequence.batch * o.value_heads + at.head) * o.length + first_token * token_rows;

  // All loads precede the stores: the compiler does not know that rows are different.
  u32 queries[part_tokens], keys[part_tokens], a[part_tokens], b[part_tokens];
  load_pairs(queries, o.queries, at, at.query_head, first, count, own);
  load_pairs(keys, o.keys, at, at.query_head, first, count, own);
  load_pairs(a, o.first_update, at, at.head, first, count, own);
  load_pairs(b, o.second_update, at, at.head, first, count, own);
  u32 of_queries[part_tokens], of_reads[part_tokens], of_b[part_tokens], of_keys[part_tokens];
  float own_pairs[part_tokens];
#pragma unroll
  for (int r = 0; r < part_tokens; ++r) {
    const i64 row = pairs.first_row(r);
    of_reads[r] = r < left ? p.reads_gradient[row] : 0;
    of_queries[r] = r < left ? p.reads_gradient[row + pairs.step] : 0;
    of_b[r] = r < left ? p.writes_gradient[row] : 0;
    of_keys[r] = r < left ? p.writes_gradient[row + pairs.step] : 0;
    own_pairs[r] = r < left ? diagonals[r * token_rows + 1] : 0;
  }
  ChannelSums sums(o, at, first, count, shares, own);
  sums.count_from_middles(p.levels[head], shares, own);

  AddedFlows flows;
#pragma unroll
  for (int r = 0; r < part_tokens; ++r) {
    const float2 query = widened(queries[r]), key = widened(keys[r]);
    const float2 read = float2{0, 0} - widened(of_reads[r]), write = widened(of_b[r]);
    const float2 query_gradient = widened(of_queries[r]), key_gradient = widened(of_keys[r]);
    const float2 decayed = raised(sums.sums[r]), restored = raised(float2{0, 0} - sums.sums[r]);
    const float2 before = raised(sums.starts[r]);
    const float2 of_query = decayed * query_gradient + own_pairs[r] * key;
    const float2 of_key = restored * key_gradient + own_pairs[r] * query;
    const float2 of_write = restored * write, of_read = before * read;
    // Of the rounded numbers that were multiplied: then the products of a pair are the same in both sums.
    flows.add(float2{0, 0} - rounded(before * widened(a[r])) * read);
    flows.pass_gate(r);
    flows.add(rounded(restored * key) * key_gradient);
    flows.add(rounded(restored * widened(b[r])) * write);
    flows.add(float2{0, 0} - rounded(decayed * query) * query_gradient);
    if (r < left) {
      const i64 place = pairs.place(r);
      p.queries_gradient[place] = Element::pack(of_query.x, of_query.y);
      p.a_gradient[place] = Element::pack(of_read.x, of_read.y);
      p.b_gradient[place] = Element::pack(of_write.x, of_write.y);
      p.keys_gradient[place] = Element::pack(of_key.x, of_key.y);
    }
  }
  const Crossings<LinearLowRankGradientsParameters> crossings = {p, at, own};
  flows.store(p.decay, at, chunk, min(count, decay_tokens), crossings.before(chunk),
              crossings.behind(chunk, count <= decay_tokens), shares, own);
}

// The gradients of queries, keys and the decays of their channels, of those that linear/hopper_forward.cu found of
// q̂ and k̂ (linear/channel_gates.cu) without the pairs of a token with itself. With a_i, b_j what it found, d_i = scale
// dO_i·v_i, and where tokens erase −c_i what it found of ǩ and what is written for v,
//
//     dq_i = e^(G_i − m) a_i + d_i k_i ,   dk_i = e^(m − G_i) b_i − e^(G_i − m) c_i + d_i q_i ,
//     dg_t = F + Σ_{i < t} (k̂_i b_i − q̂_i a_i + ǩ_i c_i) ,
//
// F the flow through the chunk's beginning (linear/channel_flows.cuh), and the sum over the chunk's tokens.
//
// Compiled with what linear/hopper.cuh lists.

#define READS 1
// Blocks of 256 threads: several on a multiprocessor, whose loads and stores go on beside one another's sums.
#define CHANNEL_SLICES (KEYS / linear_channel_slice)

#include "linear/channel_flows.cuh"

// Tokens of a thread whose rows are on the way at the same time.
constexpr int loaded_tokens = 4;

DEVICE const u32 *pairs_of(const Rows &rows, const Place &at, int head, int token, const OwnChannels &own) {
  return (const u32 *)rows.base + rows.place(at.sequence.batch, token, head) / 2 + own.column;
}

extern "C" __global__ void __launch_bounds__(channel_threads, 3)
    linear_channel_gradients(const __grid_constant__ LinearChannelGradientsParameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  ChannelShares &shares = *(ChannelShares *)shared;
  const Operands &o = p.operands;
  const Place at(o, chunk_tokens);
  const int chunk = blockIdx.y, first = chunk * chunk_tokens, count = at.sequence.count - first;
  if (count <= 0) return;
  const OwnChannels own;

  const i64 head = (i64)(at.sequence.chunk + chunk) * o.value_heads + at.head;
  const int first_token = at.sequence.first + first + own.first_token, left = count - own.first_token;
  const i64 token = (i64)at.sequence.batch * o.length + first_token;
  const i64 target = (token * o.value_heads + at.head) * row_pairs + own.column;
  const int step = o.value_heads * row_pairs;
  u32 *reads = p.queries_gradient + target, *writes = p.keys_gradient + target;
  const float *diagonals = p.diagonals + ((i64)at.sequence.batch * o.value_heads + at.head) * o.length + first_token;

  ChannelSums sums(o, at, first, count, shares, own);
  sums.count_from_middles(p.levels[head], shares, own);

  const u32 *queries = pairs_of(o.queries, at, at.query_head, first_token, own);
  const u32 *keys = pairs_of(o.keys, at, at.query_head, first_token, own);
  const int query_step = o.queries.token / 2, key_step = o.keys.token / 2;
  AddedFlows flows;
#pragma unroll
  for (int begin = 0; begin < part_tokens; begin += loaded_tokens) {
    // Loaded before any of it is written: the compiler does not know that rows are different.
    u32 query_words[loaded_tokens], key_words[loaded_tokens], read_words[loaded_tokens], write_words[loaded_tokens];
    u32 erased_words[loaded_tokens];
#pragma unroll
    for (int n = 0; n < loaded_tokens; ++n) {
      const int r = begin + n;
      query_words[n] = r < left ? queries[r * query_step] : 0;
      key_words[n] = r < left ? keys[r * key_step] : 0;
      read_words[n] = r < left ? reads[r * step] : 0;
      write_words[n] = r < left ? writes[r * step] : 0;
      erased_words[n] = UPDATE == 1 && r < left ? p.erasers_gradient[target + r * step] : 0;
    }
#pragma unroll
    for (int n = 0; n < loaded_tokens; ++n) {
      const int r = begin + n;
      const float diagonal = r < left ? diagonals[r] : 0;
      const float2 query = widened(query_words[n]), key = widened(key_words[n]);
      const float2 read = widened(read_words[n]), write = widened(write_words[n]);
      const float2 decayed = raised(sums.sums[r]), restored = raised(float2{0, 0} - sums.sums[r]);
      const float2 of_query = decayed * read + diagonal * key;
      float2 of_key = restored * write + diagonal * query;
      flows.pass_gate(r);
      // Of the rounded numbers that were multiplied: then the products of a pair are the same in both sums.
      flows.add(rounded(restored * key) * write);
      flows.add(float2{0, 0} - rounded(decayed * query) * read);
      if (UPDATE == 1) {
        const float2 erased = widened(erased_words[n]);
        of_key = of_key - decayed * erased;
        flows.add(rounded(decayed * key) * erased);
      }
      if (r < left) {
        reads[r * step] = Element::pack(of_query.x, of_query.y);
        writes[r * step] = Element::pack(of_key.x, of_key.y);
      }
    }
  }
  const Crossings<LinearChannelGradientsParameters> crossings = {p, at, own};
  flows.store(p.decay, at, chunk, min(count, decay_tokens), crossings.before(chunk),
              crossings.behind(chunk, count <= decay_tokens), shares, own);
}

// The gradients of queries, keys and the decays of their channels, of those that linear/hopper_forward.cu found of
// q̂ and k̂ (linear/channel_gates.cu) without the pairs of a token with itself. With a_i what it found, d_i = scale dO_i·v_i,
//
//     dq_i = e^(G_i − m) a_i + d_i k_i ,   dk_j = e^(m − G_j) b_j + d_j q_j ,
//     dg_t = F + Σ_{i < t} (k̂_i b_i − q̂_i a_i) ,
//
// F what passes through the chunk's beginning, ⟨S, dS⟩ of the channel, and the sum over the chunk's tokens. Where the next
// chunk begins, F is known again: what the sum has strayed by then is taken back, in equal parts at every token.
//
// Compiled with what linear/hopper.cuh lists.

#define READS 1

#include "linear/channels.cuh"

struct Parameters {
  Operands operands;
  u32 *queries_gradient, *keys_gradient;   // pairs of numbers [b, t, hv, k / 2]: a and b, which dq and dk replace
  const u8 *levels;                        // [chunks, hv]
  const float2 *crossing;                  // F [chunks, hv, k / 2]
  const float *diagonals;                  // d [b, hv, t]
  Rows decay;                              // dg [b, t, hv, k], rows as the decay's
};

extern "C" __global__ void __launch_bounds__(channel_threads)
    linear_channel_gradients(const __grid_constant__ Parameters p) {
  extern __shared__ __align__(1024) u8 shared[];
  ChannelShares &shares = *(ChannelShares *)shared;
  const Operands &o = p.operands;
  const Place at(o, chunk_tokens);
  const int chunk = blockIdx.y, first = chunk * chunk_tokens, count = at.sequence.count - first;
  if (count <= 0) return;
  const OwnChannels own;

  const i64 head = (i64)(at.sequence.chunk + chunk) * o.value_heads + at.head;
  ChannelSums sums(o, at, first, count, shares, own);
  sums.find_middles(p.levels[head], shares, own);

  const i64 token = (i64)at.sequence.batch * o.length + at.sequence.first + first + own.first_token;
  const i64 target = (token * o.value_heads + at.head) * channel_pairs + own.pair;
  const i64 step = o.value_heads * channel_pairs;
  const float *diagonals = p.diagonals + ((i64)at.sequence.batch * o.value_heads + at.head) * o.length +
                           at.sequence.first + first + own.first_token;
  // What passes more behind each token than before it, summed up to the token before.
  float2 passed = {};
#pragma unroll
  for (int r = 0; r < quarter_tokens; ++r) {
    const bool exists = own.first_token + r < count;
    const i64 place = target + r * step;
    auto load = [&](const Rows &rows) {
      const i64 pair = rows.place(at.sequence.batch, at.sequence.first + first + own.first_token + r, at.query_head) / 2 +
                       own.pair;
      return widened(exists ? ((const u32 *)rows.base)[pair] : 0);
    };
    const float2 query = load(o.queries), key = load(o.keys);
    const float2 decayed = sums.decayed(r), restored = sums.restored(r);
    const float2 read = widened(exists ? p.queries_gradient[place] : 0);
    const float2 write = widened(exists ? p.keys_gradient[place] : 0);
    const float diagonal = exists ? diagonals[r] : 0;
    const float2 of_query = decayed * read + diagonal * key, of_key = restored * write + diagonal * query;
    sums.sums[r] = passed;
    // Of the rounded numbers that were multiplied: then the products of a pair are the same in both sums.
    passed = passed + rounded(restored * key) * write - rounded(decayed * query) * read;
    if (exists) {
      p.queries_gradient[place] = Element::pack(of_query.x, of_query.y);
      p.keys_gradient[place] = Element::pack(of_key.x, of_key.y);
    }
  }
  shares.totals[own.quarter][own.pair] = passed;
  __syncthreads();
  const float2 *crossing = p.crossing + head * channel_pairs + own.pair;
  float2 flow = crossing[0], strayed = flow;
#pragma unroll
  for (int quarter = 0; quarter < quarters; ++quarter) {
    const float2 total = shares.totals[quarter][own.pair];
    if (quarter < own.quarter) flow = flow + total;
    strayed = strayed + total;
  }
  strayed = count > chunk_tokens ? (1.0f / chunk_tokens) * (strayed - crossing[o.value_heads * channel_pairs])
                                 : float2{0, 0};
#pragma unroll
  for (int r = 0; r < quarter_tokens; ++r) {
    if (own.first_token + r >= count) break;
    const float2 gradient = flow + sums.sums[r] - (float)(own.first_token + r) * strayed;
    const i64 place =
        p.decay.place(at.sequence.batch, at.sequence.first + first + own.first_token + r, at.head) / 2 + own.pair;
    if (p.decay.type == type_f32) {
      ((float2 *)p.decay.base)[place] = gradient;
    } else {
      ((u32 *)p.decay.base)[place] = p.decay.type == type_bf16 ? bf16::pack(gradient.x, gradient.y)
                                                               : f16::pack(gradient.x, gradient.y);
    }
  }
}

#pragma once

#include "linear/hopper.cuh"

// Factors derived from a chunk's gates and from the norms of its queries and keys, computed ahead by warps of
// the copying group.

// Stronger decays leave nothing in float32; the limit keeps differences of nearby tokens' sums precise.
constexpr float strongest_decay = -88;
// Rows of a chunk per warp of the score group.
constexpr int warp_rows = chunk_tokens / group_warps;

// Factors of a chunk's tokens, with G the inclusive sum of the log-decay and γ the whole chunk's.
struct Gates {
  // For the state groups.
  float read[chunk_tokens];    // scale e^G, over the query's norm if it is normalised; reversed e^(γ − G)
  float erase[chunk_tokens];   // e^G, over the key's norm; reversed −e^G
  float write[chunk_tokens];   // e^(γ − G), over the key's norm; reversed scale e^G
  // For the score group. The decay between tokens in rows of different warps is a product of two factors, at
  // most 1: from the earlier token to the one before the later token's warp, and from there on.
  float sums[chunk_tokens];                      // G, in base 2
  float betas[chunk_tokens];
  float query_rows[chunk_tokens];                // of P: scale over the query's norm
  float key_rows[chunk_tokens];                  // of L: β over the key's norm
  float passed[chunk_tokens];                    // from before the warp's rows to the token
  float columns[group_warps][chunk_tokens];      // to before a warp's rows, over the key's norm
  float whole;                                   // e^γ
  float unused[3];
#if CHANNELS
  // A channel's decay from the state before a turn to the middle of the decay of its tokens, and from there
  // to the state after the turn.
  float enter[decaying_channels], leave[decaying_channels];
#endif
};
static_assert(sizeof(Gates) == linear_gate_bytes(decaying_channels));

// The gates of a chunk's tokens `lane` and `lane` + 32, which a thread loads a chunk ahead. They are
// converted only when they are used, so that the loads overlap.
struct LoadedGates {
  u32 decay[2], beta[2];

  __device__ LoadedGates(const Operands &o, const Place &at, int first) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int token = first + (int)threadIdx.x % warp_threads + half * warp_threads;
      const bool exists = token >= 0 && token < at.sequence.count;
      auto load = [&](const Rows &rows) -> u32 {
        const i64 place = rows.place(at.sequence.batch, at.sequence.first + token, at.head);
        if (!exists) return 0;
        return rows.type == type_f32 ? ((const u32 *)rows.base)[place] : ((const u16 *)rows.base)[place];
      };
      decay[half] = DECAYS ? load(o.decay) : 0;
      beta[half] = has_betas ? load(o.first_update) : 0;
    }
  }

  DEVICE float number(u32 bits, int type) {
    return type == type_f32    ? __uint_as_float(bits)
           : type == type_bf16 ? bf16::widen((u16)bits)
                               : f16::widen((u16)bits);
  }
};

DEVICE float inclusive_sum(float x) {
  const int lane = threadIdx.x % warp_threads;
#pragma unroll
  for (int distance = 1; distance < warp_threads; distance *= 2) {
    const float before = __shfl_up_sync(~0u, x, distance);
    if (lane >= distance) x += before;
  }
  return x;
}

// Computes the factors; called by one warp. `sizes` are the inverse norms of queries and keys, [2][64].
// `scales_second_rows` as in LinearHopperParameters.
DEVICE void find_gates(Gates &gates, const LoadedGates &loaded, const float *sizes, int count,
                       const Operands &o, bool scales_second_rows = false) {
  const int lane = threadIdx.x % warp_threads;
  float sums[2] = {}, before[group_warps] = {};
  if (DECAYS) {
    sums[0] = inclusive_sum(fmaxf(LoadedGates::number(loaded.decay[0], o.decay.type), strongest_decay) * log2_e);
    before[2] = __shfl_sync(~0u, sums[0], warp_threads - 1);
    sums[1] = inclusive_sum(fmaxf(LoadedGates::number(loaded.decay[1], o.decay.type), strongest_decay) * log2_e) + before[2];
    before[1] = __shfl_sync(~0u, sums[0], warp_rows - 1);
    before[3] = __shfl_sync(~0u, sums[1], warp_rows - 1);
  }
  const float whole = DECAYS ? __shfl_sync(~0u, sums[1], warp_threads - 1) : 0;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int token = lane + half * warp_threads;
    const float sum = sums[half];
    float beta = has_betas ? LoadedGates::number(loaded.beta[half], o.first_update.type) : 1;
    if (fabsf(beta) < least_beta) beta = least_beta;
    const float query_size = NORMALIZES && READS ? sizes[token] : 1;
    // Rows after the end may have NaN as inverse norm.
    const float key_size = token >= count ? 0 : NORMALIZES ? sizes[chunk_tokens + token] : 1;
    const float scale = LOW_RANK && scales_second_rows && token % token_rows == 0 ? -1 : o.scale;
    // The decay from the chunk's beginning to the token, and from there to its end.
    const float before_it = DECAYS ? exp2_fast(sum) : 1, behind = DECAYS ? exp2_fast(whole - sum) : 1;
    gates.read[token] = REVERSED ? behind : scale * query_size * before_it;
    gates.erase[token] = (REVERSED ? -key_size : key_size) * before_it;
    gates.write[token] = REVERSED ? scale * before_it : key_size * behind;
    gates.sums[token] = sum;
    gates.betas[token] = beta;
    gates.query_rows[token] = scale * query_size;
    gates.key_rows[token] = beta * key_size;
    // The row belongs to one of the two warps of this half.
    const bool is_second = lane >= warp_rows;
    const float start = is_second ? before[2 * half + 1] : before[2 * half];
    gates.passed[token] = DECAYS ? exp2_fast(sum - start) : 1;
#pragma unroll
    for (int warp = 2 * half; warp < group_warps; ++warp) {
      const bool is_before = token < warp * warp_rows;
      gates.columns[warp][token] = key_size * (DECAYS && is_before ? exp2_fast(before[warp] - sum) : 1);
    }
  }
  if (lane == 0) gates.whole = exp2_fast(whole);
}

// Computes the inverse norms of the rows of a tile; called by one warp, two rows per lane.
DEVICE void measure_rows(float *sizes, const u8 *tile, float epsilon) {
#pragma unroll 1
  for (int row = threadIdx.x % warp_threads; row < chunk_tokens; row += warp_threads) {
    float sum = 0;
#pragma unroll 4
    for (int n = 0; n < KeyTile::chunks; ++n) {
      const uint4 numbers = *(const uint4 *)(tile + KeyTile::place(row, n));
      const u32 pairs[4] = {numbers.x, numbers.y, numbers.z, numbers.w};
#pragma unroll
      for (u32 pair : pairs) {
        const float low = Element::widen((u16)pair), high = Element::widen((u16)(pair >> 16));
        sum += low * low + high * high;
      }
    }
    sizes[row] = rsqrtf(sum + epsilon);
  }
}

#if CHANNELS
// Loads or computes `enter` and `leave`; called by one warp. For whole chunks they are in memory: `edges` are
// factors [chunks, hv, 2, width], of which the block has those from `first` on. For pieces of a chunk they
// follow from the gates.
DEVICE void find_edges(Gates &gates, const Operands &o, const float *edges, int width, int first, const Place &at,
                       const Walk &walk) {
  const int lane = threadIdx.x % warp_threads;
  float *before = REVERSED ? gates.leave : gates.enter, *behind = REVERSED ? gates.enter : gates.leave;
  if (walk.level == 0) {
    const i64 chunk = (i64)(at.sequence.chunk + walk.chunk()) * o.value_heads + at.head;
    const float *source = edges + chunk * 2 * width + first;
#pragma unroll
    for (int channel = lane; channel < decaying_channels; channel += warp_threads) {
      before[channel] = source[channel];
      behind[channel] = source[width + channel];
    }
    return;
  }
  const int token = (at.sequence.first + walk.first()) / token_rows, count = walk.count() / token_rows;
  const i64 place = o.decay.place(at.sequence.batch, token, at.head) + first;
#pragma unroll 1
  for (int channel = lane; channel < decaying_channels; channel += warp_threads) {
    auto gate = [&](int token) {
      return fmaxf(o.decay.load(place + token * o.decay.token + channel), strongest_decay) * log2_e;
    };
    // The middle lies between the first token's sum and the last one's or, if tokens read before their decay,
    // between the sum before the first token and the last one's.
    float rest = LOW_RANK ? gate(0) : 0;
#pragma unroll 4
    for (int token = 1; token < count; ++token) rest += gate(token);
    before[channel] = exp2_fast((LOW_RANK ? 0 : gate(0)) + 0.5f * rest);
    behind[channel] = exp2_fast(0.5f * rest);
  }
}
#endif

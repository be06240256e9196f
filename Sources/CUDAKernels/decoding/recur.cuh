#pragma once

#include "decoding/product.cuh"

// A token's step of linear attention: S = diag(e^g) S + k uᵀ, o = Sᵀ q, with u = v, or the delta rule's
// β (v − (diag(e^g) S)ᵀ k). A block has 32 columns of the state of a head, one for each lane, and every
// fifteenth row for each warp.

constexpr int recur_columns = warp_threads;
constexpr int most_key_dimension = 256;
constexpr int most_rank = 32;

// The rows of a token in shared memory, in floats.
struct RecurRows {
  float *queries, *keys, *values, *decays, *low_rank;

  __device__ explicit RecurRows(float *numbers)
      : queries(numbers),
        keys(queries + most_key_dimension),
        values(keys + most_key_dimension),
        decays(values + recur_columns),
        low_rank(decays + most_key_dimension) {}
};

// A convolved channel. All blocks that need it read the inputs before; one of them, `keeps`, leaves those of
// the next token at another place.
struct Channel {
  static constexpr int most_width = 4;
  const DecodingConvolution &convolution;
  int channel;
  float weights[most_width], inputs[most_width], bias;

  __device__ Channel(const DecodingConvolution &convolution, int channel, int position)
      : convolution(convolution), channel(channel) {
    if (!convolution.weight) return;
    const int width = convolution.width;
    const float *before = convolution.inputs + kept(position);
    bias = read_or_zero(convolution.bias, channel);
#pragma unroll
    for (int i = 0; i < most_width; ++i) {
      weights[i] = i < width ? convolution.weight[channel * width + i] : 0;
      inputs[i] = i < width - 1 ? before[i] : 0;
    }
  }

  __device__ i64 kept(int position) const {
    return ((i64)(position % 2) * convolution.channels + channel) * (convolution.width - 1);
  }

  // The channel's number after this token's input.
  __device__ float operator()(float input, int position, bool keeps, bool applies_silu) {
    if (convolution.weight) {
      const int width = convolution.width;
      float sum = bias;
#pragma unroll
      for (int i = 0; i < most_width; ++i) {
        if (i == width - 1) inputs[i] = input;
        sum += weights[i] * inputs[i];
      }
      if (keeps) {
        float *after = convolution.inputs + kept(position + 1);
#pragma unroll
        for (int i = 0; i + 1 < most_width; ++i) {
          if (i < width - 1) after[i] = inputs[i + 1];
        }
      }
      input = sum;
    }
    return applies_silu ? silu(input) : input;
  }
};

DEVICE float log_sigmoid(float x) { return fminf(x, 0) - log1pf(expf(-fabsf(x))); }

// The row of a matrix of low rank that makes a key's decay, read before the numbers that it multiplies come.
template <typename Element>
struct LowRankRow {
  using Number = Stored<Element>;
  static constexpr int chunk = chunk_bytes / sizeof(Number);
  static constexpr int chunks = most_rank / chunk;
  uint4 words[chunks];
  float bias;

  __device__ void start(const DecodingStage &stage, i64 row) {
    bias = read_or_zero(stage.decay_bias, (int)row);
#pragma unroll
    for (int i = 0; i < chunks; ++i) {
      if (i * chunk < stage.rank) {
        words[i] = *(const uint4 *)((const Number *)stage.decay_weight + row * stage.rank + i * chunk);
      }
    }
  }

  __device__ float decay_factor(const DecodingStage &stage, const float *inputs) const {
    float x = bias;
#pragma unroll
    for (int i = 0; i < chunks; ++i) {
      if (i * chunk >= stage.rank) break;
      float weights[chunk];
      widen<Element>(weights, words[i]);
#pragma unroll
      for (int k = 0; k < chunk; ++k) x += weights[k] * inputs[i * chunk + k];
    }
    return expf(fmaxf(log_sigmoid(x) / stage.divisor, stage.smallest_decay));
  }
};

// The factor by which a head's state decays.
DEVICE float decay_factor(const DecodingStage &stage, int head, u32 tag) {
  const int decay_head = head / stage.decay_group;
  float log_decay = 0;
  if (stage.decay_kind == decoding_log_sigmoid) {
    log_decay = log_sigmoid(await(stage.decay + decay_head, tag)) / stage.divisor;
  } else if (stage.decay_kind == decoding_step_decay) {
    const float bias = stage.decay_bias[decay_head], rate = stage.rates[decay_head];
    log_decay = rate * log_sigmoid(-(await(stage.decay + decay_head, tag) + bias));
  }
  return expf(fmaxf(log_decay, stage.smallest_decay));
}

// The sum of the warps' shares of each column, in order.
DEVICE float sum_of_warps(const float *shares) {
  float sum = 0;
  for (int warp = 0; warp < decoding_warps; ++warp) sum += shares[warp * warp_threads + threadIdx.x % warp_threads];
  return sum;
}

template <typename Element>
SELDOM void run_recurrence(const DecodingStage &stage, Workplace place, int position, u32 tag) {
  constexpr int most_rows = CEIL_DIVIDE(most_key_dimension, decoding_warps);
  const int lane = threadIdx.x % warp_threads;
  const int warp = threadIdx.x / warp_threads;
  const int keys = stage.key_dimension;
  const int tiles = CEIL_DIVIDE(stage.value_dimension, recur_columns);
  const RecurRows rows(place.numbers);
  float *output_shares = place.shares;
  float *found_shares = output_shares + decoding_workers;
  for (int item = blockIdx.x; item < stage.heads * tiles; item += gridDim.x) {
    const int head = item / tiles;
    const int tile = item % tiles;
    const int column = tile * recur_columns + lane;
    const bool exists = column < stage.value_dimension;
    float *state = stage.state + (i64)head * keys * stage.value_dimension + column;
    float s[most_rows];
#pragma unroll
    for (int n = 0; n < most_rows; ++n) {
      const int d = n * decoding_warps + warp;
      s[n] = exists && d < keys ? state[(i64)d * stage.value_dimension] : 0;
    }
    const bool is_low_rank = stage.decay_kind == decoding_low_rank;
    LowRankRow<Element> low_rank;
    if (is_low_rank && threadIdx.x < keys) {
      low_rank.start(stage, (i64)(head / stage.decay_group) * keys + threadIdx.x);
    }
    const int query_head = head / stage.query_group, key_head = head / stage.key_group;
    const int value_head = head / stage.value_group;
    for (int i = threadIdx.x; i < 3 * keys + recur_columns; i += decoding_workers) {
      if (i < 2 * keys) {
        const bool is_key = i >= keys;
        const int d = is_key ? i - keys : i;
        const int channel = (is_key ? key_head : query_head) * keys + d;
        const bool keeps = tile == 0 && head == (is_key ? key_head * stage.key_group : query_head * stage.query_group);
        Channel convolved(stage.convolutions[is_key], channel, position);
        const float number = await((is_key ? stage.keys : stage.queries) + channel, tag);
        (is_key ? rows.keys : rows.queries)[d] = convolved(number, position, keeps, stage.applies_silu);
      } else if (i < 3 * keys) {
        const int key = i - 2 * keys;
        if (!is_low_rank) {
          rows.decays[key] = decay_factor(stage, head, tag);
        } else if (key < stage.rank) {
          rows.low_rank[key] = await(stage.decay + key, tag);
        }
      } else {
        const int own = tile * recur_columns + i - 3 * keys;
        if (own >= stage.value_dimension) continue;
        const int channel = value_head * stage.value_dimension + own;
        Channel convolved(stage.convolutions[2], channel, position);
        rows.values[i - 3 * keys] = convolved(await(stage.values + channel, tag), position,
                                              head == value_head * stage.value_group, stage.applies_silu);
      }
    }
    const float beta = stage.beta ? stage.beta_scale * logistic(await(stage.beta + head, tag)) : 1;
    meet();
    if (is_low_rank) {
      if (threadIdx.x < keys) rows.decays[threadIdx.x] = low_rank.decay_factor(stage, rows.low_rank);
      meet();
    }
    float query_squares = 0, key_squares = 0, product = 0;
    for (int d = lane; d < keys; d += warp_threads) {
      query_squares += rows.queries[d] * rows.queries[d];
      key_squares += rows.keys[d] * rows.keys[d];
      product += rows.queries[d] * rows.keys[d];
    }
    float query_factor = stage.scale, key_factor = 1;
    if (stage.unit_epsilon >= 0) {
      query_factor *= rsqrtf(warp_sum(query_squares) + stage.unit_epsilon);
      key_factor = rsqrtf(warp_sum(key_squares) + stage.unit_epsilon);
    }
    product = warp_sum(product) * query_factor * key_factor;
    float output = 0, found = 0;
#pragma unroll
    for (int n = 0; n < most_rows; ++n) {
      const int d = n * decoding_warps + warp;
      if (d >= keys) break;
      s[n] *= rows.decays[d];
      output += rows.queries[d] * s[n];
      found += rows.keys[d] * s[n];
    }
    output_shares[threadIdx.x] = output * query_factor;
    found_shares[threadIdx.x] = found * key_factor;
    meet();
    const float value = exists ? rows.values[lane] : 0;
    const float written = stage.beta ? beta * (value - sum_of_warps(found_shares)) : value;
#pragma unroll
    for (int n = 0; n < most_rows; ++n) {
      const int d = n * decoding_warps + warp;
      if (d >= keys) break;
      s[n] += rows.keys[d] * key_factor * written;
      if (exists) state[(i64)d * stage.value_dimension] = s[n];
    }
    if (warp == 0 && exists) {
      publish(stage.output + head * stage.value_dimension + column,
              sum_of_warps(output_shares) + product * written, tag);
    }
    meet();
  }
}

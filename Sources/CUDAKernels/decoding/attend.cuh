#pragma once

#include "decoding/product.cuh"

// Softmax attention of one token: a block attends for a head, or two of one key head, to a part of the keys,
// and another stage adds the parts up. Four keys are a warp's at a time, eight lanes to each.

constexpr int key_lanes = 8;
constexpr int warp_keys = warp_threads / key_lanes;

// Heads that a block attends for at once: more do not fit into registers.
template <int Dimension>
constexpr int pair_of = Dimension > 64 ? 1 : 2;

// The parts of the keys in this step.
struct Parts {
  int length;
  int count;

  __device__ Parts(int keys, int splits)
      : length((int)decoding_part_length(keys, splits)), count((int)decoding_part_count(keys, splits)) {}
};

// A head's sums over a part of the keys.
template <int Numbers>
struct PartialSum {
  float greatest = -infinity, weights = 0;
  float outputs[Numbers] = {};

  // Adds a key with this score in base 2.
  __device__ void add(float score, const float (&value)[Numbers]) {
    const float next = fmaxf(greatest, score);
    const float before = exp2f(greatest - next), weight = exp2f(score - next);
    weights = weights * before + weight;
#pragma unroll
    for (int i = 0; i < Numbers; ++i) outputs[i] = outputs[i] * before + weight * value[i];
    greatest = next;
  }

  // Adds the sums of the lane at this distance.
  __device__ void add_lane(int distance) {
    const float other = __shfl_xor_sync(~0u, greatest, distance);
    const float next = fmaxf(greatest, other);
    const float own = next == -infinity ? 0 : exp2f(greatest - next);
    const float others = next == -infinity ? 0 : exp2f(other - next);
    weights = weights * own + __shfl_xor_sync(~0u, weights, distance) * others;
#pragma unroll
    for (int i = 0; i < Numbers; ++i) {
      outputs[i] = outputs[i] * own + __shfl_xor_sync(~0u, outputs[i], distance) * others;
    }
    greatest = next;
  }
};

// A lane's numbers of a row: chunks of eight, `key_lanes` chunks apart.
template <typename Element, int Numbers>
DEVICE void read_lane(float (&x)[Numbers], const Stored<Element> *row) {
  constexpr int chunk = chunk_bytes / sizeof(Stored<Element>);
  const int part = threadIdx.x % key_lanes;
#pragma unroll
  for (int i = 0; i < Numbers; i += chunk) {
    float numbers[chunk];
    widen<Element>(numbers, *(const uint4 *)(row + i / 8 * 8 * key_lanes + part * 8 + i % 8));
#pragma unroll
    for (int k = 0; k < chunk; ++k) x[i + k] = numbers[k];
  }
}

template <typename Element, int Dimension>
SELDOM void attend(const DecodingStage &stage, Workplace place, int position, u32 tag) {
  using Number = Stored<Element>;
  constexpr int numbers = Dimension / key_lanes;
  constexpr int pair_size = pair_of<Dimension>;
  constexpr int vectors = pair_size + 2;
  static_assert(vectors * Dimension <= decoding_workers, "a thread has one number of the token's vectors");
  const int lane = threadIdx.x % warp_threads;
  const int warp = threadIdx.x / warp_threads;
  const int key_heads = stage.heads / stage.key_group;
  const int pairs = CEIL_DIVIDE(stage.key_group, pair_size);
  const Parts parts(position + 1, stage.splits);
  float *raw = place.numbers;
  float *turned = raw + vectors * Dimension;
  float *sums = turned + vectors * Dimension;
  for (int item = blockIdx.x; item < key_heads * pairs * parts.count; item += gridDim.x) {
    const int part = item % parts.count;
    const int pair = item / parts.count % pairs;
    const int key_head = item / parts.count / pairs;
    const int first_head = key_head * stage.key_group + pair * pair_size;
    const int own_heads = min(pair_size, stage.key_group - pair * pair_size);
    const bool is_last = part == parts.count - 1;
    const int begin = part * parts.length;
    const int end = min(begin + parts.length, position);
    const i64 step = (i64)key_heads * Dimension;
    const Number *key_rows = (const Number *)stage.key_rows + (i64)key_head * Dimension;
    const Number *value_rows = (const Number *)stage.value_rows + (i64)key_head * Dimension;

    // The token's queries, key and value: normalised, rotated, rounded as the rows are.
    const int vector = threadIdx.x / Dimension;
    const int d = threadIdx.x % Dimension;
    const bool has_vector = vector < vectors && (vector >= pair_size || vector < own_heads);
    if (has_vector) {
      const u64 *from = vector < pair_size
                            ? stage.queries + (i64)(first_head + vector) * Dimension
                            : (vector == pair_size ? stage.keys : stage.values) + (i64)key_head * Dimension;
      raw[threadIdx.x] = await(from + d, tag);
    }
    __syncwarp();
    const float *norm = vector < pair_size ? stage.norm : stage.key_norm;
    const bool has_norm = norm && vector < vectors - 1;
    if (stage.norm) {
      const float own = has_vector ? raw[threadIdx.x] : 0;
      const float squares = warp_sum(own * own);
      if (lane == 0) place.squares[warp] = squares;
    }
    meet();
    if (has_vector) {
      float factor = 1;
      if (has_norm) {
        float squares = 0;
        for (int i = 0; i < Dimension / warp_threads; ++i) {
          squares += place.squares[vector * (Dimension / warp_threads) + i];
        }
        factor = rsqrtf(squares / Dimension + stage.epsilon);
      }
      const auto number = [&](int at) {
        const float weight = has_norm ? norm[at] : 1;
        return raw[vector * Dimension + at] * weight * factor;
      };
      float x = number(d);
      if (vector < vectors - 1 && d < stage.rotated) {
        const int half = stage.rotated / 2;
        const i64 angle = (i64)position * half + d % half;
        const float cosine = stage.cosines[angle], sine = stage.sines[angle];
        x = d < half ? x * cosine - number(d + half) * sine : x * cosine + number(d - half) * sine;
      }
      if (vector < pair_size) {
        x *= stage.score_scale * log2_e;
      } else {
        const Number rounded = In<Element>::narrow(x);
        x = Element::widen(rounded);
        if (is_last && pair == 0) {
          Number *rows = (Number *)(vector == pair_size ? stage.key_rows : stage.value_rows);
          rows[(i64)position * step + (i64)key_head * Dimension + d] = rounded;
        }
      }
      turned[threadIdx.x] = x;
    }
    meet();
    float queries[pair_size][numbers];
#pragma unroll
    for (int head = 0; head < pair_size; ++head) {
      read_lane<f32>(queries[head], turned + (head < own_heads ? head : 0) * Dimension);
    }
    PartialSum<numbers> own[pair_size];
    const auto add_key = [&](const float(&key)[numbers], const float(&value)[numbers], bool exists) {
#pragma unroll
      for (int head = 0; head < pair_size; ++head) {
        float score = 0;
#pragma unroll
        for (int i = 0; i < numbers; ++i) score += queries[head][i] * key[i];
        for (int distance = 1; distance < key_lanes; distance *= 2) {
          score += __shfl_xor_sync(~0u, score, distance);
        }
        if (exists) own[head].add(score, value);
      }
    };
    for (int first = begin + warp * warp_keys; first < end; first += decoding_warps * warp_keys) {
      const int key_row = first + lane / key_lanes;
      const bool exists = key_row < end;
      const i64 at = (i64)(exists ? key_row : first) * step;
      float key[numbers], value[numbers];
      read_lane<Element>(key, key_rows + at);
      read_lane<Element>(value, value_rows + at);
      add_key(key, value, exists);
    }
    if (is_last && warp == 0) {
      float key[numbers], value[numbers];
      read_lane<f32>(key, turned + pair_size * Dimension);
      read_lane<f32>(value, turned + (pair_size + 1) * Dimension);
      add_key(key, value, lane < key_lanes);
    }
    // The sums of a warp's keys, then of the warps.
    for (int head = 0; head < own_heads; ++head) {
      for (int distance = key_lanes; distance < warp_threads; distance *= 2) own[head].add_lane(distance);
      if (lane < key_lanes) {
#pragma unroll
        for (int i = 0; i < numbers; ++i) {
          sums[warp * Dimension + i / 8 * 8 * key_lanes + lane * 8 + i % 8] = own[head].outputs[i];
        }
      }
      if (lane == 0) {
        place.shares[warp] = own[head].greatest;
        place.shares[decoding_warps + warp] = own[head].weights;
      }
      meet();
      if (threadIdx.x < Dimension) {
        float greatest = -infinity;
        for (int i = 0; i < decoding_warps; ++i) greatest = fmaxf(greatest, place.shares[i]);
        float output = 0, weights = 0;
        for (int i = 0; i < decoding_warps; ++i) {
          const float factor = exp2f(place.shares[i] - greatest);
          output += factor * sums[i * Dimension + threadIdx.x];
          weights += factor * place.shares[decoding_warps + i];
        }
        const int at = first_head + head;
        if (parts.count == 1) {
          publish(stage.output + at * Dimension + threadIdx.x, output / weights, tag);
        } else {
          u64 *sum = stage.sums + (i64)(at * stage.splits + part) * (Dimension + 2);
          publish(sum + threadIdx.x, output, tag);
          if (threadIdx.x == 0) {
            publish(sum + Dimension, greatest, tag);
            publish(sum + Dimension + 1, weights, tag);
          }
        }
      }
      meet();
    }
  }
}

// Adds the parts of each head; nothing is left to do where there was one.
SELDOM void merge_parts(const DecodingStage &stage, int position, u32 tag) {
  const Parts parts(position + 1, stage.splits);
  if (parts.count == 1) return;
  const int dimension = stage.key_dimension;
  for (int head = blockIdx.x; head < stage.heads; head += gridDim.x) {
    if (threadIdx.x >= dimension) continue;
    const u64 *sums = stage.sums + (i64)head * stage.splits * (dimension + 2);
    constexpr int reach = 8;
    float greatest = -infinity, output = 0, weights = 0;
    for (int first = 0; first < parts.count; first += reach) {
      TaggedNumber outputs[reach], greatests[reach], sums_of_weights[reach];
#pragma unroll
      for (int n = 0; n < reach; ++n) {
        if (first + n >= parts.count) break;
        const u64 *sum = sums + (first + n) * (dimension + 2);
        outputs[n].start(sum + threadIdx.x);
        greatests[n].start(sum + dimension);
        sums_of_weights[n].start(sum + dimension + 1);
      }
#pragma unroll
      for (int n = 0; n < reach; ++n) {
        if (first + n >= parts.count) break;
        const u64 *sum = sums + (first + n) * (dimension + 2);
        const float next = greatests[n].await(sum + dimension, tag);
        const float most = fmaxf(greatest, next);
        const float before = exp2f(greatest - most), factor = exp2f(next - most);
        output = output * before + factor * outputs[n].await(sum + threadIdx.x, tag);
        weights = weights * before + factor * sums_of_weights[n].await(sum + dimension + 1, tag);
        greatest = most;
      }
    }
    publish(stage.output + head * dimension + threadIdx.x, output / weights, tag);
  }
}

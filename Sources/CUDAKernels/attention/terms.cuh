#pragma once

#include "attention/mask.cuh"

// What is done to scaled scores before the mask, in this order; a term that is absent has a null
// pointer, and no cap is 0.
struct Terms {
  float softcap;             // c tanh(s / c)
  int unused;                // to a multiple of eight bytes
  const float *slopes;       // [heads]: − slope |distance|
  const float *bias;         // + bias, at these strides in elements
  i64 bias_batch;
  i64 bias_head;
  i64 bias_query;
  i64 bias_key;
  const float2 *decay_sums;  // [batch, heads, length]: + c_i − c_j, each in two parts
};

// A score with its terms, and what it changes by with the score that it was.
struct TermScore {
  float score;
  float slope;
};

// The terms of one head of a sequence.
struct HeadTerms {
  float softcap;
  float slope;
  int place;
  const float *bias;
  i64 bias_query;
  i64 bias_key;
  const float2 *decay_sums;

  __device__ HeadTerms(const Terms &t, const Segment &s, int head, int heads, int length) {
    softcap = t.softcap;
    slope = t.slopes ? t.slopes[head] : 0;
    place = s.place;
    bias_query = t.bias_query;
    bias_key = t.bias_key;
    bias = t.bias ? t.bias + s.batch * t.bias_batch + head * t.bias_head +
                        s.query_start * t.bias_query + s.key_start * t.bias_key
                  : nullptr;
    decay_sums = t.decay_sums
                     ? t.decay_sums + ((i64)s.batch * heads + head) * length + s.query_start
                     : nullptr;
  }

  // The score of a pair that exists.
  __device__ TermScore apply(float score, int query, int key) const {
    TermScore result = {score, 1};
    if (softcap > 0) {
      const float share = tanhf(score / softcap);
      result = {softcap * share, 1 - share * share};
    }
    result.score -= slope * fabsf((float)(query + place - key));
    if (bias) result.score += bias[query * bias_query + key * bias_key];
    if (decay_sums) {
      // Long sums differ by little: their large parts are subtracted first.
      const float2 at_query = decay_sums[query];
      const float2 at_key = decay_sums[key];
      result.score += (at_query.x - at_key.x) + (at_query.y - at_key.y);
    }
    return result;
  }
};

#pragma once

#include "attention/mask.cuh"

// Compiled with
//   BIAS   bf16, f16, f64 or flag: the bias's element type, float32 if undefined

// The element types of a bias, and their conversion to a summand.
namespace bias_elements {
struct f32 {
  using Number = float;
  DEVICE float widen(float number) { return number; }
};
using ::bf16;
using ::f16;
struct f64 {
  using Number = double;
  DEVICE float widen(double number) { return (float)number; }
};
// A boolean mask: nonzero where the query may attend to the key.
struct flag {
  using Number = u8;
  DEVICE float widen(u8 number) { return number ? 0 : -infinity; }
};
}  // namespace bias_elements

#ifdef BIAS
using BiasElement = bias_elements::BIAS;
#else
using BiasElement = bias_elements::f32;
#endif
using BiasNumber = BiasElement::Number;

#include "attention/terms.h"

using DecaySum = AttentionDecaySum;
using Terms = AttentionTerms;

// The sums of a head's logit decays at the tokens of a sequence; null if there are none.
DEVICE const DecaySum *decay_sums_of(const Terms &t, const Segment &s, int head, int heads, int length) {
  return t.decay_sums ? t.decay_sums + ((i64)s.batch * heads + head) * length + s.query_start : nullptr;
}

// A score with its terms, and its derivative with respect to the score without them.
struct TermScore {
  float score;
  float slope;
};

// The terms of one head of a sequence.
struct HeadTerms {
  float softcap;
  float slope;
  int place;
  const BiasNumber *bias;
  i64 bias_query;
  i64 bias_key;
  const DecaySum *decay_sums;

  __device__ HeadTerms(const Terms &t, const Segment &s, int head, int heads, int length) {
    softcap = t.softcap;
    slope = t.slopes ? t.slopes[head] : 0;
    place = s.place;
    bias_query = t.bias_query;
    bias_key = t.bias_key;
    bias = t.bias ? t.bias + s.batch * t.bias_batch + head * t.bias_head +
                        s.query_start * t.bias_query + s.key_start * t.bias_key
                  : nullptr;
    decay_sums = decay_sums_of(t, s, head, heads, length);
  }

  // Applies the terms to the score of a pair that exists.
  __device__ TermScore apply(float score, int query, int key) const {
    TermScore result = {score, 1};
    if (softcap > 0) {
      const float share = tanhf(score / softcap);
      result = {softcap * share, 1 - share * share};
    }
    result.score -= slope * fabsf((float)(query + place - key));
    const float added = bias ? BiasElement::widen(bias[query * bias_query + key * bias_key]) : 0;
    if (bias) {
      result.score += added;
      // A sum that overflows becomes the largest finite number: only a bias of −∞ masks a pair.
      if (fabsf(result.score) == infinity && fabsf(added) < infinity) {
        result.score = copysignf(largest_number, result.score);
      }
    }
    if (decay_sums) {
      // The difference of two large sums may be small, so their large parts are subtracted first.
      const DecaySum at_query = decay_sums[query];
      const DecaySum at_key = decay_sums[key];
      result.score += (at_query.large - at_key.large) + (at_query.rest - at_key.rest);
      if (at_query.cuts != at_key.cuts) result.score = -infinity;
    }
    // A bias of −∞ masks the pair even if the score is NaN.
    if (added == -infinity) result.score = -infinity;
    return result;
  }
};

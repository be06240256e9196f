// Vectors of VECTOR_BYTES bytes and the functions on them. Included once per instruction set.
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "../include/CPUKernels.h"

#pragma clang fp contract(fast)

#define LANES (VECTOR_BYTES / 4)

typedef float vf __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t vi __attribute__((vector_size(VECTOR_BYTES)));
typedef float vf_unaligned __attribute__((vector_size(VECTOR_BYTES), aligned(4)));

#define INLINE static inline __attribute__((always_inline))

INLINE vf v_load(const float *p) { return *(const vf_unaligned *)p; }
INLINE void v_store(float *p, vf x) { *(vf_unaligned *)p = x; }
INLINE vf v_set(float x) { return x - (vf){0}; }
INLINE vf v_select(vi mask, vf yes, vf no) {
  return (vf)((mask & (vi)yes) | (~mask & (vi)no));
}
INLINE vf v_max(vf a, vf b) { return __builtin_elementwise_max(a, b); }
INLINE vf v_min(vf a, vf b) { return __builtin_elementwise_min(a, b); }
INLINE vf v_abs(vf a) { return __builtin_elementwise_abs(a); }
INLINE vf v_sqrt(vf a) { return __builtin_elementwise_sqrt(a); }

// The first `n` < LANES elements; the others read as `fill`.
INLINE vf v_load_part(const float *p, size_t n, float fill) {
  float buffer[LANES];
  for (size_t i = 0; i < LANES; i++) buffer[i] = fill;
  memcpy(buffer, p, n * sizeof(float));
  return v_load(buffer);
}
INLINE void v_store_part(float *p, vf x, size_t n) {
  float buffer[LANES];
  v_store(buffer, x);
  memcpy(p, buffer, n * sizeof(float));
}

INLINE float v_sum(vf x) {
  float total = 0;
  float lane[LANES];
  v_store(lane, x);
  for (size_t width = LANES / 2; width > 0; width /= 2)
    for (size_t i = 0; i < width; i++) lane[i] += lane[i + width];
  total = lane[0];
  return total;
}
INLINE float v_maximum(vf x) {
  float lane[LANES];
  v_store(lane, x);
  for (size_t width = LANES / 2; width > 0; width /= 2)
    for (size_t i = 0; i < width; i++)
      lane[i] = lane[i] > lane[i + width] ? lane[i] : lane[i + width];
  return lane[0];
}

// e^r for |r| <= ln(2)/2, then times 2^(t as an integer); t holds the integer plus 1.5 * 2^23.
INLINE vf v_exp_core(vf x, vf *two_to_n) {
  const float magic = 12582912.0f, log2e = 1.44269504088896341f;
  const float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
  vf t = x * log2e + magic;
  vf n = t - magic;
  vf r = x - n * ln2_high;
  r = r - n * ln2_low;
  vf p = v_set(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  *two_to_n = (vf)(((vi)t << 23) + 0x3F800000);
  return p;
}

// e^x for x <= 0. Below the smallest normal number, and for -inf, the result is 0.
INLINE vf v_exp_nonpositive(vf x) {
  vf clamped = v_max(x, v_set(-87.336544f)), power;
  vf p = v_exp_core(clamped, &power) * power;
  return v_select(x < v_set(-87.336544f), (vf){0}, p);
}

// e^x for every x; NaN stays NaN.
INLINE vf v_exp(vf x) {
  vf clamped = v_min(v_max(x, v_set(-87.336544f)), v_set(88.0f)), power;
  vf excess = v_min(x, v_set(90.0f)) - clamped;
  vf p = v_exp_core(clamped, &power) * power;
  // e^excess for excess in (0, 2] by its series: only x above 88 get here.
  vf e = 1.0f + excess * (1.0f + excess * (0.5f + excess * (1.0f / 6 + excess * (1.0f / 24))));
  p = v_select(x > v_set(88.0f), p * e, p);
  p = v_select(x > v_set(88.7228317f), v_set(INFINITY), p);
  p = v_select(x < v_set(-87.336544f), (vf){0}, p);
  return v_select(x != x, x, p);
}

// The natural logarithm of x > 0, normal. Zero gives -inf, negative numbers NaN.
INLINE vf v_log(vf x) {
  vi bits = (vi)x;
  vi e = ((bits - 0x3F3504F3) >> 23);
  vf m = (vf)(bits - (e << 23)) - 1.0f;
  vf n = __builtin_convertvector(e, vf);
  vf z = m * m;
  vf p = v_set(7.0376836292e-2f);
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  vf y = p * m * z;
  y = y + n * -2.12194440e-4f;
  y = y - 0.5f * z;
  vf result = m + y;
  result = result + n * 0.693359375f;
  result = v_select(x == (vf){0}, v_set(-INFINITY), result);
  result = v_select(x < (vf){0}, v_set(NAN), result);
  result = v_select(x == v_set(INFINITY), x, result);
  return v_select(x != x, x, result);
}

INLINE vf v_sigmoid(vf x) { return 1.0f / (1.0f + v_exp(-x)); }
INLINE vf v_tanh(vf x) {
  // Near zero the quotient loses digits; the odd series does not.
  vf z = x * x;
  vf small = x + x * z * (-1.0f / 3 + z * (2.0f / 15 + z * (-17.0f / 315 + z * (62.0f / 2835))));
  vf e = v_exp_nonpositive(-2.0f * v_abs(x));
  vf large = (1.0f - e) / (1.0f + e);
  large = v_select(x < (vf){0}, -large, large);
  vf result = v_select(v_abs(x) < v_set(0.25f), small, large);
  return v_select(x != x, x, result);
}
INLINE vf v_log_sigmoid(vf x) {
  // min(x, 0) - log(1 + e^-|x|), the logarithm by its series where e^-|x| is small.
  vf e = v_exp_nonpositive(-v_abs(x));
  vf series = e * (1.0f - e * (0.5f - e * (1.0f / 3)));
  vf log1p = v_select(e < v_set(0.01f), series, v_log(1.0f + e));
  vf result = v_min(x, (vf){0}) - log1p;
  return v_select(x != x, x, result);
}

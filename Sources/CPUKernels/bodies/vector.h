// Vectors of VECTOR_BYTES bytes and functions on them. Included once per instruction set.
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "../prefetch_queue.h"
#include "../include/CPUKernels.h"

#pragma clang fp contract(fast)

#define LANES (VECTOR_BYTES / 4)
#ifndef HAS_BFLOAT16_DOT
#define HAS_BFLOAT16_DOT 0
#endif

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
// One instruction each: b where a or b is NaN, so a limit is passed as a to let NaN through.
INLINE vf v_max(vf a, vf b) { return v_select(a > b, a, b); }
INLINE vf v_min(vf a, vf b) { return v_select(a < b, a, b); }
// The larger of a and b; NaN if either is.
INLINE vf v_max_or_nan(vf a, vf b) { return v_select((a > b) | (a != a), a, b); }
INLINE vf v_abs(vf a) { return __builtin_elementwise_abs(a); }
INLINE vf v_sqrt(vf a) { return __builtin_elementwise_sqrt(a); }

// With `past_caches`, a non-temporal store, for data that will have left the caches before it is read.
INLINE void v_store_past(float *p, vf x, int past_caches) {
  if (past_caches && (uintptr_t)p % VECTOR_BYTES == 0)
    __builtin_nontemporal_store(x, (vf *)p);
  else
    v_store(p, x);
}
// Makes non-temporal stores visible to other threads.
INLINE void end_stores(int past_caches) {
#if defined(__x86_64__)
  if (past_caches) __builtin_ia32_sfence();
#else
  (void)past_caches;
#endif
}

// The first `n` < LANES elements; the other lanes are `fill`.
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

#if HAS_BFLOAT16_DOT
// Two vectors rounded to bfloat16, the first in the lower half.
INLINE void v_store_bf16(uint16_t *p, vf low, vf high) {
  __m512bh x = _mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
  memcpy(p, &x, sizeof x);
}
#endif

// The sum of the lanes by halves, in a fixed order.
INLINE float v_sum(vf x) {
#if VECTOR_BYTES == 64
  return _mm512_reduce_add_ps((__m512)x);
#else
  float lane[LANES];
  v_store(lane, x);
  for (size_t width = LANES / 2; width > 0; width /= 2)
    for (size_t i = 0; i < width; i++) lane[i] += lane[i + width];
  return lane[0];
#endif
}
// The largest lane; any lane if one is NaN.
INLINE float v_maximum(vf x) {
#if VECTOR_BYTES == 64
  return _mm512_reduce_max_ps((__m512)x);
#else
  float lane[LANES];
  v_store(lane, x);
  for (size_t width = LANES / 2; width > 0; width /= 2)
    for (size_t i = 0; i < width; i++)
      lane[i] = lane[i] > lane[i + width] ? lane[i] : lane[i + width];
  return lane[0];
#endif
}
INLINE float v_maximum_or_nan(vf x) {
  float lane[LANES];
  v_store(lane, x);
  for (size_t width = LANES / 2; width > 0; width /= 2)
    for (size_t i = 0; i < width; i++)
      if (!(lane[i] > lane[i + width] || lane[i] != lane[i])) lane[i] = lane[i + width];
  return lane[0];
}

// e^r - 1 for |r| <= ln(2)/2.
INLINE vf v_expm1_small(vf r) {
  vf p = v_set(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  return p * (r * r) + r;
}

// e^r with r the remainder of x and its nearest multiple n of ln(2): |r| <= ln(2)/2. The integer n is
// in the low bits of rounded, a float that holds n + 1.5 * 2^23.
INLINE vf v_exp_core(vf x, vf *rounded) {
  const float magic = 12582912.0f, log2e = 1.44269504088896341f;
  const float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
  vf t = x * log2e + magic;
  vf n = t - magic;
  vf r = x - n * ln2_high;
  r = r - n * ln2_low;
  *rounded = t;
  return v_expm1_small(r) + 1.0f;
}

// The smallest x whose e^x is a normal number.
#define EXP_SMALLEST_NORMAL -87.336544f

// e^x for x <= 0. Below the smallest normal number, and for -inf, the result is 0; NaN stays NaN.
INLINE vf v_exp_nonpositive(vf x) {
  vf t, p = v_exp_core(v_max(v_set(EXP_SMALLEST_NORMAL), x), &t);
  p *= (vf)(((vi)t << 23) + 0x3F800000);
  return v_select(x < v_set(EXP_SMALLEST_NORMAL), (vf){0}, p);
}

// 2^t where the result is at most about 1: the inner step of a softmax. -inf gives 0, and NaN stays
// NaN. The relative error is below 2.5e-7.
INLINE vf v_power_of_two(vf t) {
#if VECTOR_BYTES == 64
  // t = n + r, 0 <= r < 1: one instruction gives r, one multiplies by 2^n.
  vf r = (vf)_mm512_reduce_ps((__m512)t, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  vf p = v_set(1.877576695e-3f);
  p = p * r + 8.989340626e-3f;
  p = p * r + 5.582631752e-2f;
  p = p * r + 2.401536107e-1f;
  p = p * r + 6.931530833e-1f;
  p = p * r + 9.999999404e-1f;
  return (vf)_mm512_scalef_ps((__m512)p, (__m512)t);
#else
  // t = n + r, |r| <= 1/2, by adding and subtracting a number whose last bit is worth 1.
  const float magic = 12582912.0f, smallest = -126.0f;
  vf clamped = v_max(v_set(smallest), t);
  vf shifted = clamped + magic;
  vf r = clamped - (shifted - magic);
  vf p = v_set(1.327647245e-3f);
  p = p * r + 9.675541893e-3f;
  p = p * r + 5.550713092e-2f;
  p = p * r + 2.402212024e-1f;
  p = p * r + 6.931469440e-1f;
  p = p * r + 1.000000119f;
  p *= (vf)(((vi)shifted << 23) + 0x3F800000);
  return v_select(t < v_set(smallest), (vf){0}, p);
#endif
}

// e^x for every x, with subnormal results; NaN stays NaN.
INLINE vf v_exp(vf x) {
  // Beyond these limits the result is 0 or infinite.
  vf t, p = v_exp_core(v_min(v_set(89.0f), v_max(v_set(-104.0f), x)), &t);
  // 2^n itself may overflow or underflow, so it is applied in two halves.
  vi n = (vi)t - (vi)v_set(12582912.0f), half = n >> 1;
  p *= (vf)((half + 127) << 23);
  return p * (vf)((n - half + 127) << 23);
}

// The natural logarithm. Zero gives -inf, negative numbers and NaN give NaN.
INLINE vf v_log(vf x) {
  // Subnormal numbers are first scaled by 2^23.
  vi is_subnormal = x < v_set(1.17549435e-38f);
  vi bits = (vi)v_select(is_subnormal, x * 8388608.0f, x);
  vi e = (bits - 0x3F3504F3) >> 23;
  vf m = (vf)(bits - (e << 23)) - 1.0f;
  vf n = __builtin_convertvector(e - (is_subnormal & 23), vf);
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
  // Infinity and NaN are their own results.
  return v_select(x < v_set(INFINITY), result, x);
}

// e^x - 1 without cancellation near 0.
INLINE vf v_expm1(vf x) {
  // Up to this limit the series is e^x - 1 itself; beyond, the difference loses at most two bits.
  vi is_small = v_abs(x) < v_set(0.34657359f);
  return v_select(is_small, v_expm1_small(x), v_exp(x) - 1.0f);
}
// log(1 + x) without loss near 0.
INLINE vf v_log1p(vf x) {
  // The rounding error of 1 + x is added to the logarithm, unless the sum is zero or infinite.
  vf u = 1.0f + x;
  vf lost = (x - (u - 1.0f)) / u;
  return v_log(u) + v_select(v_abs(lost) < v_set(1), lost, (vf){0});
}

INLINE vf v_sigmoid(vf x) { return 1.0f / (1.0f + v_exp(-x)); }
INLINE vf v_tanh(vf x) {
  // Near zero the quotient loses digits; the odd series does not.
  vf z = x * x;
  vf small = x + x * z * (-1.0f / 3 + z * (2.0f / 15 + z * (-17.0f / 315 + z * (62.0f / 2835))));
  vf e = v_exp_nonpositive(-2.0f * v_abs(x));
  vf large = (1.0f - e) / (1.0f + e);
  large = v_select(x < (vf){0}, -large, large);
  return v_select(v_abs(x) < v_set(0.25f), small, large);
}
// The complementary error function.
//
// For z = |x| it is t e^(-z*z + p(t)) with t = 1 / (1 + z/2) and the polynomial p of Press et al., Numerical
// recipes, which is off by at most 1.2e-7 of the result.
INLINE vf v_erfc(vf x) {
  // Beyond 20 the result is 0 or 2.
  vf z = v_min(v_set(20.0f), v_abs(x));
  vf t = 1.0f / (1.0f + 0.5f * z);
  vf p = v_set(0.17087277f);
  p = p * t - 0.82215223f;
  p = p * t + 1.48851587f;
  p = p * t - 1.13520398f;
  p = p * t + 0.27886807f;
  p = p * t - 0.18628806f;
  p = p * t + 0.09678418f;
  p = p * t + 0.37409196f;
  p = p * t + 1.00002368f;
  p = p * t - 1.26551223f;
  // Rounding a large z * z would cost its exponential digits: the square of the upper half of z is exact.
  vf high = (vf)((vi)z & ~0xFFF);
  vf tail = t * v_exp(-high * high) * v_exp((high - z) * (high + z) + p);
  tail = v_select(x < (vf){0}, 2.0f - tail, tail);
  // Near zero 1 - erf(x), by the series of erf.
  const float two_over_root_pi = 1.12837916709551257f;
  vf q = x * x;
  vf series = 1.0f - q * (1.0f / 3 - q * (1.0f / 10 - q * (1.0f / 42 - q * (1.0f / 216))));
  return v_select(v_abs(x) < v_set(0.25f), 1.0f - two_over_root_pi * x * series, tail);
}
INLINE vf v_log_sigmoid(vf x) {
  // min(x, 0) - log(1 + e) with e = e^-|x|; the rounding error of 1 + e is added to the logarithm.
  vf e = v_exp_nonpositive(-v_abs(x));
  vf u = 1.0f + e;
  return v_min((vf){0}, x) - (v_log(u) + (e - (u - 1.0f)) / u);
}

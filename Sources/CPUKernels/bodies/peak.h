// A core's peak rate: multiply-adds in registers only, in enough independent chains to fill the
// pipelines. One round is 2 * PEAK_CHAINS * LANES operations.
#define PEAK_CHAINS 12

// The sum makes the result depend on every multiply-add; with |a| < 1 the chains stay finite.
static float multiply_adds(size_t rounds, float a, float b) {
  vf chain[PEAK_CHAINS];
  vf x = v_set(a), y = v_set(b);
#pragma unroll
  for (size_t i = 0; i < PEAK_CHAINS; i++) chain[i] = v_set((float)i);
  for (size_t round = 0; round < rounds; round++)
#pragma unroll
    for (size_t i = 0; i < PEAK_CHAINS; i++) chain[i] = chain[i] * x + y;
  vf sum = (vf){0};
#pragma unroll
  for (size_t i = 0; i < PEAK_CHAINS; i++) sum += chain[i];
  return v_sum(sum);
}

#if HAS_BFLOAT16_DOT
// The same for dot products of bfloat16 pairs: a round is 4 * PEAK_CHAINS * LANES operations.
static float dot_pairs(size_t rounds, uint16_t a, uint16_t b) {
  __m512 chain[PEAK_CHAINS];
  __m512bh x = (__m512bh)_mm512_set1_epi16((short)a), y = (__m512bh)_mm512_set1_epi16((short)b);
#pragma unroll
  for (size_t i = 0; i < PEAK_CHAINS; i++) chain[i] = _mm512_setzero_ps();
  for (size_t round = 0; round < rounds; round++)
#pragma unroll
    for (size_t i = 0; i < PEAK_CHAINS; i++) chain[i] = _mm512_dpbf16_ps(chain[i], x, y);
  vf sum = (vf){0};
#pragma unroll
  for (size_t i = 0; i < PEAK_CHAINS; i++) sum += (vf)chain[i];
  return v_sum(sum);
}
#endif

// Decaying a vector, and loading and storing rows of any element type: the building blocks of the scans.

// h * 2^t as whole + whole * part, with the power of two in `whole`. For t near 0 no digits are lost
// if the increment of the state is first added to the small product: then a state that hardly decays
// is neither multiplied by a rounded factor nor rounded twice per token. 2^t is 0 far below the
// smallest number and for -inf; NaN stays NaN.
INLINE vf v_decay_split(vf h, vf t, vf *part) {
#if VECTOR_BYTES == 64
  // For infinite t the remainder is 0.
  enum { NEAREST = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC };
  vf n = (vf)_mm512_roundscale_ps((__m512)t, NEAREST);
  vf r = (vf)_mm512_reduce_ps((__m512)t, NEAREST);
#else
  // Beyond these limits 2^t is 0, or infinite.
  const float lowest = -127.0f, highest = 128.0f;
  t = v_min(v_set(highest), v_max(v_set(lowest), t));
  // Rounds by adding and subtracting a number whose last bit is worth 1.
  const float magic = 12582912.0f;
  vf shifted = t + magic;
  vf n = shifted - magic;
  vf r = t - n;
#endif
  // 2^r - 1 with |r| <= 1/2.
  vf p = v_set(1.539838995e-4f);
  p = p * r + 1.338776783e-3f;
  p = p * r + 9.618247859e-3f;
  p = p * r + 5.550366640e-2f;
  p = p * r + 2.402264923e-1f;
  p = p * r + 6.931471825e-1f;
  *part = p * r;
#if VECTOR_BYTES == 64
  return (vf)_mm512_scalef_ps((__m512)h, (__m512)n);
#else
  return h * (vf)(((vi)shifted << 23) + 0x3F800000);
#endif
}

// h * 2^t + x
INLINE vf v_decay_add(vf h, vf t, vf x) {
  vf part, whole = v_decay_split(h, t, &part);
  return whole + (whole * part + x);
}

#define LOG2_E 1.44269504088896341f

// The first `n` <= LANES elements of a row from element i on; the other lanes are 0.
INLINE vf v_load_part_as(cpu_float_type type, const void *row, size_t i, size_t n) {
  if (n == LANES) return v_load_as(type, row, i);
  float buffer[LANES] = {0};
  for (size_t j = 0; j < n; j++) buffer[j] = load_as(type, row, i + j);
  return v_load(buffer);
}
INLINE void store_as(cpu_float_type type, void *row, size_t i, float x) {
  if (type == CPU_F32)
    ((float *)row)[i] = x;
  else if (type == CPU_BF16)
    ((uint16_t *)row)[i] = float_to_bf16(x);
  else
    ((_Float16 *)row)[i] = (_Float16)x;
}
// Stores the first `n` <= LANES elements of x to a row from element i on; with `past_caches`, by
// non-temporal stores.
INLINE void v_store_part_as(cpu_float_type type, void *row, size_t i, vf x, size_t n,
                            int past_caches) {
  if (n < LANES) {
    float buffer[LANES];
    v_store(buffer, x);
    for (size_t j = 0; j < n; j++) store_as(type, row, i + j, buffer[j]);
  } else if (type == CPU_F32) {
    v_store_past((float *)row + i, x, past_caches);
#if HAS_BFLOAT16_DOT
  } else if (type == CPU_BF16) {
    __m256bh y = _mm512_cvtneps_pbh((__m512)x);
    memcpy((uint16_t *)row + i, &y, sizeof y);
#endif
  } else if (type == CPU_BF16) {
    typedef uint16_t half __attribute__((vector_size(VECTOR_BYTES / 2)));
    typedef uint32_t bits __attribute__((vector_size(VECTOR_BYTES)));
    bits b = (bits)x;
    bits rounded = (b + 0x7FFF + ((b >> 16) & 1)) >> 16;
    vi is_nan = x != x;
    rounded = ((bits)~is_nan & rounded) | ((bits)is_nan & ((b >> 16) | 0x40));
    half y = __builtin_convertvector(rounded, half);
    memcpy((uint16_t *)row + i, &y, sizeof y);
  } else {
    typedef _Float16 half __attribute__((vector_size(VECTOR_BYTES / 2)));
    half y = __builtin_convertvector(x, half);
    memcpy((_Float16 *)row + i, &y, sizeof y);
  }
}
// Stores two vectors to a row from element i on. In bfloat16 they are one whole vector, for which
// non-temporal stores exist too.
INLINE void v_store_two_as(cpu_float_type type, void *row, size_t i, vf low, vf high,
                           int past_caches) {
#if HAS_BFLOAT16_DOT
  if (type == CPU_BF16) {
    vf both = (vf)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
    v_store_past((float *)((uint16_t *)row + i), both, past_caches);
    return;
  }
#endif
  v_store_part_as(type, row, i, low, LANES, past_caches);
  v_store_part_as(type, row, i + LANES, high, LANES, past_caches);
}
INLINE void *row_of(cpu_float_type type, void *b, ptrdiff_t offset) {
  return (char *)b + offset * (type == CPU_F32 ? 4 : 2);
}

// Loads and stores `part` <= LANES floats.
INLINE vf load_state(const float *h, size_t part) {
  return part == LANES ? v_load(h) : v_load_part(h, part, 0);
}
INLINE void store_state(float *h, vf x, size_t part) {
  if (part == LANES)
    v_store(h, x);
  else
    v_store_part(h, x, part);
}

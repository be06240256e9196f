// Products of few rows with a long matrix that is read once, where it lies, in its own dtype: the
// memory is what they wait for, so lines are asked for ahead of their use.

// LANES numbers of a row of `type` (a constant at each call) from element i on, as float32.
INLINE vf v_load_as(cpu_float_type type, const void *row, size_t i) {
  if (type == CPU_F32) return v_load((const float *)row + i);
  if (type == CPU_BF16) {
    typedef uint16_t half __attribute__((vector_size(VECTOR_BYTES / 2)));
    half x;
    memcpy(&x, (const uint16_t *)row + i, sizeof x);
    return (vf)(__builtin_convertvector(x, vi) << 16);
  }
  typedef _Float16 half __attribute__((vector_size(VECTOR_BYTES / 2)));
  half x;
  memcpy(&x, (const _Float16 *)row + i, sizeof x);
  return __builtin_convertvector(x, vf);
}
INLINE float load_as(cpu_float_type type, const void *row, size_t i) {
  if (type == CPU_F32) return ((const float *)row)[i];
  if (type == CPU_BF16) return bf16_to_float(((const uint16_t *)row)[i]);
  return (float)((const _Float16 *)row)[i];
}
INLINE const void *row_at(cpu_float_type type, const void *b, ptrdiff_t offset) {
  return (const char *)b + offset * (type == CPU_F32 ? 4 : 2);
}

// How many rows ahead a line is asked for.
#define ROWS_AHEAD 64
#define CACHE_LINE 64

INLINE void prefetch_row(cpu_float_type type, const void *row, size_t n) {
  size_t bytes = n * (type == CPU_F32 ? 4 : 2);
  for (size_t i = 0; i < bytes; i += CACHE_LINE) __builtin_prefetch((const char *)row + i, 0, 2);
}

#if VECTOR_BYTES == 64
// The sums of sixteen vectors as the lanes of one.
INLINE vf v_sums(const vf a[16]) {
  __m512 pair[8], quad[4], half[2];
#pragma unroll
  for (size_t i = 0; i < 8; i++)
    pair[i] = _mm512_add_ps(_mm512_unpacklo_ps((__m512)a[2 * i], (__m512)a[2 * i + 1]),
                            _mm512_unpackhi_ps((__m512)a[2 * i], (__m512)a[2 * i + 1]));
#pragma unroll
  for (size_t i = 0; i < 4; i++) {
    __m512d x = (__m512d)pair[2 * i], y = (__m512d)pair[2 * i + 1];
    quad[i] = _mm512_add_ps((__m512)_mm512_unpacklo_pd(x, y), (__m512)_mm512_unpackhi_pd(x, y));
  }
#pragma unroll
  for (size_t i = 0; i < 2; i++)
    half[i] = _mm512_add_ps(_mm512_shuffle_f32x4(quad[2 * i], quad[2 * i + 1], 0x88),
                            _mm512_shuffle_f32x4(quad[2 * i], quad[2 * i + 1], 0xDD));
  return (vf)_mm512_add_ps(_mm512_shuffle_f32x4(half[0], half[1], 0x88),
                           _mm512_shuffle_f32x4(half[0], half[1], 0xDD));
}
#endif

#if HAS_BFLOAT16_DOT
#define MOST_PAIRED_DEPTH 256

// The same in pairs of bfloat16, for a depth of whole vectors of pairs; returns the rows of B that
// are done. A is rounded.
INLINE size_t dot_rows_in_pairs(size_t m, size_t n, size_t k, const float *a, ptrdiff_t a_row,
                                const uint16_t *b, ptrdiff_t b_row, float *c, ptrdiff_t c_row) {
  if (k % (2 * LANES) != 0 || k > MOST_PAIRED_DEPTH) return 0;
  size_t done = n / LANES * LANES;
  for (size_t i = 0; i < m; i++) {
    uint16_t x[MOST_PAIRED_DEPTH];
    for (size_t p = 0; p < k; p += 2 * LANES)
      v_store_bf16(x + p, v_load(a + (ptrdiff_t)i * a_row + p),
                   v_load(a + (ptrdiff_t)i * a_row + p + LANES));
    for (size_t j = 0; j < done; j += LANES) {
      const uint16_t *y = b + (ptrdiff_t)j * b_row;
      if (i == 0)
        for (size_t r = 0; r < LANES; r++)
          prefetch_row(CPU_BF16, y + (ptrdiff_t)(r + ROWS_AHEAD) * b_row, k);
      vf sum[LANES];
#pragma unroll
      for (size_t r = 0; r < LANES; r++) sum[r] = (vf){0};
      for (size_t p = 0; p < k; p += 2 * LANES) {
        __m512bh u, w;
        memcpy(&u, x + p, sizeof u);
#pragma unroll
        for (size_t r = 0; r < LANES; r++) {
          memcpy(&w, y + (ptrdiff_t)r * b_row + p, sizeof w);
          sum[r] = (vf)_mm512_dpbf16_ps((__m512)sum[r], u, w);
        }
      }
      v_store(c + (ptrdiff_t)i * c_row + j, v_sums(sum));
    }
  }
  return done;
}
#endif

INLINE void dot_rows_of(cpu_float_type type, size_t m, size_t n, size_t k, const float *a,
                        ptrdiff_t a_row, const void *b, ptrdiff_t b_row, float *c,
                        ptrdiff_t c_row) {
  size_t j = 0;
#if HAS_BFLOAT16_DOT
  if (type == CPU_BF16) j = dot_rows_in_pairs(m, n, k, a, a_row, b, b_row, c, c_row);
#endif
#if VECTOR_BYTES == 64
  // Sixteen rows of B at a time, so that their sums are folded together.
  if (k % LANES == 0)
    for (; j + LANES <= n; j += LANES) {
      const void *y = row_at(type, b, (ptrdiff_t)j * b_row);
      for (size_t r = 0; r < LANES; r++)
        prefetch_row(type, row_at(type, y, (ptrdiff_t)(r + ROWS_AHEAD) * b_row), k);
      for (size_t i = 0; i < m; i++) {
        const float *x = a + (ptrdiff_t)i * a_row;
        vf sum[LANES];
#pragma unroll
        for (size_t r = 0; r < LANES; r++) sum[r] = (vf){0};
        for (size_t p = 0; p < k; p += LANES) {
          vf v = v_load(x + p);
#pragma unroll
          for (size_t r = 0; r < LANES; r++)
            sum[r] += v * v_load_as(type, row_at(type, y, (ptrdiff_t)r * b_row), p);
        }
        v_store(c + (ptrdiff_t)i * c_row + j, v_sums(sum));
      }
    }
#endif
  for (; j < n; j++) {
    const void *y = row_at(type, b, (ptrdiff_t)j * b_row);
    for (size_t i = 0; i < m; i++) {
      const float *x = a + (ptrdiff_t)i * a_row;
      vf sum = {0};
      size_t p = 0;
      for (; p + LANES <= k; p += LANES) sum += v_load(x + p) * v_load_as(type, y, p);
      float total = v_sum(sum);
      for (; p < k; p++) total += x[p] * load_as(type, y, p);
      c[(ptrdiff_t)i * c_row + j] = total;
    }
  }
}

static void dot_rows(cpu_float_type type, size_t m, size_t n, size_t k, const float *a,
                     ptrdiff_t a_row, const void *b, ptrdiff_t b_row, float *c, ptrdiff_t c_row) {
  if (type == CPU_F32) dot_rows_of(CPU_F32, m, n, k, a, a_row, b, b_row, c, c_row);
  else if (type == CPU_BF16) dot_rows_of(CPU_BF16, m, n, k, a, a_row, b, b_row, c, c_row);
  else dot_rows_of(CPU_F16, m, n, k, a, a_row, b, b_row, c, c_row);
}

// `rows` of C at LANES * `vectors` columns; both are constants at each call. `ahead` columns from
// here on are asked for in each row.
INLINE void add_rows_tile(cpu_float_type type, const size_t rows, const size_t vectors, size_t k,
                          const float *a, ptrdiff_t a_row, const void *b, ptrdiff_t b_row,
                          size_t ahead, float *c, ptrdiff_t c_row) {
  vf sum[8][4];
#pragma unroll
  for (size_t i = 0; i < rows; i++)
#pragma unroll
    for (size_t v = 0; v < vectors; v++) sum[i][v] = v_load(c + (ptrdiff_t)i * c_row + v * LANES);
  for (size_t p = 0; p < k; p++) {
    const void *y = row_at(type, b, (ptrdiff_t)p * b_row);
    if (ahead) prefetch_row(type, row_at(type, y, ROWS_AHEAD * b_row), ahead);
    vf x[4];
#pragma unroll
    for (size_t v = 0; v < vectors; v++) x[v] = v_load_as(type, y, v * LANES);
#pragma unroll
    for (size_t i = 0; i < rows; i++) {
      vf w = v_set(a[(ptrdiff_t)i * a_row + p]);
#pragma unroll
      for (size_t v = 0; v < vectors; v++) sum[i][v] += w * x[v];
    }
  }
#pragma unroll
  for (size_t i = 0; i < rows; i++)
#pragma unroll
    for (size_t v = 0; v < vectors; v++) v_store(c + (ptrdiff_t)i * c_row + v * LANES, sum[i][v]);
}

INLINE void product_rows_of(cpu_float_type type, size_t m, size_t n, size_t k, const float *a,
                            ptrdiff_t a_row, const void *b, ptrdiff_t b_row, float *c,
                            ptrdiff_t c_row) {
  for (size_t i = 0; i < m;) {
    // The first pass over B brings it near; later ones find it there.
    size_t ahead = i == 0 ? n : 0, j = 0;
    size_t rows = m - i >= 8 ? 8 : m - i >= 4 ? 4 : 1;
    const float *x = a + (ptrdiff_t)i * a_row;
    float *y = c + (ptrdiff_t)i * c_row;
    for (; rows == 8 && j + 2 * LANES <= n; j += 2 * LANES, ahead = 0)
      add_rows_tile(type, 8, 2, k, x, a_row, row_at(type, b, (ptrdiff_t)j), b_row, ahead, y + j,
                    c_row);
    for (; rows < 8 && j + 4 * LANES <= n; j += 4 * LANES, ahead = 0) {
      const void *z = row_at(type, b, (ptrdiff_t)j);
      if (rows == 4) add_rows_tile(type, 4, 4, k, x, a_row, z, b_row, ahead, y + j, c_row);
      else add_rows_tile(type, 1, 4, k, x, a_row, z, b_row, ahead, y + j, c_row);
    }
    for (; j + LANES <= n; j += LANES, ahead = 0) {
      const void *z = row_at(type, b, (ptrdiff_t)j);
      if (rows == 8) add_rows_tile(type, 8, 1, k, x, a_row, z, b_row, ahead, y + j, c_row);
      else if (rows == 4) add_rows_tile(type, 4, 1, k, x, a_row, z, b_row, ahead, y + j, c_row);
      else add_rows_tile(type, 1, 1, k, x, a_row, z, b_row, ahead, y + j, c_row);
    }
    if (j < n)
      for (size_t p = 0; p < k; p++)
        for (size_t r = 0; r < rows; r++)
          for (size_t e = j; e < n; e++)
            y[(ptrdiff_t)r * c_row + e] += x[(ptrdiff_t)r * a_row + p]
                                           * load_as(type, row_at(type, b, (ptrdiff_t)p * b_row), e);
    i += rows;
  }
}

static void product_rows(cpu_float_type type, size_t m, size_t n, size_t k, const float *a,
                         ptrdiff_t a_row, const void *b, ptrdiff_t b_row, float *c,
                         ptrdiff_t c_row) {
  if (type == CPU_F32) product_rows_of(CPU_F32, m, n, k, a, a_row, b, b_row, c, c_row);
  else if (type == CPU_BF16) product_rows_of(CPU_BF16, m, n, k, a, a_row, b, b_row, c, c_row);
  else product_rows_of(CPU_F16, m, n, k, a, a_row, b, b_row, c, c_row);
}

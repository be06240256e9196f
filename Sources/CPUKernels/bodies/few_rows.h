// Products of few rows with long matrices, which are read once, in place and in their own dtype: memory
// is the bottleneck. The matrices of all heads are read together, row by row, in the order of their
// memory, and prefetched in that order.

// LANES elements of a row of `type` (a constant at each call) from element i on, as float32.
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

// Prefetch distance: far enough that the hardware prefetcher recognises the stream.
#define BYTES_AHEAD 32768
#define CACHE_LINE 64

// The matrices B of all heads: element (i, j) of head h at b[h*head + i*row + j], `width` columns.
typedef struct {
  const void *b;
  ptrdiff_t head, row;
  size_t heads, width;
} head_rows;

// Head `h`'s share of prefetching the rows that follow `count` rows from `first` on.
INLINE void prefetch_share(cpu_float_type type, head_rows b, size_t h, size_t first, size_t count) {
  size_t bytes = b.width * (type == CPU_F32 ? 4 : 2), ahead = BYTES_AHEAD / (b.heads * bytes);
  if (ahead < count) ahead = count;
  first += ahead;
  for (size_t r = first + count * h / b.heads; r < first + count * (h + 1) / b.heads; r++)
    for (size_t i = 0; i < b.heads; i++) {
      const char *row = row_at(type, b.b, (ptrdiff_t)r * b.row + (ptrdiff_t)i * b.head);
      for (size_t byte = 0; byte < bytes; byte += CACHE_LINE)
        __builtin_prefetch(row + byte, 0, 2);
    }
}

INLINE size_t rows_at_once(size_t left) { return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1; }

// `rows` of C at LANES * `vectors` columns; both are constants at each call.
INLINE void add_rows_tile(cpu_float_type type, const size_t rows, const size_t vectors, size_t k,
                          const float *a, ptrdiff_t a_row, const void *b, ptrdiff_t b_row,
                          float *c, ptrdiff_t c_row) {
  vf sum[8][4];
#pragma unroll
  for (size_t i = 0; i < rows; i++)
#pragma unroll
    for (size_t v = 0; v < vectors; v++) sum[i][v] = v_load(c + (ptrdiff_t)i * c_row + v * LANES);
  for (size_t p = 0; p < k; p++) {
    const void *y = row_at(type, b, (ptrdiff_t)p * b_row);
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

#if HAS_BFLOAT16_DOT
// The most rows of B that are added in pairs at once.
#define MOST_PAIRED_ROWS 64

// The same for 2 * LANES columns of bfloat16 and k / 2 pairs of rows. The weights are rounded:
// w[i * MOST_PAIRED_ROWS + p].
INLINE void add_pairs_tile(const size_t rows, size_t k, const uint16_t *w, const uint16_t *b,
                           ptrdiff_t b_row, float *c, ptrdiff_t c_row) {
  // Interleaving two rows of B leaves columns 0-3, 8-11, … in one vector and the others in another.
  __m512 low[8], high[8];
#pragma unroll
  for (size_t i = 0; i < rows; i++) {
    __m512 x = _mm512_loadu_ps(c + (ptrdiff_t)i * c_row);
    __m512 y = _mm512_loadu_ps(c + (ptrdiff_t)i * c_row + LANES);
    low[i] = _mm512_shuffle_f32x4(x, y, 0x88), high[i] = _mm512_shuffle_f32x4(x, y, 0xDD);
  }
  for (size_t p = 0; p + 2 <= k; p += 2) {
    __m512i even = _mm512_loadu_si512(b + (ptrdiff_t)p * b_row);
    __m512i odd = _mm512_loadu_si512(b + (ptrdiff_t)(p + 1) * b_row);
    __m512bh first = (__m512bh)_mm512_unpacklo_epi16(even, odd);
    __m512bh second = (__m512bh)_mm512_unpackhi_epi16(even, odd);
#pragma unroll
    for (size_t i = 0; i < rows; i++) {
      __m512bh pair = v_pair(w + i * MOST_PAIRED_ROWS + p);
      low[i] = _mm512_dpbf16_ps(low[i], pair, first);
      high[i] = _mm512_dpbf16_ps(high[i], pair, second);
    }
  }
#pragma unroll
  for (size_t i = 0; i < rows; i++) {
    __m512 x = _mm512_shuffle_f32x4(low[i], high[i], 0x44);
    __m512 y = _mm512_shuffle_f32x4(low[i], high[i], 0xEE);
    _mm512_storeu_ps(c + (ptrdiff_t)i * c_row, _mm512_shuffle_f32x4(x, x, 0xD8));
    _mm512_storeu_ps(c + (ptrdiff_t)i * c_row + LANES, _mm512_shuffle_f32x4(y, y, 0xD8));
  }
}

// C += A B for whole pairs of rows and whole vectors of pairs; returns the number of rows of B done.
INLINE size_t add_pairs(size_t m, size_t n, size_t k, const float *a, ptrdiff_t a_row,
                        const uint16_t *b, ptrdiff_t b_row, float *c, ptrdiff_t c_row) {
  if (n % (2 * LANES) != 0 || k < 2) return 0;
  for (size_t i = 0; i < m;) {
    size_t rows = rows_at_once(m - i);
    uint16_t w[8 * MOST_PAIRED_ROWS];
    for (size_t r = 0; r < rows; r++)
      for (size_t p = 0; p < k; p += LANES) {
        const float *x = a + (ptrdiff_t)(i + r) * a_row + p;
        vf v = k - p < LANES ? v_load_part(x, k - p, 0) : v_load(x);
        __m256bh rounded = _mm512_cvtneps_pbh((__m512)v);
        memcpy(w + r * MOST_PAIRED_ROWS + p, &rounded, sizeof rounded);
      }
    for (size_t j = 0; j < n; j += 2 * LANES) {
      float *y = c + (ptrdiff_t)i * c_row + j;
      if (rows == 8) add_pairs_tile(8, k, w, b + j, b_row, y, c_row);
      else if (rows == 4) add_pairs_tile(4, k, w, b + j, b_row, y, c_row);
      else if (rows == 2) add_pairs_tile(2, k, w, b + j, b_row, y, c_row);
      else add_pairs_tile(1, k, w, b + j, b_row, y, c_row);
    }
    i += rows;
  }
  return k / 2 * 2;
}
#endif

// C += A B for one head, for so few rows of B that they stay in the nearest cache.
INLINE void add_rows_of(cpu_float_type type, size_t m, size_t n, size_t k, const float *a,
                        ptrdiff_t a_row, const void *b, ptrdiff_t b_row, float *c,
                        ptrdiff_t c_row) {
#if HAS_BFLOAT16_DOT
  if (type == CPU_BF16) {
    size_t done = add_pairs(m, n, k, a, a_row, b, b_row, c, c_row);
    a += done, k -= done, b = row_at(type, b, (ptrdiff_t)done * b_row);
    if (k == 0) return;
  }
#endif
  for (size_t i = 0; i < m;) {
    size_t j = 0, rows = rows_at_once(m - i);
    const float *x = a + (ptrdiff_t)i * a_row;
    float *y = c + (ptrdiff_t)i * c_row;
    for (; rows == 8 && j + 2 * LANES <= n; j += 2 * LANES)
      add_rows_tile(type, 8, 2, k, x, a_row, row_at(type, b, (ptrdiff_t)j), b_row, y + j, c_row);
    for (; rows < 8 && j + 4 * LANES <= n; j += 4 * LANES) {
      const void *z = row_at(type, b, (ptrdiff_t)j);
      if (rows == 4) add_rows_tile(type, 4, 4, k, x, a_row, z, b_row, y + j, c_row);
      else if (rows == 2) add_rows_tile(type, 2, 4, k, x, a_row, z, b_row, y + j, c_row);
      else add_rows_tile(type, 1, 4, k, x, a_row, z, b_row, y + j, c_row);
    }
    for (; j + LANES <= n; j += LANES) {
      const void *z = row_at(type, b, (ptrdiff_t)j);
      if (rows == 8) add_rows_tile(type, 8, 1, k, x, a_row, z, b_row, y + j, c_row);
      else if (rows == 4) add_rows_tile(type, 4, 1, k, x, a_row, z, b_row, y + j, c_row);
      else if (rows == 2) add_rows_tile(type, 2, 1, k, x, a_row, z, b_row, y + j, c_row);
      else add_rows_tile(type, 1, 1, k, x, a_row, z, b_row, y + j, c_row);
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

// The number of rows of B per head between switches to the next head: as many as the nearest cache holds
// for all heads, within limits.
INLINE size_t product_step(cpu_float_type type, head_rows b) {
  const size_t near = 32768, least = 16, most = 64;
  size_t rows = near / (b.heads * b.width * (type == CPU_F32 ? 4 : 2)) / least * least;
  return rows < least ? least : rows > most ? most : rows;
}

INLINE void product_rows_of(cpu_float_type type, size_t m, size_t k, const float *a,
                            ptrdiff_t a_head, ptrdiff_t a_row, head_rows b, float *c,
                            ptrdiff_t c_head, ptrdiff_t c_row) {
  size_t step = product_step(type, b);
  for (size_t p = 0; p < k; p += step) {
    size_t rows = k - p < step ? k - p : step;
    for (size_t h = 0; h < b.heads; h++) {
      prefetch_share(type, b, h, p, rows);
      add_rows_of(type, m, b.width, rows, a + (ptrdiff_t)h * a_head + p, a_row,
                  row_at(type, b.b, (ptrdiff_t)h * b.head + (ptrdiff_t)p * b.row), b.row,
                  c + (ptrdiff_t)h * c_head, c_row);
    }
  }
}

static void product_rows(cpu_float_type type, size_t heads, size_t m, size_t n, size_t k,
                         const float *a, ptrdiff_t a_head, ptrdiff_t a_row, const void *b,
                         ptrdiff_t b_head, ptrdiff_t b_row, float *c, ptrdiff_t c_head,
                         ptrdiff_t c_row) {
  if (n == 0) return;
  head_rows rows = {b, b_head, b_row, heads, n};
  if (type == CPU_F32) product_rows_of(CPU_F32, m, k, a, a_head, a_row, rows, c, c_head, c_row);
  else if (type == CPU_BF16)
    product_rows_of(CPU_BF16, m, k, a, a_head, a_row, rows, c, c_head, c_row);
  else product_rows_of(CPU_F16, m, k, a, a_head, a_row, rows, c, c_head, c_row);
}

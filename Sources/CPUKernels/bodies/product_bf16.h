// Products of bfloat16 matrices by dot products of pairs: each step of the depth takes two adjacent
// elements of A and of B. Tiles and panels are those of product.h with pairs as elements; sums are
// float32.
#if HAS_BFLOAT16_DOT

// Panels of B with element (p, j) at b[j*n_stride + p], where pairs are already adjacent.
static void pack_pairs_of_columns(size_t k, size_t n, const uint16_t *b, ptrdiff_t n_stride,
                                  uint16_t *panels, size_t panel_stride) {
  for (size_t j0 = 0; j0 < n; j0 += TILE_COLUMNS, panels += panel_stride) {
    size_t columns = n - j0 < TILE_COLUMNS ? n - j0 : TILE_COLUMNS, whole = 0;
    // A pair is a word of 32 bits; whole squares of words are transposed in registers.
    if (columns == TILE_COLUMNS)
      for (; whole + 2 * LANES <= k; whole += 2 * LANES)
        for (size_t j = 0; j < TILE_COLUMNS; j += LANES)
          transpose_square((const char *)(b + (ptrdiff_t)(j0 + j) * n_stride + whole), n_stride * 2,
                           (char *)(panels + whole * TILE_COLUMNS + 2 * j), TILE_COLUMNS * 4);
    for (size_t j = 0; j < TILE_COLUMNS && whole < k; j++) {
      const uint16_t *source = b + (ptrdiff_t)(j0 + j) * n_stride;
      uint16_t *target = panels + 2 * j;
      size_t p = whole;
      if (j < columns)
        for (; p + 2 <= k; p += 2) memcpy(target + p * TILE_COLUMNS, source + p, 4);
      for (; p < k; p += 2) {
        target[p * TILE_COLUMNS] = j < columns ? source[p] : 0;
        target[p * TILE_COLUMNS + 1] = j < columns && p + 1 < k ? source[p + 1] : 0;
      }
    }
  }
}

// Panels of B with element (p, j) at b[p*k_stride + j]: two rows are interleaved.
static void pack_pairs_of_rows(size_t k, size_t n, const uint16_t *b, ptrdiff_t k_stride,
                               uint16_t *panels, size_t panel_stride) {
  for (size_t j0 = 0; j0 < n; j0 += TILE_COLUMNS, panels += panel_stride) {
    size_t columns = n - j0 < TILE_COLUMNS ? n - j0 : TILE_COLUMNS;
    for (size_t p = 0; p < k; p += 2) {
      const uint16_t *even = b + (ptrdiff_t)p * k_stride + j0, *odd = even + k_stride;
      uint16_t *target = panels + p * TILE_COLUMNS;
      if (columns == TILE_COLUMNS && p + 1 < k) {
        for (size_t j = 0; j < TILE_COLUMNS; j++) {
          target[2 * j] = even[j];
          target[2 * j + 1] = odd[j];
        }
      } else {
        for (size_t j = 0; j < TILE_COLUMNS; j++) {
          target[2 * j] = j < columns ? even[j] : 0;
          target[2 * j + 1] = j < columns && p + 1 < k ? odd[j] : 0;
        }
      }
    }
  }
}

INLINE __m512bh v_pair(const uint16_t *p) {
  int32_t pair;
  memcpy(&pair, p, sizeof pair);
  return (__m512bh)_mm512_set1_epi32(pair);
}

// The counterpart of product_tile in product.h.
INLINE void pair_tile(const size_t rows, size_t pairs, const uint16_t *a, ptrdiff_t a_row,
                      ptrdiff_t a_pair, const uint16_t *b, float *c, ptrdiff_t c_row,
                      size_t columns, int accumulate, const char *ahead, size_t ahead_step,
                      prefetch_queue *queue) {
  __m512 sum[TILE_ROWS][TILE_VECTORS];
#pragma unroll
  for (size_t i = 0; i < rows; i++)
#pragma unroll
    for (size_t v = 0; v < TILE_VECTORS; v++) {
      sum[i][v] = _mm512_setzero_ps();
      if (accumulate) __builtin_prefetch(c + (ptrdiff_t)i * c_row + v * LANES, 1, 3);
    }
  for (size_t p = 0; p < pairs; p++, b += 2 * TILE_COLUMNS, a += a_pair) {
    __m512bh x[TILE_VECTORS];
    if (rows == TILE_ROWS) {
      __builtin_prefetch(ahead, 0, 2);
      ahead += ahead_step;
      fetch_next(queue);
    }
#pragma unroll
    for (size_t v = 0; v < TILE_VECTORS; v++) memcpy(&x[v], b + 2 * v * LANES, 64);
#pragma unroll
    for (size_t i = 0; i < rows; i++) {
      __m512bh y = v_pair(a + (ptrdiff_t)i * a_row);
#pragma unroll
      for (size_t v = 0; v < TILE_VECTORS; v++) sum[i][v] = _mm512_dpbf16_ps(sum[i][v], y, x[v]);
    }
  }
#pragma unroll
  for (size_t i = 0; i < rows; i++) {
    float *p = c + (ptrdiff_t)i * c_row, buffer[TILE_COLUMNS];
    if (columns == TILE_COLUMNS) {
#pragma unroll
      for (size_t v = 0; v < TILE_VECTORS; v++) {
        vf total = (vf)sum[i][v];
        v_store(p + v * LANES, accumulate ? v_load(p + v * LANES) + total : total);
      }
    } else {
#pragma unroll
      for (size_t v = 0; v < TILE_VECTORS; v++) v_store(buffer + v * LANES, (vf)sum[i][v]);
      for (size_t j = 0; j < columns; j++) p[j] = accumulate ? p[j] + buffer[j] : buffer[j];
    }
  }
}

static void product_pairs(size_t m, size_t n, size_t k, const uint16_t *a, ptrdiff_t a_row,
                          ptrdiff_t a_pair, const uint16_t *panels, size_t panel_stride, float *c,
                          ptrdiff_t c_row, ptrdiff_t c_panel, int accumulate) {
  size_t pairs = (k + 1) / 2;
  prefetch_queue *queue = &cpu_prefetch_queue;
  for (size_t j0 = 0; j0 < n; j0 += TILE_COLUMNS, panels += panel_stride, c += c_panel) {
    size_t columns = n - j0 < TILE_COLUMNS ? n - j0 : TILE_COLUMNS, i = 0;
    const char *ahead = (const char *)(panels + 2 * pairs * TILE_COLUMNS);
    size_t step = TILE_COLUMNS * sizeof(float) / (m < TILE_ROWS ? 1 : m / TILE_ROWS);
    for (; i + TILE_ROWS <= m; i += TILE_ROWS, ahead += pairs * step)
      pair_tile(TILE_ROWS, pairs, a + (ptrdiff_t)i * a_row, a_row, a_pair, panels,
                c + (ptrdiff_t)i * c_row, c_row, columns, accumulate, ahead, step, queue);
    for (; i < m; i++)
      pair_tile(1, pairs, a + (ptrdiff_t)i * a_row, a_row, a_pair, panels, c + (ptrdiff_t)i * c_row,
                c_row, columns, accumulate, NULL, 0, queue);
  }
}

// Adjacent elements of a row of A are a pair.
static void product_bf16(size_t m, size_t n, size_t k, const uint16_t *a, ptrdiff_t a_row,
                         const uint16_t *panels, size_t panel_stride, float *c, ptrdiff_t c_row,
                         ptrdiff_t c_panel, int accumulate) {
  product_pairs(m, n, k, a, a_row, 2, panels, panel_stride, c, c_row, c_panel, accumulate);
}
#endif

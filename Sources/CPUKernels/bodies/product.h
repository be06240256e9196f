// Products of a matrix with a packed one. A tile of TILE_ROWS by TILE_COLUMNS sums stays in registers:
// TILE_COLUMNS is TILE_VECTORS vectors; A is read by broadcast and never packed.
#define TILE_COLUMNS (TILE_VECTORS * LANES)

// y[c*y_stride + r] = x[r*x_stride + c] for a square of LANES 32-bit words, in registers; strides are in
// bytes.
#if VECTOR_BYTES == 64
INLINE void transpose_square(const char *x, ptrdiff_t x_stride, char *y, ptrdiff_t y_stride) {
  __m512i row[16], pair[16];
#pragma unroll
  for (size_t i = 0; i < 16; i++) row[i] = _mm512_loadu_si512(x + (ptrdiff_t)i * x_stride);
#pragma unroll
  for (size_t i = 0; i < 16; i += 2) {
    pair[i] = _mm512_unpacklo_epi32(row[i], row[i + 1]);
    pair[i + 1] = _mm512_unpackhi_epi32(row[i], row[i + 1]);
  }
  // Each quarter of a vector has the words of one column and four rows.
#pragma unroll
  for (size_t i = 0; i < 16; i += 4) {
    row[i] = _mm512_unpacklo_epi64(pair[i], pair[i + 2]);
    row[i + 1] = _mm512_unpackhi_epi64(pair[i], pair[i + 2]);
    row[i + 2] = _mm512_unpacklo_epi64(pair[i + 1], pair[i + 3]);
    row[i + 3] = _mm512_unpackhi_epi64(pair[i + 1], pair[i + 3]);
  }
#pragma unroll
  for (size_t i = 0; i < 4; i++) {
    __m512i a = _mm512_shuffle_i32x4(row[i], row[i + 4], 0x88);
    __m512i b = _mm512_shuffle_i32x4(row[i + 8], row[i + 12], 0x88);
    __m512i c = _mm512_shuffle_i32x4(row[i], row[i + 4], 0xDD);
    __m512i d = _mm512_shuffle_i32x4(row[i + 8], row[i + 12], 0xDD);
    _mm512_storeu_si512(y + (ptrdiff_t)i * y_stride, _mm512_shuffle_i32x4(a, b, 0x88));
    _mm512_storeu_si512(y + (ptrdiff_t)(i + 4) * y_stride, _mm512_shuffle_i32x4(c, d, 0x88));
    _mm512_storeu_si512(y + (ptrdiff_t)(i + 8) * y_stride, _mm512_shuffle_i32x4(a, b, 0xDD));
    _mm512_storeu_si512(y + (ptrdiff_t)(i + 12) * y_stride, _mm512_shuffle_i32x4(c, d, 0xDD));
  }
}
#elif VECTOR_BYTES == 32
INLINE void transpose_square(const char *x, ptrdiff_t x_stride, char *y, ptrdiff_t y_stride) {
  vf row[8], pair[8];
#pragma unroll
  for (size_t i = 0; i < 8; i++) row[i] = v_load((const float *)(x + (ptrdiff_t)i * x_stride));
#pragma unroll
  for (size_t i = 0; i < 8; i += 2) {
    pair[i] = __builtin_shufflevector(row[i], row[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    pair[i + 1] = __builtin_shufflevector(row[i], row[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  // Each half of a vector has the words of one column and four rows.
#pragma unroll
  for (size_t i = 0; i < 8; i += 4)
#pragma unroll
    for (size_t n = 0; n < 2; n++) {
      vf a = pair[i + n], b = pair[i + n + 2];
      row[i + 2 * n] = __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13);
      row[i + 2 * n + 1] = __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
    }
#pragma unroll
  for (size_t i = 0; i < 4; i++) {
    vf low = __builtin_shufflevector(row[i], row[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    vf high = __builtin_shufflevector(row[i], row[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    v_store((float *)(y + (ptrdiff_t)i * y_stride), low);
    v_store((float *)(y + (ptrdiff_t)(i + 4) * y_stride), high);
  }
}
#else
INLINE void transpose_square(const char *x, ptrdiff_t x_stride, char *y, ptrdiff_t y_stride) {
  vf row[4], pair[4];
#pragma unroll
  for (size_t i = 0; i < 4; i++) row[i] = v_load((const float *)(x + (ptrdiff_t)i * x_stride));
#pragma unroll
  for (size_t i = 0; i < 2; i++) {
    pair[2 * i] = __builtin_shufflevector(row[i], row[i + 2], 0, 4, 1, 5);
    pair[2 * i + 1] = __builtin_shufflevector(row[i], row[i + 2], 2, 6, 3, 7);
  }
#pragma unroll
  for (size_t i = 0; i < 2; i++) {
    vf low = __builtin_shufflevector(pair[i], pair[i + 2], 0, 4, 1, 5);
    vf high = __builtin_shufflevector(pair[i], pair[i + 2], 2, 6, 3, 7);
    v_store((float *)(y + (ptrdiff_t)(2 * i) * y_stride), low);
    v_store((float *)(y + (ptrdiff_t)(2 * i + 1) * y_stride), high);
  }
}
#endif

static void pack(size_t k, size_t n, const float *b, ptrdiff_t k_stride, ptrdiff_t n_stride,
                 float *panels, size_t panel_stride) {
  for (size_t j0 = 0; j0 < n; j0 += TILE_COLUMNS, panels += panel_stride) {
    size_t columns = n - j0 < TILE_COLUMNS ? n - j0 : TILE_COLUMNS;
    const float *source = b + (ptrdiff_t)j0 * n_stride;
    if (columns < TILE_COLUMNS)
      for (size_t i = 0; i < k; i++)
        for (size_t j = columns; j < TILE_COLUMNS; j++) panels[i * TILE_COLUMNS + j] = 0;
    if (n_stride == 1) {
      if (columns == TILE_COLUMNS) {
        for (size_t i = 0; i < k; i++) {
          const float *row = source + (ptrdiff_t)i * k_stride;
          for (size_t v = 0; v < TILE_VECTORS; v++)
            v_store(panels + i * TILE_COLUMNS + v * LANES, v_load(row + v * LANES));
        }
      } else {
        for (size_t i = 0; i < k; i++)
          memcpy(panels + i * TILE_COLUMNS, source + (ptrdiff_t)i * k_stride,
                 columns * sizeof(float));
      }
    } else {
      size_t i = 0;
      if (k_stride == 1 && columns == TILE_COLUMNS)
        for (; i + LANES <= k; i += LANES)
          for (size_t j = 0; j < TILE_COLUMNS; j += LANES)
            transpose_square((const char *)(source + (ptrdiff_t)j * n_stride + i), n_stride * 4,
                             (char *)(panels + i * TILE_COLUMNS + j), TILE_COLUMNS * 4);
      // Four rows at a time, so that each cache line of the panel is visited less often.
      for (; i + 4 <= k; i += 4)
        for (size_t j = 0; j < columns; j++) {
          const float *p = source + (ptrdiff_t)j * n_stride + (ptrdiff_t)i * k_stride;
          float *q = panels + i * TILE_COLUMNS + j;
          q[0] = p[0];
          q[TILE_COLUMNS] = p[k_stride];
          q[2 * TILE_COLUMNS] = p[2 * k_stride];
          q[3 * TILE_COLUMNS] = p[3 * k_stride];
        }
      for (; i < k; i++)
        for (size_t j = 0; j < columns; j++)
          panels[i * TILE_COLUMNS + j] = source[(ptrdiff_t)j * n_stride + (ptrdiff_t)i * k_stride];
    }
  }
}

// Steps of the depth per line taken from the thread's prefetch queue.
#define STEPS_PER_LINE 2

// One tile of `rows` <= TILE_ROWS rows, a constant at each call so that the loops unroll. A whole
// tile prefetches from `ahead` on, `ahead_step` bytes per step.
INLINE void product_tile(const size_t rows, size_t k, const float *a, ptrdiff_t a_row,
                         ptrdiff_t a_column, const float *b, float *c, ptrdiff_t c_row,
                         size_t columns, int accumulate, const char *ahead, size_t ahead_step,
                         prefetch_queue *queue) {
  vf sum[TILE_ROWS][TILE_VECTORS];
#pragma unroll
  for (size_t i = 0; i < rows; i++)
#pragma unroll
    for (size_t v = 0; v < TILE_VECTORS; v++) {
      sum[i][v] = (vf){0};
      // Loaded when the loop is done.
      if (accumulate) __builtin_prefetch(c + (ptrdiff_t)i * c_row + v * LANES, 1, 3);
    }
  for (size_t p = 0; p < k; p++, b += TILE_COLUMNS, a += a_column) {
    vf x[TILE_VECTORS];
    if (rows == TILE_ROWS) {
      __builtin_prefetch(ahead, 0, 2);
      ahead += ahead_step;
      if (p % STEPS_PER_LINE == 0) fetch_next(queue);
    }
#pragma unroll
    for (size_t v = 0; v < TILE_VECTORS; v++) x[v] = v_load(b + v * LANES);
#pragma unroll
    for (size_t i = 0; i < rows; i++) {
      vf y = v_set(a[(ptrdiff_t)i * a_row]);
#pragma unroll
      for (size_t v = 0; v < TILE_VECTORS; v++) sum[i][v] += y * x[v];
    }
  }
  if (columns == TILE_COLUMNS) {
#pragma unroll
    for (size_t i = 0; i < rows; i++)
#pragma unroll
      for (size_t v = 0; v < TILE_VECTORS; v++) {
        float *p = c + (ptrdiff_t)i * c_row + v * LANES;
        v_store(p, accumulate ? v_load(p) + sum[i][v] : sum[i][v]);
      }
  } else {
    float buffer[TILE_COLUMNS];
#pragma unroll
    for (size_t i = 0; i < rows; i++) {
#pragma unroll
      for (size_t v = 0; v < TILE_VECTORS; v++) v_store(buffer + v * LANES, sum[i][v]);
      float *p = c + (ptrdiff_t)i * c_row;
      for (size_t j = 0; j < columns; j++) p[j] = accumulate ? p[j] + buffer[j] : buffer[j];
    }
  }
}

static void product(size_t m, size_t n, size_t k, const float *a, ptrdiff_t a_row,
                    ptrdiff_t a_column, const float *panels, size_t panel_stride, float *c,
                    ptrdiff_t c_row, ptrdiff_t c_panel, int accumulate) {
  prefetch_queue *queue = &cpu_prefetch_queue;
  for (size_t j0 = 0; j0 < n; j0 += TILE_COLUMNS, panels += panel_stride, c += c_panel) {
    size_t columns = n - j0 < TILE_COLUMNS ? n - j0 : TILE_COLUMNS;
    size_t i = 0;
    const float *x = a;
    float *y = c;
    // The memory that follows is used next: the next panel, or the rows of this one that a later call
    // reads. The tiles of rows share its prefetches.
    const char *ahead = (const char *)(panels + k * TILE_COLUMNS);
    size_t step = TILE_COLUMNS * sizeof(float) / (m < TILE_ROWS ? 1 : m / TILE_ROWS);
    for (; i + TILE_ROWS <= m; i += TILE_ROWS, x += TILE_ROWS * a_row, y += TILE_ROWS * c_row) {
      product_tile(TILE_ROWS, k, x, a_row, a_column, panels, y, c_row, columns, accumulate, ahead,
                   step, queue);
      ahead += k * step;
    }
    if (i + TILE_ROWS / 2 <= m) {
      product_tile(TILE_ROWS / 2, k, x, a_row, a_column, panels, y, c_row, columns, accumulate,
                   NULL, 0, queue);
      i += TILE_ROWS / 2, x += TILE_ROWS / 2 * a_row, y += TILE_ROWS / 2 * c_row;
    }
    for (; i < m; i++, x += a_row, y += c_row)
      product_tile(1, k, x, a_row, a_column, panels, y, c_row, columns, accumulate, NULL, 0, queue);
  }
}

static void vector_matrix(size_t n, size_t k, const float *x, const float *b, ptrdiff_t k_stride,
                          ptrdiff_t n_stride, float *y) {
  if (k_stride == 1) {
    for (size_t j = 0; j < n; j++) y[j] = row_dot(k, x, b + (ptrdiff_t)j * n_stride);
  } else if (n_stride == 1) {
    memset(y, 0, n * sizeof(float));
    for (size_t p = 0; p < k; p++) axpy(n, x[p], b + (ptrdiff_t)p * k_stride, y);
  } else {
    for (size_t j = 0; j < n; j++) {
      float total = 0;
      for (size_t p = 0; p < k; p++)
        total += x[p] * b[(ptrdiff_t)p * k_stride + (ptrdiff_t)j * n_stride];
      y[j] = total;
    }
  }
}

static void matmul_f64(size_t m, size_t n, size_t k, const double *a, ptrdiff_t a_row,
                       ptrdiff_t a_column, const double *b, ptrdiff_t b_row, ptrdiff_t b_column,
                       double *restrict c) {
  for (size_t i = 0; i < m; i++) {
    double *row = c + i * n;
    for (size_t j = 0; j < n; j++) row[j] = 0;
    for (size_t p = 0; p < k; p++) {
      double x = a[(ptrdiff_t)i * a_row + (ptrdiff_t)p * a_column];
      const double *y = b + (ptrdiff_t)p * b_row;
      for (size_t j = 0; j < n; j++) row[j] += x * y[(ptrdiff_t)j * b_column];
    }
  }
}

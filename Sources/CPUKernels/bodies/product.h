// Products of a matrix with a packed one. The tile of TILE_ROWS by TILE_COLUMNS sums lives in
// registers: TILE_COLUMNS is TILE_VECTORS vectors, A is read by broadcast and never packed.
#define TILE_COLUMNS (TILE_VECTORS * LANES)

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
      // Four rows at a time, so that each cache line of the panel is written in few visits.
      size_t i = 0;
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

// One tile of `rows` <= TILE_ROWS rows, a constant at each call so that the loops unroll. Rows of B
// lie b_row apart; a panel's rows one behind the other.
INLINE void product_tile(const size_t rows, size_t k, const float *a, ptrdiff_t a_row,
                         ptrdiff_t a_column, const float *b, ptrdiff_t b_row, float *c,
                         ptrdiff_t c_row, size_t columns, int accumulate) {
  vf sum[TILE_ROWS][TILE_VECTORS];
#pragma unroll
  for (size_t i = 0; i < rows; i++)
#pragma unroll
    for (size_t v = 0; v < TILE_VECTORS; v++) sum[i][v] = (vf){0};
  for (size_t p = 0; p < k; p++, b += b_row, a += a_column) {
    vf x[TILE_VECTORS];
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
  for (size_t j0 = 0; j0 < n; j0 += TILE_COLUMNS, panels += panel_stride, c += c_panel) {
    size_t columns = n - j0 < TILE_COLUMNS ? n - j0 : TILE_COLUMNS;
    size_t i = 0;
    const float *x = a;
    float *y = c;
    for (; i + TILE_ROWS <= m; i += TILE_ROWS, x += TILE_ROWS * a_row, y += TILE_ROWS * c_row)
      product_tile(TILE_ROWS, k, x, a_row, a_column, panels, TILE_COLUMNS, y, c_row, columns,
                   accumulate);
    if (i + TILE_ROWS / 2 <= m) {
      product_tile(TILE_ROWS / 2, k, x, a_row, a_column, panels, TILE_COLUMNS, y, c_row, columns,
                   accumulate);
      i += TILE_ROWS / 2, x += TILE_ROWS / 2 * a_row, y += TILE_ROWS / 2 * c_row;
    }
    for (; i < m; i++, x += a_row, y += c_row)
      product_tile(1, k, x, a_row, a_column, panels, TILE_COLUMNS, y, c_row, columns,
                   accumulate);
  }
}

static void product_rows(size_t m, size_t n, size_t k, const float *a, ptrdiff_t a_row,
                         const float *b, ptrdiff_t b_row, float *c, ptrdiff_t c_row) {
  size_t whole = n / TILE_COLUMNS * TILE_COLUMNS;
  for (size_t j = 0; j < whole; j += TILE_COLUMNS) {
    size_t i = 0;
    for (; i + TILE_ROWS <= m; i += TILE_ROWS)
      product_tile(TILE_ROWS, k, a + (ptrdiff_t)i * a_row, a_row, 1, b + j, b_row,
                   c + (ptrdiff_t)i * c_row + j, c_row, TILE_COLUMNS, 1);
    for (; i < m; i++)
      product_tile(1, k, a + (ptrdiff_t)i * a_row, a_row, 1, b + j, b_row,
                   c + (ptrdiff_t)i * c_row + j, c_row, TILE_COLUMNS, 1);
  }
  if (whole == n) return;
  for (size_t p = 0; p < k; p++)
    for (size_t i = 0; i < m; i++)
      axpy(n - whole, a[(ptrdiff_t)i * a_row + p], b + (ptrdiff_t)p * b_row + whole,
           c + (ptrdiff_t)i * c_row + whole);
}

#if VECTOR_BYTES == 64
// The sums of sixteen vectors as the lanes of one.
INLINE __m512 v_sums(const __m512 a[16]) {
  __m512 pair[8], quad[4], half[2];
#pragma unroll
  for (size_t i = 0; i < 8; i++)
    pair[i] = _mm512_add_ps(_mm512_unpacklo_ps(a[2 * i], a[2 * i + 1]),
                            _mm512_unpackhi_ps(a[2 * i], a[2 * i + 1]));
#pragma unroll
  for (size_t i = 0; i < 4; i++) {
    __m512d x = (__m512d)pair[2 * i], y = (__m512d)pair[2 * i + 1];
    quad[i] = _mm512_add_ps((__m512)_mm512_unpacklo_pd(x, y), (__m512)_mm512_unpackhi_pd(x, y));
  }
#pragma unroll
  for (size_t i = 0; i < 2; i++)
    half[i] = _mm512_add_ps(_mm512_shuffle_f32x4(quad[2 * i], quad[2 * i + 1], 0x88),
                            _mm512_shuffle_f32x4(quad[2 * i], quad[2 * i + 1], 0xDD));
  return _mm512_add_ps(_mm512_shuffle_f32x4(half[0], half[1], 0x88),
                       _mm512_shuffle_f32x4(half[0], half[1], 0xDD));
}
#endif

static void dot_rows(size_t m, size_t n, size_t k, const float *a, ptrdiff_t a_row,
                     const float *b, ptrdiff_t b_row, float *c, ptrdiff_t c_row) {
  size_t j = 0;
#if VECTOR_BYTES == 64
  // Sixteen rows of B at a time, so that their sums are folded together.
  if (k % LANES == 0)
    for (; j + LANES <= n; j += LANES)
      for (size_t i = 0; i < m; i++) {
        const float *x = a + (ptrdiff_t)i * a_row, *y = b + (ptrdiff_t)j * b_row;
        __m512 sum[LANES];
#pragma unroll
        for (size_t r = 0; r < LANES; r++) sum[r] = _mm512_setzero_ps();
        for (size_t p = 0; p < k; p += LANES) {
          __m512 v = _mm512_loadu_ps(x + p);
#pragma unroll
          for (size_t r = 0; r < LANES; r++)
            sum[r] = _mm512_fmadd_ps(v, _mm512_loadu_ps(y + (ptrdiff_t)r * b_row + p), sum[r]);
        }
        _mm512_storeu_ps(c + (ptrdiff_t)i * c_row + j, v_sums(sum));
      }
#endif
  for (; j < n; j++)
    for (size_t i = 0; i < m; i++)
      c[(ptrdiff_t)i * c_row + j] = row_dot(k, a + (ptrdiff_t)i * a_row, b + (ptrdiff_t)j * b_row);
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

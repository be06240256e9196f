// Operands of bfloat16 products, rounded from float32 while they are packed into pairs.
#if HAS_BFLOAT16_DOT

// Column j of two rows as words, row `a` in the lower half, as in panels of pairs.
INLINE void store_interleaved(uint16_t *y, vf a, vf b) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,
                                         23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  __m512i pair = (__m512i)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a);
  _mm512_storeu_si512(y, _mm512_permutexvar_epi16(order, pair));
}

static void pair_rows(size_t rows, size_t columns, const float *x, size_t x_stride, uint16_t *y,
                      size_t y_stride) {
  for (size_t r = 0; r < rows; r += 2, y += y_stride) {
    const float *even = x + r * x_stride, *odd = even + x_stride;
    int is_whole = r + 1 < rows;
    size_t j = 0;
    for (; j + LANES <= columns; j += LANES)
      store_interleaved(y + 2 * j, v_load(even + j), is_whole ? v_load(odd + j) : (vf){0});
    if (j < columns) {
      uint16_t buffer[2 * LANES];
      size_t part = columns - j;
      store_interleaved(buffer, v_load_part(even + j, part, 0),
                        is_whole ? v_load_part(odd + j, part, 0) : (vf){0});
      memcpy(y + 2 * j, buffer, 4 * part);
    }
  }
}

static void round_rows(size_t rows, size_t columns, const float *x, size_t x_stride, uint16_t *y,
                       size_t y_stride) {
  for (size_t r = 0; r < rows; r++, x += x_stride, y += y_stride) {
    size_t j = 0;
    for (; j + 2 * LANES <= columns; j += 2 * LANES)
      v_store_bf16(y + j, v_load(x + j), v_load(x + j + LANES));
    if (j < columns) {
      float rest[2 * LANES] = {0};
      uint16_t buffer[2 * LANES];
      memcpy(rest, x + j, (columns - j) * sizeof(float));
      v_store_bf16(buffer, v_load(rest), v_load(rest + LANES));
      memcpy(y + j, buffer, (columns - j + columns % 2) * sizeof *y);
    }
  }
}

static void pack_rounded(size_t k, size_t n, const float *b, ptrdiff_t k_stride, ptrdiff_t n_stride,
                         uint16_t *panels, size_t panel_stride) {
  enum { SLAB = 4 * LANES };
  for (size_t j0 = 0; j0 < n; j0 += TILE_COLUMNS, panels += panel_stride) {
    size_t columns = n - j0 < TILE_COLUMNS ? n - j0 : TILE_COLUMNS;
    const float *source = b + (ptrdiff_t)j0 * n_stride;
    if (n_stride == 1) {
      if (columns < TILE_COLUMNS) memset(panels, 0, (k + k % 2) * TILE_COLUMNS * sizeof *panels);
      pair_rows(k, columns, source, (size_t)k_stride, panels, 2 * TILE_COLUMNS);
      continue;
    }
    // Columns of B are rows of memory: a slab of them is rounded, then transposed.
    for (size_t p = 0; p < k; p += SLAB) {
      uint16_t slab[TILE_COLUMNS * SLAB];
      size_t depth = k - p < SLAB ? k - p : SLAB;
      round_rows(columns, depth, source + p, (size_t)n_stride, slab, SLAB);
      pack_pairs_of_columns(depth, columns, slab, SLAB, panels + p * TILE_COLUMNS, 0);
    }
  }
}
#endif

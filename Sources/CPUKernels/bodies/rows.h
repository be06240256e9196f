// Gathers rows of any element type into contiguous float32 rows, and scatters them back.

INLINE void load_rows_of(const cpu_float_type type, size_t rows, size_t columns, const void *x,
                         ptrdiff_t x_row, float factor, float *y) {
  for (size_t r = 0; r < rows; r++, y += columns) {
    const void *row = row_at(type, x, (ptrdiff_t)r * x_row);
    for (size_t i = 0; i < columns; i += LANES) {
      size_t part = columns - i < LANES ? columns - i : LANES;
      store_state(y + i, v_load_part_as(type, row, i, part) * factor, part);
    }
  }
}

static void load_rows(cpu_float_type type, size_t rows, size_t columns, const void *x,
                      ptrdiff_t x_row, float factor, float *y) {
  if (type == CPU_F32)
    load_rows_of(CPU_F32, rows, columns, x, x_row, factor, y);
  else if (type == CPU_BF16)
    load_rows_of(CPU_BF16, rows, columns, x, x_row, factor, y);
  else
    load_rows_of(CPU_F16, rows, columns, x, x_row, factor, y);
}

INLINE void store_rows_of(const cpu_float_type type, int past_caches, size_t rows, size_t columns,
                          const float *x, void *y, ptrdiff_t y_row) {
  for (size_t r = 0; r < rows; r++, x += columns) {
    void *row = row_of(type, y, (ptrdiff_t)r * y_row);
    size_t i = 0;
    for (; i + 2 * LANES <= columns; i += 2 * LANES)
      v_store_two_as(type, row, i, v_load(x + i), v_load(x + i + LANES), past_caches);
    for (; i < columns; i += LANES) {
      size_t part = columns - i < LANES ? columns - i : LANES;
      v_store_part_as(type, row, i, load_state(x + i, part), part, past_caches);
    }
  }
}

static void store_rows(cpu_float_type type, int past_caches, size_t rows, size_t columns,
                       const float *x, void *y, ptrdiff_t y_row) {
  if (type == CPU_F32)
    store_rows_of(CPU_F32, past_caches, rows, columns, x, y, y_row);
  else if (type == CPU_BF16)
    store_rows_of(CPU_BF16, past_caches, rows, columns, x, y, y_row);
  else
    store_rows_of(CPU_F16, past_caches, rows, columns, x, y, y_row);
  end_stores(past_caches);
}

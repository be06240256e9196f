// Products whose left operand selects: where it is zero, the right one is ignored. Masked memory may
// hold NaN and infinity, which a factor of zero does not remove.

// Whether all elements of the rows are finite: 0 * x is 0 then, and NaN otherwise.
INLINE int rows_are_finite_of(const cpu_float_type type, size_t rows, size_t columns, const void *x,
                              ptrdiff_t x_row) {
  vf total = {0};
  for (size_t r = 0; r < rows; r++) {
    const void *row = row_at(type, x, (ptrdiff_t)r * x_row);
    for (size_t i = 0; i < columns; i += LANES) {
      size_t part = columns - i < LANES ? columns - i : LANES;
      total += v_load_part_as(type, row, i, part) * 0.0f;
    }
  }
  return v_sum(total) == 0;
}

static int rows_are_finite(cpu_float_type type, size_t rows, size_t columns, const void *x,
                           ptrdiff_t x_row) {
  if (type == CPU_F32) return rows_are_finite_of(CPU_F32, rows, columns, x, x_row);
  if (type == CPU_BF16) return rows_are_finite_of(CPU_BF16, rows, columns, x, x_row);
  return rows_are_finite_of(CPU_F16, rows, columns, x, x_row);
}

static void add_selected(size_t m, size_t n, size_t k, const float *a, ptrdiff_t a_row,
                         ptrdiff_t a_column, const float *b, ptrdiff_t b_row, float *c,
                         ptrdiff_t c_row) {
  for (size_t i = 0; i < m; i++, a += a_row, c += c_row)
    for (size_t p = 0; p < k; p++) {
      float weight = a[(ptrdiff_t)p * a_column];
      if (weight != 0) axpy(n, weight, b + (ptrdiff_t)p * b_row, c);
    }
}

// One vector of columns of `solve_lower`, all its rows in registers.
enum { SOLVE_ROWS = 16 };

INLINE void solve_in_registers(const int transposed, const float *l, size_t l_stride, float *x,
                               size_t x_stride) {
  vf row[SOLVE_ROWS];
#pragma unroll
  for (size_t i = 0; i < SOLVE_ROWS; i++) row[i] = v_load(x + i * x_stride);
  // Each row is subtracted from the others as soon as it is solved: those do not wait for each other.
  if (transposed) {
#pragma unroll
    for (size_t j = SOLVE_ROWS - 1; j > 0; j--)
#pragma unroll
      for (size_t i = 0; i < j; i++) row[i] += l[j * l_stride + i] * row[j];
  } else {
#pragma unroll
    for (size_t j = 0; j < SOLVE_ROWS; j++)
#pragma unroll
      for (size_t i = j + 1; i < SOLVE_ROWS; i++) row[i] += l[i * l_stride + j] * row[j];
  }
#pragma unroll
  for (size_t i = 0; i < SOLVE_ROWS; i++) v_store(x + i * x_stride, row[i]);
}

static void solve_lower(size_t rows, size_t columns, const float *l, size_t l_stride,
                        int transposed, float *x, size_t x_stride) {
  size_t c = 0;
  if (rows == SOLVE_ROWS)
    for (; c + LANES <= columns; c += LANES) {
      if (transposed)
        solve_in_registers(1, l, l_stride, x + c, x_stride);
      else
        solve_in_registers(0, l, l_stride, x + c, x_stride);
    }
  for (size_t n = 1; n < rows; n++) {
    size_t i = transposed ? rows - 1 - n : n;
    for (size_t m = 0; m < n; m++) {
      size_t j = transposed ? rows - 1 - m : m;
      float factor = transposed ? l[j * l_stride + i] : l[i * l_stride + j];
      for (size_t d = c; d < columns; d++) x[i * x_stride + d] += factor * x[j * x_stride + d];
    }
  }
}

static void add_products(size_t n, float alpha, const float *x, const float *y, float *z) {
  for (size_t i = 0; i < n; i++) z[i] += alpha * x[i] * y[i];
}

static void sum_around(size_t rows, size_t columns, const float *through, const float *earlier,
                       const float *later, float *sums) {
  if (rows == 0) return;
  memcpy(sums, through, columns * sizeof(float));
  for (size_t t = 1; t < rows; t++) {
    const float *before = sums + (t - 1) * columns, *x = earlier + (t - 1) * columns;
    for (size_t d = 0; d < columns; d++) sums[t * columns + d] = before[d] + x[d];
  }
  for (size_t d0 = 0; d0 < columns; d0 += LANES) {
    size_t width = columns - d0 < LANES ? columns - d0 : LANES;
    float after[LANES] = {0};
    for (size_t t = rows; t-- > 0;)
      for (size_t d = 0; d < width; d++) {
        after[d] += later[t * columns + d0 + d];
        sums[t * columns + d0 + d] += after[d];
      }
  }
}

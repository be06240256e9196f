// One vector of columns of `solve_lower`, with all its rows in registers.
enum { SOLVE_ROWS = 16 };

INLINE void solve_in_registers(const int transposed, const float *l, size_t l_stride, float *x,
                               size_t x_stride) {
  vf row[SOLVE_ROWS];
#pragma unroll
  for (size_t i = 0; i < SOLVE_ROWS; i++) row[i] = v_load(x + i * x_stride);
  // A solved row updates all others at once; those updates are independent of each other.
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

// Rows of the state as in `additive_rows`, with two rank-one updates.
INLINE void low_rank_rows(const size_t rows, int past_caches, size_t v, const float *q,
                          const float *b, const float *x, const float *whole, const float *rest, const float *found,
                          const float *value, const float *state, float *new_state, float *out) {
  size_t j = 0;
  for (; j + LANES <= v; j += LANES) {
    vf u = v_load(found + j), w = v_load(value + j), o = v_load(out + j);
#pragma unroll
    for (size_t i = 0; i < rows; i++) {
      vf before = v_load(state + i * v + j);
      vf h = whole[i] * before + (rest[i] * before + (b[i] * u + x[i] * w));
      v_store_past(new_state + i * v + j, h, past_caches);
      o += q[i] * h;
    }
    v_store(out + j, o);
  }
  for (; j < v; j++)
    for (size_t i = 0; i < rows; i++) {
      float before = state[i * v + j];
      float h = whole[i] * before + (rest[i] * before + (b[i] * found[j] + x[i] * value[j]));
      new_state[i * v + j] = h;
      out[j] += q[i] * h;
    }
}

static void low_rank_step(int past_caches, size_t k, size_t v, const float *query,
                          const float *b, const float *found, const float *key, const float *value,
                          const float *whole, const float *rest, ptrdiff_t decay_stride,
                          const float *state, float *new_state, float *out) {
  enum { ROWS = 4 };
  memset(out, 0, v * sizeof(float));
  for (size_t i = 0; i < k; i += ROWS, state += ROWS * v, new_state += ROWS * v) {
    size_t rows = k - i < ROWS ? k - i : ROWS;
    float w[ROWS], r[ROWS];
    for (size_t n = 0; n < rows; n++) {
      w[n] = whole[(ptrdiff_t)(i + n) * decay_stride];
      r[n] = rest[(ptrdiff_t)(i + n) * decay_stride];
    }
    if (rows == ROWS)
      low_rank_rows(ROWS, past_caches, v, query + i, b + i, key + i, w, r, found, value, state,
                    new_state, out);
    else
      for (size_t n = 0; n < rows; n++)
        low_rank_rows(1, past_caches, v, query + i + n, b + i + n, key + i + n, w + n, r + n, found, value,
                      state + n * v, new_state + n * v, out);
  }
  end_stores(past_caches);
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

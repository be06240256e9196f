static void mask_band(size_t rows, size_t columns, float *s, size_t stride, ptrdiff_t low,
                      ptrdiff_t high) {
  ptrdiff_t width = (ptrdiff_t)columns;
  for (size_t r = 0; r < rows; r++, s += stride, low++, high++) {
    ptrdiff_t first = low < 0 ? 0 : low > width ? width : low;
    ptrdiff_t end = high < 0 ? 0 : high > width ? width : high;
    if (end < first) end = first;
    for (ptrdiff_t j = 0; j < first; j++) s[j] = -INFINITY;
    for (ptrdiff_t j = end; j < width; j++) s[j] = -INFINITY;
  }
}

static void mask_keys(size_t rows, size_t columns, float *s, size_t stride, const uint8_t *keep) {
  for (size_t r = 0; r < rows; r++, s += stride)
    for (size_t j = 0; j < columns; j++) s[j] = keep[j] ? s[j] : -INFINITY;
}

static void add_rows(size_t rows, size_t columns, float *s, size_t stride, const float *b,
                     ptrdiff_t b_row, ptrdiff_t b_column) {
  for (size_t r = 0; r < rows; r++, s += stride, b += b_row) {
    if (b_column == 1) {
      for (size_t j = 0; j < columns; j++) s[j] += b[j];
    } else {
      for (size_t j = 0; j < columns; j++) s[j] += b[(ptrdiff_t)j * b_column];
    }
  }
}

static void add_alibi(size_t rows, size_t columns, float *s, size_t stride, float slope,
                      ptrdiff_t offset) {
  for (size_t r = 0; r < rows; r++, s += stride)
    for (size_t j = 0; j < columns; j++)
      s[j] -= slope * fabsf((float)((int32_t)((ptrdiff_t)r + offset) - (int32_t)j));
}

static void add_difference(size_t rows, size_t columns, float *s, size_t stride, const float *row,
                           const float *column) {
  for (size_t r = 0; r < rows; r++, s += stride)
    for (size_t j = 0; j < columns; j++) s[j] += row[r] - column[j];
}

static void softcap(size_t rows, size_t columns, float *s, size_t stride, float cap) {
  float inverse = 1.0f / cap;
  for (size_t r = 0; r < rows; r++, s += stride) {
    size_t j = 0;
    for (; j + LANES <= columns; j += LANES)
      v_store(s + j, cap * v_tanh(v_load(s + j) * inverse));
    if (j < columns) {
      vf x = v_load_part(s + j, columns - j, 0);
      v_store_part(s + j, cap * v_tanh(x * inverse), columns - j);
    }
  }
}

static void softcap_backward(size_t rows, size_t columns, const float *c, float *d, size_t stride,
                             float cap) {
  float inverse = 1.0f / cap;
  for (size_t r = 0; r < rows; r++, c += stride, d += stride)
    for (size_t j = 0; j < columns; j++) {
      float t = c[j] * inverse;
      d[j] *= 1.0f - t * t;
    }
}

// s = exp(s - shift) on one row; returns the sum.
INLINE float exp_row(size_t n, float *s, float shift) {
  vf total0 = {0}, total1 = {0}, high = v_set(shift);
  size_t j = 0;
  for (; j + 2 * LANES <= n; j += 2 * LANES) {
    vf p0 = v_exp_difference(v_load(s + j), high);
    vf p1 = v_exp_difference(v_load(s + j + LANES), high);
    v_store(s + j, p0);
    v_store(s + j + LANES, p1);
    total0 += p0;
    total1 += p1;
  }
  for (; j < n; j += LANES) {
    size_t count = n - j < LANES ? n - j : LANES;
    vf x = count == LANES ? v_load(s + j) : v_load_part(s + j, count, -INFINITY);
    vf p = v_exp_difference(x, high);
    if (count == LANES) v_store(s + j, p); else v_store_part(s + j, p, count);
    total0 += p;
  }
  return v_sum(total0 + total1);
}

static void softmax_online(size_t rows, size_t columns, float *s, size_t stride, float *m,
                           float *l, float *o, size_t o_columns, size_t o_stride) {
  for (size_t r = 0; r < rows; r++, s += stride, o += o_stride) {
    float before = m[r];
    float high = row_maximum_of_numbers(columns, s);
    float now = before >= high ? before : high;
    // NaN reaches the sums through its exponential, except where there is nothing but NaN.
    if (now == -INFINITY && (now = row_maximum(columns, s)) == -INFINITY) {
      memset(s, 0, columns * sizeof(float));
      continue;
    }
    float total = exp_row(columns, s, now);
    if (now != before) {
      float correction = before == -INFINITY ? 0 : expf(before - now);
      l[r] *= correction;
      for (size_t j = 0; j < o_columns; j++) o[j] *= correction;
      m[r] = now;
    }
    l[r] += total;
  }
}

static void softmax_shifted(size_t rows, size_t columns, float *s, size_t stride, float shift,
                            float *l) {
  for (size_t r = 0; r < rows; r++, s += stride) l[r] += exp_row(columns, s, shift);
}

static void softmax_gradient(size_t rows, size_t columns, float *s, float *d, size_t stride,
                             const float *lse, const float *delta) {
  for (size_t r = 0; r < rows; r++, s += stride, d += stride) {
    vf sum = v_set(lse[r]);
    size_t j = 0;
    for (; j + LANES <= columns; j += LANES) {
      vf p = v_exp_difference(v_load(s + j), sum);
      v_store(s + j, p);
      v_store(d + j, p * (v_load(d + j) - delta[r]));
    }
    if (j < columns) {
      size_t n = columns - j;
      vf p = v_exp_difference(v_load_part(s + j, n, -INFINITY), sum);
      v_store_part(s + j, p, n);
      v_store_part(d + j, p * (v_load_part(d + j, n, 0) - delta[r]), n);
    }
  }
}

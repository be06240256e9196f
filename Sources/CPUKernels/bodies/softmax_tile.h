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

// x + y, saturated to the largest finite number of its sign unless y is infinite, because only an infinite
// bias masks a key. NaN stays NaN unless y is −∞.
INLINE float add_in_range(float x, float y) {
  float low = y < -FLT_MAX ? y : -FLT_MAX, high = y > FLT_MAX ? y : FLT_MAX;
  float sum = y == -INFINITY ? y : x + y;
  sum = sum < low ? low : sum;
  return sum > high ? high : sum;
}

static void add_rows(size_t rows, size_t columns, float *s, size_t stride, const float *b,
                     ptrdiff_t b_row, ptrdiff_t b_column) {
  for (size_t r = 0; r < rows; r++, s += stride, b += b_row) {
    if (b_column == 1) {
      for (size_t j = 0; j < columns; j++) s[j] = add_in_range(s[j], b[j]);
    } else {
      for (size_t j = 0; j < columns; j++) s[j] = add_in_range(s[j], b[(ptrdiff_t)j * b_column]);
    }
  }
}

// Elements of a bias widened at a time.
#define BIAS_PIECE 64

// y[i] is the addend for element first + i*step of a bias; `expression` computes it from the element v.
#define BIAS_LOOPS(element, expression)                                  \
  {                                                                      \
    const element *x = (const element *)b + first;                       \
    if (step == 1) {                                                     \
      for (size_t i = 0; i < n; i++) {                                   \
        element v = x[i];                                                \
        y[i] = (expression);                                             \
      }                                                                  \
    } else {                                                             \
      for (size_t i = 0; i < n; i++) {                                   \
        element v = x[(ptrdiff_t)i * step];                              \
        y[i] = (expression);                                             \
      }                                                                  \
    }                                                                    \
    break;                                                               \
  }

static void widen_bias(cpu_bias_type type, size_t n, const void *b, ptrdiff_t first,
                       ptrdiff_t step, float *y) {
  switch (type) {
    case CPU_BIAS_F32: BIAS_LOOPS(float, v)
    case CPU_BIAS_BF16: BIAS_LOOPS(uint16_t, bf16_to_float(v))
    case CPU_BIAS_F16: BIAS_LOOPS(_Float16, (float)v)
    case CPU_BIAS_F64: BIAS_LOOPS(double, (float)v)
    case CPU_BIAS_BOOL: BIAS_LOOPS(uint8_t, v ? 0.0f : -INFINITY)
  }
}
#undef BIAS_LOOPS

static void add_bias(cpu_bias_type type, size_t rows, size_t columns, float *s, size_t stride,
                     const void *b, ptrdiff_t b_row, ptrdiff_t b_column) {
  if (type == CPU_BIAS_F32) {
    add_rows(rows, columns, s, stride, b, b_row, b_column);
    return;
  }
  float piece[BIAS_PIECE];
  for (size_t r = 0; r < rows; r++, s += stride)
    for (size_t from = 0; from < columns; from += BIAS_PIECE) {
      size_t n = columns - from < BIAS_PIECE ? columns - from : BIAS_PIECE;
      widen_bias(type, n, b, (ptrdiff_t)r * b_row + (ptrdiff_t)from * b_column, b_column, piece);
      for (size_t j = 0; j < n; j++) s[from + j] = add_in_range(s[from + j], piece[j]);
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

static void scale_tile(size_t rows, size_t columns, float *s, size_t stride, const float *row,
                       const float *column) {
  for (size_t r = 0; r < rows; r++, s += stride)
    for (size_t j = 0; j < columns; j++) s[j] *= row[r] * column[j];
}

// One row of weights 2^((s - high) * factor - shift), written to s itself or, rounded to bfloat16, to
// `half` (NULL or not, a constant at each call). Returns the sum of the unrounded weights. One of `high`
// and `shift` is a constant 0 at each call.
INLINE float weight_row(size_t n, float *s, float high, float factor, float shift,
                        uint16_t *half) {
  vf total0 = {0}, total1 = {0}, h = v_set(high), f = v_set(factor), t = v_set(shift);
  size_t j = 0;
  for (; j + 2 * LANES <= n; j += 2 * LANES) {
    vf p0 = v_power_of_two((v_load(s + j) - h) * f - t);
    vf p1 = v_power_of_two((v_load(s + j + LANES) - h) * f - t);
    total0 += p0;
    total1 += p1;
#if HAS_BFLOAT16_DOT
    if (half) {
      v_store_bf16(half + j, p0, p1);
      continue;
    }
#endif
    v_store(s + j, p0);
    v_store(s + j + LANES, p1);
  }
  for (; j < n; j += LANES) {
    size_t count = n - j < LANES ? n - j : LANES;
    vf x = count == LANES ? v_load(s + j) : v_load_part(s + j, count, -INFINITY);
    vf p = v_power_of_two((x - h) * f - t);
    total0 += p;
#if HAS_BFLOAT16_DOT
    if (half) {
      uint16_t buffer[2 * LANES];
      v_store_bf16(buffer, p, (vf){0});
      // An odd last weight is padded with a zero.
      memcpy(half + j, buffer, (count + 1) / 2 * 4);
      continue;
    }
#endif
    if (count == LANES) v_store(s + j, p); else v_store_part(s + j, p, count);
  }
  (void)half;
  return v_sum(total0 + total1);
}

// Rows whose maxima are computed before any of their weights, so that the horizontal maximum of one row
// does not delay the next.
#define MAXIMA_AHEAD 8

INLINE void online_rows(size_t rows, size_t columns, float *s, size_t stride, float factor,
                        uint16_t *half, float *m, float *l, float *o, size_t o_columns,
                        size_t o_stride) {
  float highest[MAXIMA_AHEAD];
  for (size_t r = 0; r < rows; r++, s += stride, o += o_stride) {
    size_t ahead = r % MAXIMA_AHEAD;
    if (ahead == 0)
      for (size_t i = 0; i < MAXIMA_AHEAD && r + i < rows; i++)
        highest[i] = row_maximum_of_numbers(columns, s + i * stride);
    float before = m[r], high = highest[ahead];
    float now = before >= high ? before : high;
    // NaN reaches the sums through its weight, unless all scores are NaN or -inf.
    if (now == -INFINITY && (now = row_maximum(columns, s)) == -INFINITY) {
      if (half)
        memset(half + r * stride, 0, (columns + 1) / 2 * 4);
      else
        memset(s, 0, columns * sizeof(float));
      continue;
    }
    // The maximum is subtracted before multiplying by the factor: rounding the product of large scores
    // would lose more than their differences.
    float total = weight_row(columns, s, now, factor, 0, half ? half + r * stride : NULL);
    if (now != before) {
      float correction = before == -INFINITY ? 0 : exp2f((before - now) * factor);
      l[r] *= correction;
      for (size_t j = 0; j < o_columns; j++) o[j] *= correction;
      m[r] = now;
    }
    l[r] += total;
  }
}

static void softmax_online(size_t rows, size_t columns, float *s, size_t stride, float factor,
                           float *m, float *l, float *o, size_t o_columns, size_t o_stride) {
  online_rows(rows, columns, s, stride, factor, NULL, m, l, o, o_columns, o_stride);
}

static void softmax_shifted(size_t rows, size_t columns, float *s, size_t stride, float factor,
                            float shift, float *l) {
  for (size_t r = 0; r < rows; r++, s += stride)
    l[r] += weight_row(columns, s, 0, factor, shift, NULL);
}

static void finish_rows(cpu_float_type type, size_t rows, size_t n, const float *o, size_t o_stride,
                        const float *m, float factor, const float *l, size_t l_stride, void *y,
                        size_t y_stride, float *lse) {
  // 1 for natural scores, exactly.
  const double unit = factor / (double)1.44269504088896341f;
  const size_t size = type == CPU_F32 ? sizeof(float) : sizeof(uint16_t);
  for (size_t r = 0; r < rows; r++, o += o_stride, m += l_stride, l += l_stride) {
    // An empty sum gives zeros; NaN stays NaN.
    int is_empty = *l == 0;
    float factor = is_empty ? 0 : 1 / *l;
    char *row = (char *)y + r * y_stride * size;
    if (type == CPU_F32) {
      float *out = (float *)row;
      for (size_t j = 0; j < n; j++) out[j] = o[j] * factor;
    } else {
      float piece[4 * LANES];
      for (size_t first = 0; first < n; first += 4 * LANES) {
        size_t count = n - first < 4 * LANES ? n - first : 4 * LANES;
        for (size_t j = 0; j < count; j++) piece[j] = o[first + j] * factor;
        narrow(type, count, piece, row + first * size);
      }
    }
    lse[r] = is_empty ? -INFINITY : (float)(*m * unit + log(*l));
  }
}

#if HAS_BFLOAT16_DOT
static void softmax_online_bf16(size_t rows, size_t columns, float *s, size_t stride, float factor,
                                uint16_t *half, float *m, float *l, float *o, size_t o_columns,
                                size_t o_stride) {
  online_rows(rows, columns, s, stride, factor, half, m, l, o, o_columns, o_stride);
}

static void softmax_shifted_bf16(size_t rows, size_t columns, float *s, size_t stride,
                                 float factor, float shift, uint16_t *half, float *l) {
  for (size_t r = 0; r < rows; r++, s += stride, half += stride)
    l[r] += weight_row(columns, s, 0, factor, shift, half);
}
#endif

// One row of a transposed tile: one key, with one column per query. `half` is NULL or not, a constant at
// each call.
INLINE void gradient_row(size_t n, float *s, float *d, float factor, const float *lse,
                         const float *delta, uint16_t *half) {
  vf f = v_set(factor);
  for (size_t j = 0; j < n; j += LANES) {
    size_t count = n - j < LANES ? n - j : LANES;
    int whole = count == LANES;
    vf x = whole ? v_load(s + j) : v_load_part(s + j, count, -INFINITY);
    vf sum = whole ? v_load(lse + j) : v_load_part(lse + j, count, 0);
    vf up = whole ? v_load(d + j) : v_load_part(d + j, count, 0);
    vf less = whole ? v_load(delta + j) : v_load_part(delta + j, count, 0);
    vf p = v_power_of_two(x * f - sum);
    vf ds = p * (up - less);
    if (whole) v_store(d + j, ds); else v_store_part(d + j, ds, count);
#if HAS_BFLOAT16_DOT
    if (half) {
      __m256bh rounded = _mm512_cvtneps_pbh((__m512)p);
      // An odd last weight is padded with a zero.
      memcpy(half + j, &rounded, (count + 1) / 2 * 4);
      continue;
    }
#endif
    if (whole) v_store(s + j, p); else v_store_part(s + j, p, count);
  }
  (void)half;
}

static void softmax_gradient(size_t rows, size_t columns, float *s, float *d, size_t stride,
                             float factor, const float *lse, const float *delta) {
  for (size_t r = 0; r < rows; r++)
    gradient_row(columns, s + r * stride, d + r * stride, factor, lse, delta, NULL);
}

#if HAS_BFLOAT16_DOT
static void softmax_gradient_bf16(size_t rows, size_t columns, float *s, float *d, size_t stride,
                                  float factor, const float *lse, const float *delta,
                                  uint16_t *half) {
  for (size_t r = 0; r < rows; r++)
    gradient_row(columns, s + r * stride, d + r * stride, factor, lse, delta, half + r * stride);
}

static void narrow_scaled(size_t rows, size_t columns, const float *x, size_t stride,
                          const float *row, const float *column, uint16_t *y) {
  for (size_t r = 0; r < rows; r++, x += stride, y += stride)
    for (size_t j = 0; j < columns; j += LANES) {
      size_t count = columns - j < LANES ? columns - j : LANES;
      vf v = count == LANES ? v_load(x + j) * v_load(column + j)
                            : v_load_part(x + j, count, 0) * v_load_part(column + j, count, 0);
      __m256bh rounded = _mm512_cvtneps_pbh((__m512)(v * row[r]));
      memcpy(y + j, &rounded, (count + 1) / 2 * 4);
    }
}
#endif

static void transpose(size_t rows, size_t columns, const float *x, size_t x_stride, float *y,
                      size_t y_stride) {
  // In squares, so that the lines of both sides are reused while they are cached.
  const size_t side = 16;
  for (size_t r0 = 0; r0 < rows; r0 += side)
    for (size_t c0 = 0; c0 < columns; c0 += side)
      for (size_t r = r0; r < rows && r < r0 + side; r++)
        for (size_t c = c0; c < columns && c < c0 + side; c++)
          y[c * y_stride + r] = x[r * x_stride + c];
}

// The decay from one token to another is the exponential of the sum of the logarithms in between, all of
// one sign. Sums keep their precision after gates of any strength, which differences of running sums
// lose, and for gates near 1, which products of rounded factors lose over many tokens.
static void decay_split(size_t n, const float *g, float *whole, float *rest) {
  for (size_t i = 0; i < n; i += LANES) {
    size_t part = n - i < LANES ? n - i : LANES;
    vf x = v_load_part(g + i, part, 0);
    const vf limit = v_set(0.34f);
    vi weak = v_abs(x) < limit;
    vf small = v_expm1_small(v_max(v_min(x, limit), -limit));
    v_store_part(whole + i, v_select(weak, v_set(1.0f), (vf){0}), part);
    v_store_part(rest + i, v_select(weak, small, v_exp_nonpositive(x)), part);
  }
}

// Four rows of the state at a time, so that the output is loaded and stored once for the four.
INLINE void additive_rows(const size_t rows, const int reads_before, int past_caches, size_t v,
                          const float *q, const float *x, const float *whole, const float *rest,
                          const float *value, const float *state, float *new_state, float *out) {
  size_t j = 0;
  for (; j + LANES <= v; j += LANES) {
    vf w = v_load(value + j), o = v_load(out + j);
#pragma unroll
    for (size_t i = 0; i < rows; i++) {
      vf before = v_load(state + i * v + j);
      vf h = whole[i] * before + (rest[i] * before + x[i] * w);
      v_store_past(new_state + i * v + j, h, past_caches);
      o += q[i] * (reads_before ? before : h);
    }
    v_store(out + j, o);
  }
  for (; j < v; j++)
    for (size_t i = 0; i < rows; i++) {
      float before = state[i * v + j];
      float h = whole[i] * before + (rest[i] * before + x[i] * value[j]);
      new_state[i * v + j] = h;
      out[j] += q[i] * (reads_before ? before : h);
    }
}

INLINE void additive_token(const int reads_before, int past_caches, size_t k, size_t v, const float *query,
                           const float *key, const float *value, const float *whole,
                           const float *rest, ptrdiff_t decay_stride, const float *state,
                           float *new_state, float *out) {
  enum { ROWS = 4 };
  for (size_t i = 0; i < k; i += ROWS, state += ROWS * v, new_state += ROWS * v) {
    size_t rows = k - i < ROWS ? k - i : ROWS;
    float w[ROWS], r[ROWS];
    for (size_t n = 0; n < rows; n++) {
      w[n] = whole[(ptrdiff_t)(i + n) * decay_stride];
      r[n] = rest[(ptrdiff_t)(i + n) * decay_stride];
    }
    if (rows == ROWS)
      additive_rows(ROWS, reads_before, past_caches, v, query + i, key + i, w, r, value, state,
                    new_state, out);
    else
      for (size_t n = 0; n < rows; n++)
        additive_rows(1, reads_before, past_caches, v, query + i + n, key + i + n, w + n, r + n, value,
                      state + n * v, new_state + n * v, out);
  }
}

static void additive_step(int past_caches, size_t k, size_t v, const float *query,
                          const float *key, const float *value, const float *whole, const float *rest,
                          ptrdiff_t decay_stride, const float *state, float *new_state,
                          float *out) {
  memset(out, 0, v * sizeof(float));
  additive_token(0, past_caches, k, v, query, key, value, whole, rest, decay_stride, state,
                 new_state, out);
  end_stores(past_caches);
}

static void additive_step_before(int past_caches, size_t k, size_t v, const float *query,
                                 const float *key, const float *value, const float *bonus, const float *whole,
                                 const float *rest, ptrdiff_t decay_stride, const float *state,
                                 float *new_state, float *out) {
  float own = 0;
  for (size_t i = 0; i < k; i++) own += query[i] * key[i] * bonus[i];
  for (size_t j = 0; j < v; j++) out[j] = own * value[j];
  additive_token(1, past_caches, k, v, query, key, value, whole, rest, decay_stride, state,
                 new_state, out);
  end_stores(past_caches);
}

// One vector of columns of `decay_from_start` or `decay_to_end`.
INLINE void decay_columns(const int from_start, size_t rows, size_t part, const float *x,
                          const float *g, float *y, size_t stride, float *total) {
  vf sum = {0};
  for (size_t n = 0; n < rows; n++) {
    size_t r = from_start ? n : rows - 1 - n;
    vf log = part ? v_load_part(g + r * stride, part, 0) : v_load(g + r * stride);
    vf value = part ? v_load_part(x + r * stride, part, 0) : v_load(x + r * stride);
    if (from_start) sum += log;
    value *= v_exp_nonpositive(sum);
    if (part)
      v_store_part(y + r * stride, value, part);
    else
      v_store(y + r * stride, value);
    if (!from_start) sum += log;
  }
  vf factor = v_exp_nonpositive(sum);
  if (part)
    v_store_part(total, factor, part);
  else
    v_store(total, factor);
}

INLINE void decay_rows(const int from_start, size_t rows, size_t columns, const float *x,
                       const float *g, int by_column, float *y, float *total) {
  if (by_column) {
    size_t i = 0;
    for (; i + LANES <= columns; i += LANES)
      decay_columns(from_start, rows, 0, x + i, g + i, y + i, columns, total + i);
    if (i < columns)
      decay_columns(from_start, rows, columns - i, x + i, g + i, y + i, columns, total + i);
    return;
  }
  float sum = 0;
  for (size_t n = 0; n < rows; n++) {
    size_t r = from_start ? n : rows - 1 - n;
    if (from_start) sum += g[r];
    float factor = expf(sum);
    for (size_t i = 0; i < columns; i++) y[r * columns + i] = x[r * columns + i] * factor;
    if (!from_start) sum += g[r];
  }
  *total = expf(sum);
}

static void decay_from_start(size_t rows, size_t columns, const float *x, const float *g,
                             int by_column, float *y, float *total) {
  decay_rows(1, rows, columns, x, g, by_column, y, total);
}

static void decay_to_end(size_t rows, size_t columns, const float *x, const float *g,
                         int by_column, float *y, float *total) {
  decay_rows(0, rows, columns, x, g, by_column, y, total);
}

static void scale_rows(size_t rows, size_t columns, const float *factor, size_t factor_stride,
                       float *y, size_t stride) {
  for (size_t r = 0; r < rows; r++, y += stride) {
    float f = factor[r * factor_stride];
    for (size_t i = 0; i < columns; i++) y[i] *= f;
  }
}

static void scale_columns(size_t rows, size_t columns, const float *factor, float *y,
                          size_t stride) {
  for (size_t r = 0; r < rows; r++, y += stride)
    for (size_t i = 0; i < columns; i++) y[i] *= factor[i];
}

// One vector of row i of decay_tril from column j on, its first `part` lanes.
INLINE void decay_tril_vector(size_t i, size_t j, size_t part, float *s, float log, float *work) {
  vi column;
  for (int32_t lane = 0; lane < LANES; lane++) column[lane] = lane;
  column += (int32_t)j;
  vi row = (vi){0} + (int32_t)i;
  vf sum = v_select(column < row, load_state(work + j, part) + log, (vf){0});
  store_state(work + j, sum, part);
  vf decayed = load_state(s + j, part) * v_exp_nonpositive(sum);
  store_state(s + j, v_select(column > row, (vf){0}, decayed), part);
}

static void decay_tril(size_t rows, float *s, size_t stride, const float *g, float *work) {
  for (size_t i = 0; i < rows; i++, s += stride) {
    size_t j = 0;
    // work[j] is the sum of g[j + 1] to g[i]; each row of it follows from the row above.
    if (g) {
      if (i % LANES == 0)
        for (size_t n = i; n < i + LANES && n < rows; n++) work[n] = 0;
      for (; j <= i; j += LANES) {
        size_t part = rows - j < LANES ? rows - j : LANES;
        if (part == LANES)
          decay_tril_vector(i, j, LANES, s, g[i], work);
        else
          decay_tril_vector(i, j, part, s, g[i], work);
      }
    } else {
      j = i + 1;
    }
    for (; j < rows; j++) s[j] = 0;
  }
}

static void decay_pairs(size_t rows, const float *s, const float *d, size_t stride, float *work,
                        float *dg) {
  memset(work, 0, rows * sizeof(float));
  // work[j] is the sum over i >= t of s[i][j] * d[i][j]; row t is added last.
  for (size_t t = rows; t-- > 1;) {
    const float *st = s + t * stride, *dt = d + t * stride;
    for (size_t j = 0; j < t; j++) work[j] += st[j] * dt[j];
    dg[t] += row_sum(t, work);
  }
}

static void channel_scores(size_t rows, size_t columns, const float *q, const float *k,
                           const float *a, float *work, float *s, size_t s_stride) {
  for (size_t i = 0; i < rows; i++, q += columns, s += s_stride) {
    memcpy(work, q, columns * sizeof(float));
    for (size_t j = rows; j-- > i + 1;) s[j] = 0;
    // From the diagonal to the left, the query decays by one more token each time; a block is
    // short enough for products of decays.
    for (size_t j = i + 1; j-- > 0;) {
      s[j] = row_dot(columns, work, k + j * columns);
      if (j == 0) break;
      const float *aj = a + j * columns;
      for (size_t d = 0; d < columns; d++) work[d] *= aj[d];
    }
  }
}

// One vector of columns of `channel_scores_backward`. Each sum is a polynomial in the decays, evaluated
// by Horner's rule from its far end, so only the decays themselves are multiplied.
INLINE void channel_columns_backward(size_t rows, size_t part, const float *q, const float *k,
                                     const float *a, size_t stride, const float *ds,
                                     size_t s_stride, float *dq, float *dk) {
#define LOAD(p) (part ? v_load_part(p, part, 0) : v_load(p))
  for (size_t i = 1; i < rows; i++) {
    vf total = {0};
    for (size_t j = 0; j < i; j++)
      total = total * LOAD(a + j * stride) + ds[i * s_stride + j] * LOAD(k + j * stride);
    total = total * LOAD(a + i * stride) + LOAD(dq + i * stride);
    if (part)
      v_store_part(dq + i * stride, total, part);
    else
      v_store(dq + i * stride, total);
  }
  for (size_t j = 0; j + 1 < rows; j++) {
    vf total = {0};
    for (size_t i = rows; i-- > j + 1;)
      total = (total + ds[i * s_stride + j] * LOAD(q + i * stride)) * LOAD(a + i * stride);
    total += LOAD(dk + j * stride);
    if (part)
      v_store_part(dk + j * stride, total, part);
    else
      v_store(dk + j * stride, total);
  }
#undef LOAD
}

static void channel_scores_backward(size_t rows, size_t columns, const float *q, const float *k,
                                    const float *a, const float *ds, size_t s_stride, float *dq,
                                    float *dk) {
  size_t d = 0;
  for (; d + LANES <= columns; d += LANES)
    channel_columns_backward(rows, 0, q + d, k + d, a + d, columns, ds, s_stride, dq + d, dk + d);
  if (d < columns)
    channel_columns_backward(rows, columns - d, q + d, k + d, a + d, columns, ds, s_stride, dq + d,
                             dk + d);
}

static void channel_gradients(size_t rows, size_t columns, const float *q, const float *k,
                              const float *ds, size_t s_stride, const float *through,
                              const float *dq_pairs, const float *dk_pairs, float *dq, float *dk,
                              float *dg) {
  for (size_t d = 0; d < columns; d++) dg[d] = through[d];
  for (size_t t = 1; t < rows; t++) {
    const float *before = dg + (t - 1) * columns, *kj = k + (t - 1) * columns;
    const float *dkj = dk + (t - 1) * columns;
    float *row = dg + t * columns;
    for (size_t d = 0; d < columns; d++) row[d] = before[d] + kj[d] * dkj[d];
  }
  // The sums over this token and later ones.
  for (size_t d0 = 0; d0 < columns; d0 += LANES) {
    size_t width = columns - d0 < LANES ? columns - d0 : LANES;
    float later[LANES] = {0};
    for (size_t t = rows; t-- > 0;) {
      size_t row = t * columns + d0;
      for (size_t d = 0; d < width; d++) {
        later[d] += q[row + d] * (dq[row + d] + dq_pairs[row + d]) - k[row + d] * dk_pairs[row + d];
        dg[row + d] += later[d];
      }
    }
  }
  for (size_t t = 0; t < rows; t++) {
    float diagonal = ds[t * (s_stride + 1)];
    for (size_t i = t * columns; i < (t + 1) * columns; i++) {
      dq[i] += dq_pairs[i] + diagonal * k[i];
      dk[i] += dk_pairs[i] + diagonal * q[i];
    }
  }
}

static void panel_dots(size_t rows, size_t columns, const float *x, const float *y,
                       size_t panel_stride, float *out) {
  for (size_t j0 = 0; j0 < columns; j0 += TILE_COLUMNS, x += panel_stride, y += panel_stride) {
    size_t width = columns - j0 < TILE_COLUMNS ? columns - j0 : TILE_COLUMNS;
    vf total[TILE_VECTORS] = {0};
    for (size_t i = 0; i < rows; i++)
      for (size_t v = 0; v < TILE_VECTORS; v++) {
        size_t place = i * TILE_COLUMNS + v * LANES;
        total[v] += v_load(x + place) * v_load(y + place);
      }
    float sums[TILE_COLUMNS];
    for (size_t v = 0; v < TILE_VECTORS; v++) v_store(sums + v * LANES, total[v]);
    memcpy(out + j0, sums, width * sizeof(float));
  }
}

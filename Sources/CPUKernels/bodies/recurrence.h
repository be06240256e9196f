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

// Rows of a tile whose sums, or decayed rows, stay in registers.
#define CHANNEL_ROWS 8

// Scores of one query with `rows` <= CHANNEL_ROWS keys, from the last to the first: between two keys the
// query decays by one more token. decayed receives the query behind all of them; it may be q.
INLINE void channel_score_row(const size_t rows, size_t columns, const float *q, const float *k,
                              const float *a, float *decayed, float *s) {
  vf sum[CHANNEL_ROWS];
#pragma unroll
  for (size_t j = 0; j < rows; j++) sum[j] = (vf){0};
  for (size_t d = 0; d < columns; d += LANES) {
    const size_t part = columns - d < LANES ? columns - d : LANES;
    vf x = load_state(q + d, part);
#pragma unroll
    for (size_t n = 0; n < rows; n++) {
      size_t j = rows - 1 - n, place = j * columns + d;
      if (part == LANES) {
        sum[j] += x * v_load(k + place);
        x *= v_load(a + place);
      } else {
        sum[j] += x * v_load_part(k + place, part, 0);
        x *= v_load_part(a + place, part, 0);
      }
    }
    store_state(decayed + d, x, part);
  }
#pragma unroll
  for (size_t j = 0; j < rows; j++) s[j] = v_sum(sum[j]);
}

static void channel_scores(size_t rows, size_t columns, const float *q, const float *k,
                           const float *a, float *work, float *s, size_t s_stride) {
  for (size_t i = 0; i < rows; i++, q += columns, s += s_stride) {
    for (size_t j = i + 1; j < rows; j++) s[j] = 0;
    // A block is short enough for products of decays.
    const float *x = q;
    for (size_t end = i + 1, count; end > 0; end -= count, x = work) {
      count = end < CHANNEL_ROWS ? end : CHANNEL_ROWS;
      size_t first = end - count, place = first * columns;
#define ROWS(n)                                                                     \
  case n:                                                                           \
    channel_score_row(n, columns, x, k + place, a + place, work, s + first);        \
    break
      switch (count) {
        ROWS(1);
        ROWS(2);
        ROWS(3);
        ROWS(4);
        ROWS(5);
        ROWS(6);
        ROWS(7);
        ROWS(8);
      }
#undef ROWS
    }
  }
}

// One vector of columns of `channel_scores_backward`, for the keys from `first` on, CHANNEL_ROWS at most.
// Each key decays from one query to the next.
INLINE void channel_queries_backward(size_t rows, size_t first, size_t part, const float *k,
                                     const float *a, size_t stride, const float *ds,
                                     size_t s_stride, float *dq) {
  vf key[CHANNEL_ROWS];
#define QUERY(keys)                                                  \
  do {                                                               \
    vf decay = load_state(a + i * stride, part);                     \
    vf total = load_state(dq + i * stride, part);                    \
    _Pragma("unroll") for (size_t j = 0; j < (keys); j++) {          \
      key[j] *= decay;                                               \
      total += ds[i * s_stride + first + j] * key[j];                \
    }                                                                \
    store_state(dq + i * stride, total, part);                       \
  } while (0)
#pragma unroll
  for (size_t n = 1; n <= CHANNEL_ROWS; n++) {
    size_t i = first + n;
    if (i >= rows) return;
    key[n - 1] = load_state(k + (i - 1) * stride, part);
    QUERY(n);
  }
  for (size_t i = first + CHANNEL_ROWS + 1; i < rows; i++) QUERY(CHANNEL_ROWS);
#undef QUERY
}

// The same for the queries before `end`, which decay from one key to the one before it.
INLINE void channel_keys_backward(size_t end, size_t part, const float *q, const float *a,
                                  size_t stride, const float *ds, size_t s_stride, float *dk) {
  vf query[CHANNEL_ROWS];
#define KEY(queries)                                                 \
  do {                                                               \
    vf decay = load_state(a + (j + 1) * stride, part);               \
    vf total = load_state(dk + j * stride, part);                    \
    _Pragma("unroll") for (size_t i = 0; i < (queries); i++) {       \
      query[i] *= decay;                                             \
      total += ds[(end - 1 - i) * s_stride + j] * query[i];          \
    }                                                                \
    store_state(dk + j * stride, total, part);                       \
  } while (0)
#pragma unroll
  for (size_t n = 1; n <= CHANNEL_ROWS; n++) {
    if (n >= end) return;
    size_t j = end - 1 - n;
    query[n - 1] = load_state(q + (j + 1) * stride, part);
    KEY(n);
  }
  for (size_t j = end - 1 - CHANNEL_ROWS; j-- > 0;) KEY(CHANNEL_ROWS);
#undef KEY
}

static void channel_scores_backward(size_t rows, size_t columns, const float *q, const float *k,
                                    const float *a, const float *ds, size_t s_stride, float *dq,
                                    float *dk) {
  for (size_t d = 0; d < columns; d += LANES) {
    size_t part = columns - d < LANES ? columns - d : LANES;
    for (size_t first = 0; first + 1 < rows; first += CHANNEL_ROWS) {
      size_t end = rows - first;
      if (part == LANES) {
        channel_queries_backward(rows, first, LANES, k + d, a + d, columns, ds, s_stride, dq + d);
        channel_keys_backward(end, LANES, q + d, a + d, columns, ds, s_stride, dk + d);
      } else {
        channel_queries_backward(rows, first, part, k + d, a + d, columns, ds, s_stride, dq + d);
        channel_keys_backward(end, part, q + d, a + d, columns, ds, s_stride, dk + d);
      }
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

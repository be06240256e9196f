// Four rows of the state at a time, so that the output is loaded and stored once for the four.
INLINE void additive_rows(const size_t rows, size_t v, const float *q, const float *x,
                          const float *keep, const float *value, const float *state,
                          float *new_state, float *out) {
  size_t j = 0;
  for (; j + LANES <= v; j += LANES) {
    vf w = v_load(value + j), o = v_load(out + j);
#pragma unroll
    for (size_t i = 0; i < rows; i++) {
      vf h = keep[i] * v_load(state + i * v + j) + x[i] * w;
      v_store(new_state + i * v + j, h);
      o += q[i] * h;
    }
    v_store(out + j, o);
  }
  for (; j < v; j++)
    for (size_t i = 0; i < rows; i++) {
      float h = keep[i] * state[i * v + j] + x[i] * value[j];
      new_state[i * v + j] = h;
      out[j] += q[i] * h;
    }
}

static void additive_step(size_t k, size_t v, const float *query, const float *key,
                          const float *value, const float *decay, ptrdiff_t decay_stride,
                          const float *state, float *new_state, float *out) {
  enum { ROWS = 4 };
  memset(out, 0, v * sizeof(float));
  size_t i = 0;
  for (; i < k; i += ROWS, state += ROWS * v, new_state += ROWS * v) {
    size_t rows = k - i < ROWS ? k - i : ROWS;
    float keep[ROWS];
    for (size_t r = 0; r < rows; r++) keep[r] = decay[(ptrdiff_t)(i + r) * decay_stride];
    if (rows == ROWS)
      additive_rows(ROWS, v, query + i, key + i, keep, value, state, new_state, out);
    else
      for (size_t r = 0; r < rows; r++)
        additive_rows(1, v, query + i + r, key + i + r, keep + r, value, state + r * v,
                      new_state + r * v, out);
  }
}

static void scale_exp(size_t rows, size_t columns, const float *x, size_t x_stride, const float *a,
                      ptrdiff_t a_row, ptrdiff_t a_column, const float *b, ptrdiff_t b_row,
                      float sign, float factor, float *y, size_t y_stride) {
  for (size_t r = 0; r < rows; r++, x += x_stride, y += y_stride, a += a_row, b += b_row) {
    if (a_column == 0) {
      float e = factor * expf(sign * (a[0] - b[0]));
      for (size_t i = 0; i < columns; i++) y[i] = x[i] * e;
      continue;
    }
    size_t i = 0;
    for (; i + LANES <= columns; i += LANES)
      v_store(y + i, v_load(x + i) * factor
                         * v_exp_nonpositive(sign * (v_load(a + i) - v_load(b + i))));
    if (i < columns) {
      size_t n = columns - i;
      vf e = v_exp_nonpositive(sign * (v_load_part(a + i, n, 0) - v_load_part(b + i, n, 0)));
      v_store_part(y + i, v_load_part(x + i, n, 0) * factor * e, n);
    }
  }
}

static void decay_tril(size_t rows, float *s, size_t stride, const float *g, int strict) {
  for (size_t i = 0; i < rows; i++, s += stride) {
    size_t end = strict ? i : i + 1, j = 0;
    for (; j + LANES <= end; j += LANES)
      v_store(s + j, v_load(s + j) * v_exp_nonpositive(g[i] - v_load(g + j)));
    if (j < end) {
      size_t n = end - j;
      vf e = v_exp_nonpositive(g[i] - v_load_part(g + j, n, g[i]));
      v_store_part(s + j, v_load_part(s + j, n, 0) * e, n);
    }
    for (j = end; j < rows; j++) s[j] = 0;
  }
}

static void channel_scores(size_t rows, size_t columns, const float *q, const float *k,
                           const float *g, size_t stride, float scale, float *s,
                           size_t s_stride) {
  for (size_t i = 0; i < rows; i++) {
    const float *qi = q + i * stride, *gi = g + i * stride;
    for (size_t j = 0; j < rows; j++) {
      if (j > i) {
        s[i * s_stride + j] = 0;
        continue;
      }
      const float *kj = k + j * stride, *gj = g + j * stride;
      vf total = {0};
      size_t d = 0;
      for (; d + LANES <= columns; d += LANES)
        total += v_load(qi + d) * v_load(kj + d)
                 * v_exp_nonpositive(v_load(gi + d) - v_load(gj + d));
      if (d < columns) {
        size_t n = columns - d;
        total += v_load_part(qi + d, n, 0) * v_load_part(kj + d, n, 0)
                 * v_exp_nonpositive(v_load_part(gi + d, n, 0) - v_load_part(gj + d, n, 0));
      }
      s[i * s_stride + j] = scale * v_sum(total);
    }
  }
}

static void channel_scores_backward(size_t rows, size_t columns, const float *q, const float *k,
                                    const float *g, size_t stride, const float *ds,
                                    size_t s_stride, float *dq, float *dk, float *dg) {
  for (size_t i = 0; i < rows; i++) {
    const float *qi = q + i * stride, *gi = g + i * stride;
    for (size_t j = 0; j <= i; j++) {
      const float *kj = k + j * stride, *gj = g + j * stride;
      float up = ds[i * s_stride + j];
      for (size_t d = 0; d < columns; d += LANES) {
        size_t n = columns - d < LANES ? columns - d : LANES;
        vf qd, kd, e, dqd, dkd;
        if (n == LANES) {
          qd = v_load(qi + d), kd = v_load(kj + d);
          e = up * v_exp_nonpositive(v_load(gi + d) - v_load(gj + d));
          dqd = v_load(dq + i * stride + d), dkd = v_load(dk + j * stride + d);
        } else {
          qd = v_load_part(qi + d, n, 0), kd = v_load_part(kj + d, n, 0);
          e = up * v_exp_nonpositive(v_load_part(gi + d, n, 0) - v_load_part(gj + d, n, 0));
          dqd = v_load_part(dq + i * stride + d, n, 0);
          dkd = v_load_part(dk + j * stride + d, n, 0);
        }
        vf to_q = e * kd, to_k = e * qd;
        if (n == LANES) {
          v_store(dq + i * stride + d, dqd + to_q);
          v_store(dk + j * stride + d, dkd + to_k);
        } else {
          v_store_part(dq + i * stride + d, dqd + to_q, n);
          v_store_part(dk + j * stride + d, dkd + to_k, n);
        }
        if (i == j) continue;
        vf through = to_q * qd;
        float *pi = dg + i * stride + d, *pj = dg + j * stride + d;
        if (n == LANES) {
          v_store(pi, v_load(pi) + through);
          v_store(pj, v_load(pj) - through);
        } else {
          v_store_part(pi, v_load_part(pi, n, 0) + through, n);
          v_store_part(pj, v_load_part(pj, n, 0) - through, n);
        }
      }
    }
  }
}

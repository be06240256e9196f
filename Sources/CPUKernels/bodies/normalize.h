static void rms_norm(size_t rows, size_t n, const float *x, const float *w, float epsilon,
                     float *restrict y, float *restrict rstd) {
  for (size_t r = 0; r < rows; r++, x += n, y += n) {
    float scale = 1.0f / sqrtf(row_dot(n, x, x) / (float)n + epsilon);
    rstd[r] = scale;
    for (size_t i = 0; i < n; i++) y[i] = x[i] * scale * w[i];
  }
}

static void rms_norm_backward(size_t rows, size_t n, const float *x, const float *w,
                              const float *rstd, const float *g, float *restrict dx,
                              float *restrict dw) {
  for (size_t r = 0; r < rows; r++, x += n, g += n, dx += n) {
    float scale = rstd[r];
    for (size_t i = 0; i < n; i++) dx[i] = g[i] * w[i];
    float mean = row_dot(n, dx, x) / (float)n * scale * scale * scale;
    for (size_t i = 0; i < n; i++) {
      dw[i] += g[i] * x[i] * scale;
      dx[i] = dx[i] * scale - x[i] * mean;
    }
  }
}

static void softmax(size_t rows, size_t n, const float *x, float *y) {
  for (size_t r = 0; r < rows; r++, x += n, y += n) {
    float shift = row_maximum(n, x);
    // A row of only -inf, that of a query which attends to nothing, gives zeros.
    if (shift == -INFINITY) {
      memset(y, 0, n * sizeof(float));
      continue;
    }
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) v_store(y + i, v_exp_nonpositive(v_load(x + i) - shift));
    if (i < n)
      v_store_part(y + i, v_exp_nonpositive(v_load_part(x + i, n - i, -INFINITY) - shift), n - i);
    float inverse = 1.0f / row_sum(n, y);
    for (i = 0; i < n; i++) y[i] *= inverse;
  }
}

static void softmax_backward(size_t rows, size_t n, const float *y, const float *g,
                             float *restrict dx) {
  for (size_t r = 0; r < rows; r++, y += n, g += n, dx += n) {
    float delta = row_dot(n, y, g);
    for (size_t i = 0; i < n; i++) dx[i] = y[i] * (g[i] - delta);
  }
}

static void cross_entropy(size_t rows, size_t n, const float *x, const int32_t *target,
                          float *loss, float *lse) {
  for (size_t r = 0; r < rows; r++, x += n, lse += 2) {
    float shift = row_maximum(n, x);
    vf total = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) total += v_exp_nonpositive(v_load(x + i) - shift);
    if (i < n) total += v_exp_nonpositive(v_load_part(x + i, n - i, -INFINITY) - shift);
    // A large maximum would round the logarithm away, so the two are stored separately.
    lse[0] = shift;
    lse[1] = logf(v_sum(total));
    loss[r] = (shift - x[target[r]]) + lse[1];
  }
}

static void cross_entropy_backward(size_t rows, size_t n, const float *x, const int32_t *target,
                                   const float *lse, const float *g, float *dx) {
  for (size_t r = 0; r < rows; r++, x += n, dx += n, lse += 2) {
    const float shift = lse[0], rest = lse[1];
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
      v_store(dx + i, v_exp_nonpositive(v_load(x + i) - shift - rest) * g[r]);
    if (i < n)
      v_store_part(dx + i, v_exp_nonpositive(v_load_part(x + i, n - i, 0) - shift - rest) * g[r],
                   n - i);
    dx[target[r]] -= g[r];
  }
}

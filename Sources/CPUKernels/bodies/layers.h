#define BLOCKS(body)                                        \
  size_t i = 0;                                             \
  for (; i + LANES <= n; i += LANES) { body(v_load, v_store, ) } \
  if (i < n) { body(LOAD_REST, STORE_REST, ) }
#define LOAD_REST(p) v_load_part(p, n - i, 0.0f)
#define STORE_REST(p, x) v_store_part(p, x, n - i)

static void swiglu(size_t n, const float *a, const float *b, float *y) {
#define BODY(load, store, _) \
  vf u = load(a + i);        \
  store(y + i, u * v_sigmoid(u) * load(b + i));
  BLOCKS(BODY)
#undef BODY
}

static void swiglu_backward(size_t n, const float *a, const float *b, const float *g, float *da,
                            float *db) {
#define BODY(load, store, _)                                        \
  vf u = load(a + i), up = load(g + i), s = v_sigmoid(u);           \
  store(da + i, up * load(b + i) * s * (1.0f + u * (1.0f - s)));    \
  store(db + i, up * u * s);
  BLOCKS(BODY)
#undef BODY
}

static void silu_backward(size_t n, const float *x, const float *g, float *dx) {
#define BODY(load, store, _)                                        \
  vf u = load(x + i), s = v_sigmoid(u);                             \
  store(dx + i, load(g + i) * s * (1.0f + u * (1.0f - s)));
  BLOCKS(BODY)
#undef BODY
}

static void log_sigmoid_backward(size_t n, const float *x, const float *g, float factor, float *dx) {
#define BODY(load, store, _) store(dx + i, load(g + i) * factor * v_sigmoid(-load(x + i)));
  BLOCKS(BODY)
#undef BODY
}

static void rotary(size_t tokens, size_t heads, size_t half, const float *x,
                   ptrdiff_t token_stride, ptrdiff_t head_stride, const int32_t *positions,
                   const float *cosine, const float *sine, float direction, float *y) {
  for (size_t t = 0; t < tokens; t++) {
    const float *c = cosine + (size_t)positions[t] * half, *s = sine + (size_t)positions[t] * half;
    for (size_t h = 0; h < heads; h++, y += 2 * half) {
      const float *first = x + (ptrdiff_t)t * token_stride + (ptrdiff_t)h * head_stride;
      const float *second = first + half;
      size_t i = 0;
      for (; i + LANES <= half; i += LANES) {
        vf u = v_load(first + i), v = v_load(second + i), turn = direction * v_load(s + i);
        v_store(y + i, u * v_load(c + i) - v * turn);
        v_store(y + half + i, v * v_load(c + i) + u * turn);
      }
      for (; i < half; i++) {
        float u = first[i], v = second[i], turn = direction * s[i];
        y[i] = u * c[i] - v * turn;
        y[half + i] = v * c[i] + u * turn;
      }
    }
  }
}

static void adamw(size_t n, const float *p, const float *g, const float *m, const float *v,
                  float gradient_scale, float rate, float beta1, float beta2, float epsilon,
                  float decay, float correction1, float correction2, float *restrict p_out,
                  float *restrict m_out, float *restrict v_out) {
  for (size_t i = 0; i < n; i++) {
    float gradient = g[i] * gradient_scale;
    float first = beta1 * m[i] + (1 - beta1) * gradient;
    float second = beta2 * v[i] + (1 - beta2) * gradient * gradient;
    m_out[i] = first;
    v_out[i] = second;
    float step = (first / correction1) / (sqrtf(second / correction2) + epsilon);
    p_out[i] = p[i] - rate * (step + decay * p[i]);
  }
}

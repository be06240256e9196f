// bodies/layers.h
#include "check.h"

// exp to four roundings, plus the sum, quotient and products around it.
enum { GATE_ROUNDINGS = 12 };

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
// The derivative of x * sigmoid(x), and the size of its terms.
static double silu_slope(double x) { return sigmoid(x) * (1 + x * (1 - sigmoid(x))); }
static double silu_slope_size(double x) { return sigmoid(x) * (1 + fabs(x) * (2 - sigmoid(x))); }

static float *gates(size_t n) { return random_floats(n, -20, 20); }

static void swiglu(void) {
  FOR_LENGTHS(n) {
    begin("n %zu", n);
    const float *a = gates(n), *b = random_floats(n, -2, 2);
    float *y = floats(n);
    kernels->swiglu(n, a, b, y);
    for (size_t i = 0; i < n; i++) {
      double want = a[i] * sigmoid(a[i]) * b[i];
      near("y", i, y[i], want, fabs(want), GATE_ROUNDINGS);
    }
  }
}

static void swiglu_backward(void) {
  FOR_LENGTHS(n) {
    begin("n %zu", n);
    const float *a = gates(n), *b = random_floats(n, -2, 2), *g = random_floats(n, -1, 1);
    float *da = floats(n), *db = floats(n);
    kernels->swiglu_backward(n, a, b, g, da, db);
    for (size_t i = 0; i < n; i++) {
      near("da", i, da[i], (double)g[i] * b[i] * silu_slope(a[i]),
           fabs((double)g[i] * b[i]) * silu_slope_size(a[i]), 2 * GATE_ROUNDINGS);
      double want = g[i] * a[i] * sigmoid(a[i]);
      near("db", i, db[i], want, fabs(want), GATE_ROUNDINGS);
    }
  }
}

static void silu_backward(void) {
  FOR_LENGTHS(n) {
    begin("n %zu", n);
    const float *x = gates(n), *g = random_floats(n, -1, 1);
    float *dx = floats(n);
    kernels->silu_backward(n, x, g, dx);
    for (size_t i = 0; i < n; i++)
      near("dx", i, dx[i], g[i] * silu_slope(x[i]), fabs(g[i]) * silu_slope_size(x[i]),
           2 * GATE_ROUNDINGS);
  }
}

static void log_sigmoid_backward(void) {
  FOR_LENGTHS(n) {
    begin("n %zu", n);
    const float *x = gates(n), *g = random_floats(n, -1, 1);
    float *dx = floats(n);
    kernels->log_sigmoid_backward(n, x, g, 0.0625f, dx);
    for (size_t i = 0; i < n; i++) {
      double want = g[i] * 0.0625 * sigmoid(-x[i]);
      near("dx", i, dx[i], want, fabs(want), GATE_ROUNDINGS);
    }
  }
}

static void rotary(void) {
  enum { TOKENS = 3, HEADS = 2, POSITIONS = 7 };
  FOR_LENGTHS(half) for (int direction = -1; direction <= 1; direction += 2) {
    begin("half %zu, direction %d", half, direction);
    size_t head_stride = 2 * half + 3, token_stride = HEADS * head_stride + 5;
    const float *x = floats((TOKENS - 1) * token_stride + (HEADS - 1) * head_stride + 2 * half);
    for (size_t t = 0; t < TOKENS; t++)
      for (size_t h = 0; h < HEADS; h++)
        for (size_t i = 0; i < 2 * half; i++)
          ((float *)x)[t * token_stride + h * head_stride + i] = (float)uniform(-1, 1);
    const float *cosine = random_floats(POSITIONS * half, -1, 1);
    const float *sine = random_floats(POSITIONS * half, -1, 1);
    int32_t *positions = memory(TOKENS * sizeof(int32_t));
    for (size_t t = 0; t < TOKENS; t++) positions[t] = (int32_t)(POSITIONS - 1 - 2 * t);
    float *y = floats(TOKENS * HEADS * 2 * half);
    kernels->rotary(TOKENS, HEADS, half, x, (ptrdiff_t)token_stride, (ptrdiff_t)head_stride,
                    positions, cosine, sine, (float)direction, y);
    for (size_t t = 0; t < TOKENS; t++)
      for (size_t h = 0; h < HEADS; h++)
        for (size_t i = 0; i < half; i++) {
          const float *from = x + t * token_stride + h * head_stride;
          size_t at = (t * HEADS + h) * 2 * half + i, angle = (size_t)positions[t] * half + i;
          double u = from[i], v = from[half + i], c = cosine[angle], s = direction * sine[angle];
          near("y", at, y[at], u * c - v * s, fabs(u * c) + fabs(v * s), 2);
          near("y", at + half, y[at + half], v * c + u * s, fabs(v * c) + fabs(u * s), 2);
        }
  }
}

static void adamw(void) {
  const double shrink = 0.5f, rate = 0.01f, beta1 = 0.9f, beta2 = 0.95f, epsilon = 1e-8f;
  const double decay = 0.1f, correction1 = 0.19f, correction2 = 0.0975f;
  FOR_LENGTHS(n) {
    begin("n %zu", n);
    const float *p = random_floats(n, -1, 1), *g = random_floats(n, -1, 1);
    const float *m = random_floats(n, -1, 1), *v = random_floats(n, 0.01f, 1);
    float *p_out = floats(n), *m_out = floats(n), *v_out = floats(n);
    kernels->adamw(n, p, g, m, v, (float)shrink, (float)rate, (float)beta1, (float)beta2,
                   (float)epsilon, (float)decay, (float)correction1, (float)correction2, p_out,
                   m_out, v_out);
    for (size_t i = 0; i < n; i++) {
      double gradient = g[i] * shrink, kept = beta1 * m[i], added = (1 - beta1) * gradient;
      double second = beta2 * v[i] + (1 - beta2) * gradient * gradient;
      double length = sqrt(second / correction2) + epsilon;
      double step = (kept + added) / correction1 / length;
      double step_size = (fabs(kept) + fabs(added)) / correction1 / length;
      near("m", i, m_out[i], kept + added, fabs(kept) + fabs(added), 4);
      near("v", i, v_out[i], second, second, 6);
      near("p", i, p_out[i], p[i] - rate * (step + decay * p[i]),
           fabs(p[i]) + rate * (step_size + decay * fabs(p[i])), 12);
    }
  }
}

static const test tests[] = {TEST(swiglu), TEST(swiglu_backward), TEST(silu_backward),
    TEST(log_sigmoid_backward), TEST(rotary), TEST(adamw)};
const suite layer_tests = {tests, COUNT(tests)};

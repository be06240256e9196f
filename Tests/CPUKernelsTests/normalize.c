// bodies/normalize.h and bodies/unit.h
#include "check.h"

enum { ROWS = 3 };

static double dot_of(size_t n, const float *x, const float *y) {
  double total = 0;
  for (size_t i = 0; i < n; i++) total += (double)x[i] * y[i];
  return total;
}
static double size_of_dot(size_t n, const float *x, const float *y) {
  double total = 0;
  for (size_t i = 0; i < n; i++) total += fabs((double)x[i] * y[i]);
  return total;
}

static void rms_norm(void) {
  const float epsilon = 1e-5f;
  FOR_LENGTHS(n) {
    begin("n %zu", n);
    const float *x = random_floats(ROWS * n, -3, 3), *w = random_floats(n, -2, 2);
    float *y = floats(ROWS * n), *rstd = floats(ROWS);
    kernels->rms_norm(ROWS, n, x, w, epsilon, y, rstd);
    for (size_t r = 0; r < ROWS; r++) {
      double scale = 1 / sqrt(dot_of(n, x + r * n, x + r * n) / (double)n + epsilon);
      // The square root halves the relative error of the sum of squares.
      double units = (double)n / 8 + 8;
      near("rstd", r, rstd[r], scale, scale, units);
      for (size_t i = 0; i < n; i++) {
        double want = x[r * n + i] * scale * w[i];
        near("y", r * n + i, y[r * n + i], want, fabs(want), units + 2);
      }
    }
  }
}

static void rms_norm_backward(void) {
  FOR_LENGTHS(n) {
    begin("n %zu", n);
    const float *x = random_floats(ROWS * n, -3, 3), *w = random_floats(n, -2, 2);
    const float *g = random_floats(ROWS * n, -1, 1), *rstd = random_floats(ROWS, 0.5f, 2);
    float *dx = floats(ROWS * n), *dw = random_floats(n, -1, 1), *before = copy(dw, n);
    kernels->rms_norm_backward(ROWS, n, x, w, rstd, g, dx, dw);
    for (size_t r = 0; r < ROWS; r++) {
      double mean = 0, size = 0, scale = rstd[r];
      for (size_t i = 0; i < n; i++) {
        double term = (double)g[r * n + i] * w[i] * x[r * n + i] / (double)n;
        mean += term, size += fabs(term);
      }
      for (size_t i = 0; i < n; i++) {
        size_t at = r * n + i;
        double own = (double)g[at] * w[i] * scale, pull = x[at] * scale * scale * scale;
        near("dx", at, dx[at], own - pull * mean, fabs(own) + fabs(pull) * size,
             (double)n / 4 + 16);
      }
    }
    for (size_t i = 0; i < n; i++) {
      double want = before[i], size = fabs(want);
      for (size_t r = 0; r < ROWS; r++) {
        double term = (double)g[r * n + i] * x[r * n + i] * rstd[r];
        want += term, size += fabs(term);
      }
      near("dw", i, dw[i], want, size, 2 + ROWS);
    }
  }
}

// Rows of different sizes; of only -inf; with -inf, and with NaN, as the last element.
static void softmax(void) {
  enum { CASES = 5 };
  FOR_LENGTHS(n) {
    begin("n %zu", n);
    float *x = random_floats(CASES * n, -8, 8), *y = floats(CASES * n);
    for (size_t i = 0; i < n; i++) x[n + i] *= 100, x[2 * n + i] = -INFINITY;
    if (n > 1) x[4 * n - 1] = -INFINITY;
    x[5 * n - 1] = NAN;
    kernels->softmax(CASES, n, x, y);
    for (size_t r = 0; r < CASES; r++) {
      double high = -INFINITY, total = 0;
      for (size_t i = 0; i < n; i++) high = fmax(high, x[r * n + i]);
      for (size_t i = 0; i < n; i++) total += exp(x[r * n + i] - high);
      for (size_t i = 0; i < n; i++) {
        double want = r == 2 ? 0 : exp(x[r * n + i] - high) / total;
        if (r == 4) want = NAN;
        // The exponential of a rounded difference, over a sum of them.
        near("y", r * n + i, y[r * n + i], want, fmax(want, SMALLEST / ROUNDING),
             fabs(isfinite(x[r * n + i]) ? x[r * n + i] - high : 0) + (double)n / 4 + 16);
      }
    }
  }
}

static void softmax_backward(void) {
  FOR_LENGTHS(n) {
    begin("n %zu", n);
    const float *y = random_floats(ROWS * n, 0, 1), *g = random_floats(ROWS * n, -1, 1);
    float *dx = floats(ROWS * n);
    kernels->softmax_backward(ROWS, n, y, g, dx);
    for (size_t i = 0; i < ROWS * n; i++) {
      const float *yr = y + i / n * n, *gr = g + i / n * n;
      near("dx", i, dx[i], y[i] * (g[i] - dot_of(n, yr, gr)),
           y[i] * (fabs(g[i]) + size_of_dot(n, yr, gr)), (double)n / 4 + 10);
    }
  }
}

// Rows of ordinary logits, with -inf and NaN; of equal ones, and of one above all others, so large that the
// logarithm of their sum would be lost if it were added.
enum { LOSS_CASES = 7 };
static float *logits_of(size_t n) {
  static const float large[] = {1e6f, 1e30f, -1e30f};
  float *x = random_floats(LOSS_CASES * n, -8, 8);
  for (size_t r = 3; r < LOSS_CASES; r++)
    for (size_t i = 0; i < n; i++) x[r * n + i] = r < 6 ? large[r - 3] : i == n / 2 ? 1e30f : -1e30f;
  return x;
}

static double log_sum_above(size_t n, const float *x, double *high) {
  double total = 0;
  *high = -INFINITY;
  for (size_t i = 0; i < n; i++) *high = fmax(*high, x[i]);
  for (size_t i = 0; i < n; i++) total += exp(x[i] - *high);
  return log(total);
}

static void cross_entropy(void) {
  FOR_LENGTHS(n) {
    begin("n %zu", n);
    float *x = logits_of(n), *loss = floats(LOSS_CASES), *lse = floats(2 * LOSS_CASES);
    if (n > 2) x[1] = -INFINITY;
    if (n > 3) x[3 * n - 1] = NAN;
    int32_t *target = memory(LOSS_CASES * sizeof(int32_t));
    for (size_t r = 0; r < LOSS_CASES; r++) target[r] = (int32_t)(r == 0 ? 0 : n - 1);
    if (n > 3) target[2] = 0;
    kernels->cross_entropy(LOSS_CASES, n, x, target, loss, lse);
    for (size_t r = 0; r < LOSS_CASES; r++) {
      double high, rest = log_sum_above(n, x + r * n, &high);
      // A row with NaN may have any maximum.
      if (!isnan(rest)) equal("maximum", r, lse[2 * r], (float)high);
      near("rest", r, lse[2 * r + 1], rest, rest + 1, (double)n / 4 + 32);
      double below = high - x[r * n + (size_t)target[r]];
      near("loss", r, loss[r], below + rest, below + rest + 1, (double)n / 4 + 34);
    }
  }
}

static void cross_entropy_backward(void) {
  FOR_LENGTHS(n) {
    begin("n %zu", n);
    const float *x = logits_of(n), *g = random_floats(LOSS_CASES, -1, 1);
    float *lse = floats(2 * LOSS_CASES);
    int32_t *target = memory(LOSS_CASES * sizeof(int32_t));
    for (size_t r = 0; r < LOSS_CASES; r++) {
      double high, rest = log_sum_above(n, x + r * n, &high);
      lse[2 * r] = (float)high, lse[2 * r + 1] = (float)rest;
      target[r] = (int32_t)(r * (n - 1) / LOSS_CASES);
    }
    float *dx = floats(LOSS_CASES * n);
    kernels->cross_entropy_backward(LOSS_CASES, n, x, target, lse, g, dx);
    for (size_t i = 0; i < LOSS_CASES * n; i++) {
      size_t r = i / n;
      double p = exp((double)x[i] - lse[2 * r] - lse[2 * r + 1]), hit = i % n == (size_t)target[r];
      near("dx", i, dx[i], (p - hit) * g[r], (p + hit) * fabs(g[r]), 32);
    }
  }
}

// A slice of a norm below `shortest` becomes zero; y may be x.
static void unit_slices(void) {
  const float shortest = 1e-3f;
  for (size_t groups = 1; groups <= 4; groups *= 2)
    for (int in_place = 0; in_place < 2; in_place++)
      FOR_LENGTHS(width) {
        size_t n = groups * width;
        begin("n %zu, groups %zu, in place %d", n, groups, in_place);
        float *x = random_floats(ROWS * n, -1, 1), *inverse = floats(ROWS * groups);
        for (size_t i = 0; i < ROWS * n; i++) x[i] += copysignf(0.25f, x[i]);
        for (size_t i = 0; i < width; i++) x[n + i] = 0;
        const float *from = copy(x, ROWS * n);
        float *y = in_place ? x : floats(ROWS * n);
        kernels->unit_slices(ROWS, n, groups, shortest, x, y, inverse);
        for (size_t i = 0; i < ROWS * n; i++) {
          const float *slice = from + i / width * width;
          double length = sqrt(dot_of(width, slice, slice));
          double factor = length < shortest ? 0 : 1 / length, want = from[i] * factor;
          near("inverse", i / width, inverse[i / width], factor, factor, (double)width / 8 + 8);
          near("y", i, y[i], want, fabs(want), (double)width / 8 + 9);
        }
      }
}

static void unit_slices_backward(void) {
  for (size_t groups = 1; groups <= 4; groups *= 2)
    for (int in_place = 0; in_place < 2; in_place++)
      FOR_LENGTHS(width) {
        size_t n = groups * width;
        begin("n %zu, groups %zu, in place %d", n, groups, in_place);
        const float *y = random_floats(ROWS * n, -1, 1);
        const float *inverse = random_floats(ROWS * groups, 0.5f, 2);
        float *dy = random_floats(ROWS * n, -1, 1);
        const float *from = copy(dy, ROWS * n);
        float *dx = in_place ? dy : floats(ROWS * n);
        kernels->unit_slices_backward(ROWS, n, groups, y, inverse, dy, dx);
        for (size_t i = 0; i < ROWS * n; i++) {
          const float *ys = y + i / width * width, *gs = from + i / width * width;
          double along = dot_of(width, ys, gs), size = size_of_dot(width, ys, gs);
          double factor = inverse[i / width];
          near("dx", i, dx[i], factor * (from[i] - y[i] * along),
               factor * (fabs(from[i]) + fabs(y[i]) * size), (double)width / 4 + 12);
        }
      }
}

static const test tests[] = {TEST(rms_norm), TEST(rms_norm_backward), TEST(softmax),
    TEST(softmax_backward), TEST(cross_entropy), TEST(cross_entropy_backward), TEST(unit_slices),
    TEST(unit_slices_backward)};
const suite normalize_tests = {tests, COUNT(tests)};

// bodies/selective.h
#include "check.h"

// e^x to five roundings, its argument to two, and the products around it.
enum { ROWS = 4, ROUNDINGS = 40 };
#define LOG2_E 1.4426950408889634

static const size_t state_counts[] = {1, 3, 16, 20, 32};

// One column and state over all rows, in double precision.
typedef struct {
  double before[ROWS], after[ROWS], size[ROWS], decay[ROWS];
} course;

static course follow(double h, const float *x, const float *step, size_t stride, double rate,
                     const float *b, size_t b_row) {
  course c;
  double size = fabs(h);
  for (size_t r = 0; r < ROWS; r++) {
    double s = step[r * stride], written = s * x[r * stride] * b[r * b_row];
    c.before[r] = h;
    c.decay[r] = exp2(s * rate);
    h = c.decay[r] * h + written;
    size = c.decay[r] * size + fabs(written);
    c.after[r] = h, c.size[r] = size;
  }
  return c;
}

static void selective_scan(void) {
  FOR_EACH(states, state_counts) FOR_LENGTHS(columns) for (int has_skip = 0; has_skip < 2; has_skip++) {
    begin("states %zu, columns %zu, skip %d", states, columns, has_skip);
    size_t x_row = columns + 1, y_row = columns + 2, b_row = states + 1, all = states * columns;
    const float *x = random_rows(ROWS, columns, x_row, -1, 1);
    const float *step = random_rows(ROWS, columns, x_row, 0, 2);
    const float *a = random_floats(all, -4, 0);
    const float *b = random_rows(ROWS, states, b_row, -1, 1);
    const float *c = random_rows(ROWS, states, b_row, -1, 1);
    const float *skip = has_skip ? random_floats(columns, -1, 1) : NULL;
    float *h = random_floats(all, -1, 1), *y = floats((ROWS - 1) * y_row + columns);
    const float *start = copy(h, all);
    float *other = copy(h, all), *history = floats((ROWS + 1) * all);
    kernels->selective_scan(ROWS, columns, states, x, (ptrdiff_t)x_row, step, (ptrdiff_t)x_row, a, b,
                            (ptrdiff_t)b_row, c, (ptrdiff_t)b_row, skip, h, NULL, y,
                            (ptrdiff_t)y_row);
    kernels->selective_scan(ROWS, columns, states, x, (ptrdiff_t)x_row, step, (ptrdiff_t)x_row, a, b,
                            (ptrdiff_t)b_row, c, (ptrdiff_t)b_row, skip, other, history, NULL, 0);
    for (size_t i = 0; i < columns; i++) {
      double want[ROWS], size[ROWS];
      for (size_t r = 0; r < ROWS; r++) {
        want[r] = skip ? (double)skip[i] * x[r * x_row + i] : 0;
        size[r] = fabs(want[r]);
      }
      for (size_t n = 0; n < states; n++) {
        size_t at = n * columns + i;
        course s = follow(start[at], x + i, step + i, x_row, a[at], b + n, b_row);
        for (size_t r = 0; r < ROWS; r++) {
          want[r] += c[r * b_row + n] * s.after[r];
          size[r] += fabs(c[r * b_row + n]) * s.size[r];
          near("history", r * all + at, history[r * all + at], s.before[r],
               r ? s.size[r - 1] : fabs(s.before[r]), ROUNDINGS);
        }
        near("h", at, h[at], s.after[ROWS - 1], s.size[ROWS - 1], ROUNDINGS);
        equal("h with a history", at, other[at], h[at]);
        equal("last of the history", at, history[ROWS * all + at], h[at]);
      }
      for (size_t r = 0; r < ROWS; r++)
        near("y", r * y_row + i, y[r * y_row + i], want[r], size[r], ROUNDINGS + (double)states);
    }
    gaps_untouched("y", y, ROWS, columns, y_row);
  }
}

static void selective_scan_backward(void) {
  FOR_EACH(states, state_counts) FOR_LENGTHS(columns) for (int has_skip = 0; has_skip < 2; has_skip++) {
    begin("states %zu, columns %zu, skip %d", states, columns, has_skip);
    size_t x_row = columns + 1, b_row = states + 1, all = states * columns;
    const float *x = random_rows(ROWS, columns, x_row, -1, 1);
    const float *step = random_rows(ROWS, columns, x_row, 0, 2);
    const float *a = random_floats(all, -4, 0);
    const float *b = random_rows(ROWS, states, b_row, -1, 1);
    const float *c = random_rows(ROWS, states, b_row, -1, 1);
    const float *skip = has_skip ? random_floats(columns, -1, 1) : NULL;
    const float *history = random_floats((ROWS + 1) * all, -1, 1);
    const float *dy = random_rows(ROWS, columns, x_row, -1, 1);
    float *dh = random_floats(all, -1, 1), *da = random_floats(all, -1, 1);
    float *db = random_floats(ROWS * states, -1, 1), *dc = random_floats(ROWS * states, -1, 1);
    float *dskip = has_skip ? random_floats(columns, -1, 1) : NULL;
    const float *dh0 = copy(dh, all), *da0 = copy(da, all), *db0 = copy(db, ROWS * states);
    const float *dc0 = copy(dc, ROWS * states), *dskip0 = has_skip ? copy(dskip, columns) : NULL;
    float *dx = floats(ROWS * columns), *dstep = floats(ROWS * columns);
    kernels->selective_scan_backward(ROWS, columns, states, x, (ptrdiff_t)x_row, step,
                                     (ptrdiff_t)x_row, a, b, (ptrdiff_t)b_row, c,
                                     (ptrdiff_t)b_row, skip, history, dy, (ptrdiff_t)x_row, dh, dx,
                                     dstep, da, db, dc, dskip);
    enum { MOST_STATES = 32 };
    double b_sum[ROWS][MOST_STATES] = {0}, b_size[ROWS][MOST_STATES] = {0};
    double c_sum[ROWS][MOST_STATES] = {0}, c_size[ROWS][MOST_STATES] = {0};
    for (size_t i = 0; i < columns; i++) {
      double x_sum[ROWS] = {0}, x_size[ROWS] = {0}, s_sum[ROWS] = {0}, s_size[ROWS] = {0};
      for (size_t n = 0; n < states; n++) {
        size_t at = n * columns + i;
        double gradient = dh0[at], size = fabs(gradient), a_sum = da0[at], a_size = fabs(a_sum);
        for (size_t r = ROWS; r-- > 0;) {
          double input = x[r * x_row + i], s = step[r * x_row + i], g = dy[r * x_row + i];
          double bn = b[r * b_row + n], cn = c[r * b_row + n], keep = exp2(s * a[at]);
          double before = history[r * all + at], after = history[(r + 1) * all + at];
          gradient += g * cn, size += fabs(g * cn);
          c_sum[r][n] += g * after, c_size[r][n] += fabs(g * after);
          b_sum[r][n] += s * input * gradient, b_size[r][n] += fabs(s * input) * size;
          x_sum[r] += gradient * bn * s, x_size[r] += size * fabs(bn) * s;
          s_sum[r] += gradient * bn * input, s_size[r] += size * fabs(bn * input);
          gradient *= keep, size *= keep;
          a_sum += s * gradient * before, a_size += s * size * fabs(before);
          s_sum[r] += a[at] / LOG2_E * gradient * before;
          s_size[r] += fabs(a[at]) / LOG2_E * size * fabs(before);
        }
        near("dh", at, dh[at], gradient, size, ROUNDINGS);
        near("da", at, da[at], a_sum, a_size, ROUNDINGS);
      }
      double skip_sum = 0, skip_size = 0;
      for (size_t r = 0; r < ROWS; r++) {
        double g = dy[r * x_row + i];
        if (has_skip) {
          x_sum[r] += g * skip[i], x_size[r] += fabs(g * skip[i]);
          skip_sum += g * x[r * x_row + i], skip_size += fabs(g * x[r * x_row + i]);
        }
        near("dx", r * columns + i, dx[r * columns + i], x_sum[r], x_size[r],
             ROUNDINGS + (double)states);
        near("dstep", r * columns + i, dstep[r * columns + i], s_sum[r], s_size[r],
             ROUNDINGS + 2 * (double)states);
      }
      if (has_skip)
        near("dskip", i, dskip[i], skip_sum + dskip0[i], skip_size + fabs(dskip0[i]), ROUNDINGS);
    }
    for (size_t r = 0; r < ROWS; r++)
      for (size_t n = 0; n < states; n++) {
        size_t at = r * states + n;
        near("db", at, db[at], b_sum[r][n] + db0[at], b_size[r][n] + fabs(db0[at]),
             ROUNDINGS + (double)columns);
        near("dc", at, dc[at], c_sum[r][n] + dc0[at], c_size[r][n] + fabs(dc0[at]),
             ROUNDINGS + (double)columns);
      }
  }
}

static void selective_step(void) {
  enum { COLUMNS = 5 };
  FOR_EACH(states, lengths) for (int form = 0; form < 4; form++) {
    int in_place = form & 1, has_skip = form >> 1;
    begin("states %zu, in place %d, skip %d", states, in_place, has_skip);
    const float *x = random_floats(COLUMNS, -1, 1), *step = random_floats(COLUMNS, 0, 2);
    const float *a = random_floats(COLUMNS * states, -4, 0);
    const float *b = random_floats(states, -1, 1), *c = random_floats(states, -1, 1);
    const float *skip = has_skip ? random_floats(COLUMNS, -1, 1) : NULL;
    float *h = random_floats(COLUMNS * states, -1, 1), *y = floats(COLUMNS);
    const float *before = copy(h, COLUMNS * states);
    float *after = in_place ? h : floats(COLUMNS * states);
    kernels->selective_step(COLUMNS, states, x, step, a, b, c, skip, h, after, y);
    for (size_t i = 0; i < COLUMNS; i++) {
      double want = skip ? (double)skip[i] * x[i] : 0, size = fabs(want);
      for (size_t n = 0; n < states; n++) {
        size_t at = i * states + n;
        double kept = exp((double)step[i] * a[at]) * before[at];
        double written = (double)step[i] * x[i] * b[n];
        near("new", at, after[at], kept + written, fabs(kept) + fabs(written), ROUNDINGS);
        want += c[n] * (kept + written);
        size += fabs(c[n]) * (fabs(kept) + fabs(written));
      }
      near("y", i, y[i], want, size, ROUNDINGS + (double)states);
    }
  }
}

static double softplus_of(double x) { return fmax(x, 0) + log1p(exp(-fabs(x))); }

static void softplus(void) {
  FOR_LENGTHS(columns) for (int has_bias = 0; has_bias < 2; has_bias++) {
    begin("columns %zu, bias %d", columns, has_bias);
    size_t x_row = columns + 1;
    const float *x = random_rows(ROWS, columns, x_row, -20, 20);
    const float *bias = has_bias ? random_floats(columns, -2, 2) : NULL;
    float *y = floats(ROWS * columns);
    kernels->softplus(ROWS, columns, x, (ptrdiff_t)x_row, bias, y);
    for (size_t r = 0; r < ROWS; r++)
      for (size_t i = 0; i < columns; i++) {
        float sum = x[r * x_row + i] + (bias ? bias[i] : 0);
        near("y", r * columns + i, y[r * columns + i], softplus_of(sum), softplus_of(sum), 12);
      }
  }
}

static void softplus_backward(void) {
  FOR_LENGTHS(columns) for (int has_bias = 0; has_bias < 2; has_bias++) {
    begin("columns %zu, bias %d", columns, has_bias);
    size_t x_row = columns + 1;
    const float *x = random_rows(ROWS, columns, x_row, -20, 20);
    const float *bias = has_bias ? random_floats(columns, -2, 2) : NULL;
    float *g = random_floats(ROWS * columns, -1, 1);
    const float *before = copy(g, ROWS * columns);
    kernels->softplus_backward(ROWS, columns, x, (ptrdiff_t)x_row, bias, g);
    for (size_t r = 0; r < ROWS; r++)
      for (size_t i = 0; i < columns; i++) {
        size_t at = r * columns + i;
        float sum = x[r * x_row + i] + (bias ? bias[i] : 0);
        double want = before[at] / (1 + exp(-(double)sum));
        near("g", at, g[at], want, fabs(want), 12);
      }
  }
}

static const test tests[] = {TEST(selective_scan), TEST(selective_scan_backward),
    TEST(selective_step), TEST(softplus), TEST(softplus_backward)};
const suite selective_tests = {tests, COUNT(tests)};

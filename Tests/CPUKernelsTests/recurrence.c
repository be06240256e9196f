// bodies/recurrence.h
#include "check.h"

// Strong and weak gates: natural logarithms of decays, some at the limits of their range.
static float gate(void) {
  static const float special[] = {0, -20, -1e-6f, -0.3399f, -0.3401f};
  uint64_t bits = random_bits();
  return bits % 8 == 0 ? special[(bits >> 8) % COUNT(special)]
                       : (float)-exp2(uniform(-16, 1));
}
static float *gates(size_t count) {
  float *g = floats(count);
  for (size_t i = 0; i < count; i++) g[i] = gate();
  return g;
}

static void prefetch(void) {
  FOR_LENGTHS(n) for (int to_write = 0; to_write < 2; to_write++) {
    begin("n %zu, to write %d", n, to_write);
    const float *x = random_floats(3 * n, -1, 1), *before = copy(x, 3 * n);
    kernels->prefetch(3, n * sizeof(float), x, (ptrdiff_t)(n * sizeof(float)), to_write);
    for (size_t i = 0; i < 3 * n; i++) equal("x", i, x[i], before[i]);
  }
}

// Products do not depend on the thread's prefetch queue, however full: what earlier cases enqueued is
// memory that has been released.
static void queue_prefetch(void) {
  enum { DEPTH = 40, ROWS = 17, MANY = 40 };
  FOR_LENGTHS(n) for (int to_write = 0; to_write < 2; to_write++) {
    begin("n %zu, to write %d", n, to_write);
    const float *x = random_floats(3 * n, -1, 1), *before = copy(x, 3 * n);
    const float *a = random_floats(ROWS * DEPTH, -1, 1);
    const float *b = random_floats(DEPTH * kernels->tile_columns, -1, 1);
    float *c = floats(ROWS * kernels->tile_columns);
    for (int turn = 0; turn < MANY; turn++)
      kernels->queue_prefetch(turn % 4, n * sizeof(float), x, (ptrdiff_t)(n * sizeof(float)),
                              to_write);
    kernels->product(ROWS, kernels->tile_columns, DEPTH, a, DEPTH, 1, b, 0, c,
                     (ptrdiff_t)kernels->tile_columns, 0, 0);
    for (size_t i = 0; i < ROWS; i++)
      for (size_t j = 0; j < kernels->tile_columns; j++) {
        double want = 0, size = 0;
        for (size_t p = 0; p < DEPTH; p++) {
          double term = (double)a[i * DEPTH + p] * b[p * kernels->tile_columns + j];
          want += term, size += fabs(term);
        }
        near("c", i * kernels->tile_columns + j, c[i * kernels->tile_columns + j], want, size,
             DEPTH);
      }
    for (size_t i = 0; i < 3 * n; i++) equal("x", i, x[i], before[i]);
  }
}

static void decay_split(void) {
  // Gates so weak that e^g rounds to 1 in float32 must differ from no decay.
  const double near_one = -0.25;
  FOR_LENGTHS(n) {
    begin("n %zu", n);
    float *g = gates(n), *whole = floats(n), *rest = floats(n);
    if (n > 4) g[n - 1] = -INFINITY, g[1] = NAN, g[2] = -100, g[3] = -1e-10f;
    kernels->decay_split(n, g, whole, rest);
    for (size_t i = 0; i < n; i++) {
      if (whole[i] != 0) equal("whole", i, whole[i], 1);
      if (g[i] > near_one) equal("whole", i, whole[i], 1);
      double want = whole[i] == 1 ? expm1((double)g[i]) : exp((double)g[i]);
      near("rest", i, rest[i], want, fmax(fabs(want), SMALLEST / ROUNDING), 4);
    }
  }
}

// The query reads the state after the token, or before it, with a bonus for the token itself.
static void additive_steps(int reads_before) {
  static const size_t depths[] = {1, 3, 4, 5, 16, 17};
  for (size_t at = 0; at < COUNT(depths); at++)
    for (int form = 0; form < 8; form++)
      FOR_LENGTHS(v) {
        size_t k = depths[at];
        int in_place = form & 1, decay_stride = form >> 1 & 1, past = form >> 2;
        begin("k %zu, v %zu, in place %d, decay stride %d, past caches %d", k, v, in_place,
              decay_stride, past);
        const float *q = random_floats(k, -1, 1), *x = random_floats(k, -1, 1);
        const float *value = random_floats(v, -1, 1), *bonus = random_floats(k, -1, 1);
        size_t decays = decay_stride ? k : 1;
        float *whole = floats(decays), *rest = random_floats(decays, -0.3f, 0);
        for (size_t i = 0; i < decays; i++) whole[i] = random_bits() & 1;
        float *state = random_floats(k * v, -1, 1), *out = floats(v);
        const float *before = copy(state, k * v);
        float *after = in_place ? state : floats(k * v);
        if (reads_before)
          kernels->additive_step_before(past, k, v, q, x, value, bonus, whole, rest, decay_stride,
                                        state, after, out);
        else
          kernels->additive_step(past, k, v, q, x, value, whole, rest, decay_stride, state, after,
                                 out);
        for (size_t j = 0; j < v; j++) {
          double total = 0, size = 0;
          for (size_t i = 0; i < k; i++) {
            size_t decay = i * (size_t)decay_stride;
            double s = before[i * v + j], kept = (double)whole[decay] * s;
            double lost = (double)rest[decay] * s, added = (double)x[i] * value[j];
            double sizes = fabs(kept) + fabs(lost) + fabs(added);
            near("new", i * v + j, after[i * v + j], kept + lost + added, sizes, 4);
            total += q[i] * (reads_before ? s + bonus[i] * added : kept + lost + added);
            size += fabs(q[i]) * (reads_before ? fabs(s) + fabs(bonus[i] * added) : sizes);
          }
          near("out", j, out[j], total, size, (double)k + 5);
        }
      }
}
static void additive_step(void) { additive_steps(0); }
static void additive_step_before(void) { additive_steps(1); }

// From the start or to the end, one gate per row or per element, in place or not.
static void decay(int from_start) {
  static const size_t row_counts[] = {1, 2, 16, 33};
  for (size_t at = 0; at < COUNT(row_counts); at++)
    for (int form = 0; form < 8; form++)
      FOR_LENGTHS(columns) {
        size_t rows = row_counts[at];
        int by_column = form & 1, in_place = form >> 1;
        begin("rows %zu, columns %zu, by column %d, in place %d", rows, columns, by_column,
              in_place);
        size_t width = by_column ? columns : 1;
        float *x = random_floats(rows * columns, -1, 1), *total = floats(width);
        const float *before = copy(x, rows * columns), *g = gates(rows * width);
        float *y = in_place ? x : floats(rows * columns);
        (from_start ? kernels->decay_from_start : kernels->decay_to_end)(rows, columns, x, g,
                                                                         by_column, y, total);
        for (size_t i = 0; i < columns; i++) {
          // Every sum of gates is rounded; its absolute error is the relative error of the result.
          double sum = 0, units = 8;
          for (size_t n = 0; n < rows; n++) {
            size_t r = from_start ? n : rows - 1 - n;
            if (from_start) sum += g[r * width + i % width], units += fabs(sum);
            double want = before[r * columns + i] * exp(sum);
            near("y", r * columns + i, y[r * columns + i], want,
                 fmax(fabs(want), SMALLEST / ROUNDING), units);
            if (!from_start) sum += g[r * width + i % width], units += fabs(sum);
          }
          near("total", i % width, total[i % width], exp(sum), fmax(exp(sum), SMALLEST / ROUNDING),
               units);
        }
      }
}
static void decay_from_start(void) { decay(1); }
static void decay_to_end(void) { decay(0); }

static void scale_rows(void) {
  enum { ROWS = 3, FACTOR_STRIDE = 2 };
  FOR_LENGTHS(columns) {
    begin("rows %d, columns %zu", ROWS, columns);
    size_t stride = columns + 2;
    const float *factor = random_rows(ROWS, 1, FACTOR_STRIDE, -2, 2);
    float *y = random_rows(ROWS, columns, stride, -1, 1);
    const float *before = copy(y, (ROWS - 1) * stride + columns);
    kernels->scale_rows(ROWS, columns, factor, FACTOR_STRIDE, y, stride);
    for (size_t r = 0; r < ROWS; r++)
      for (size_t i = 0; i < columns; i++)
        near("y", r * stride + i, y[r * stride + i],
             (double)factor[r * FACTOR_STRIDE] * before[r * stride + i], 2, 1);
    gaps_untouched("y", y, ROWS, columns, stride);
  }
}

static void scale_columns(void) {
  enum { ROWS = 3 };
  FOR_LENGTHS(columns) {
    begin("rows %d, columns %zu", ROWS, columns);
    size_t stride = columns + 2;
    const float *factor = random_floats(columns, -2, 2);
    float *y = random_rows(ROWS, columns, stride, -1, 1);
    const float *before = copy(y, (ROWS - 1) * stride + columns);
    kernels->scale_columns(ROWS, columns, factor, y, stride);
    for (size_t r = 0; r < ROWS; r++)
      for (size_t i = 0; i < columns; i++)
        near("y", r * stride + i, y[r * stride + i],
             (double)factor[i] * before[r * stride + i], 2, 1);
    gaps_untouched("y", y, ROWS, columns, stride);
  }
}

static void decay_tril(void) {
  FOR_LENGTHS(rows) for (int decays = 0; decays < 2; decays++) {
    begin("rows %zu, decays %d", rows, decays);
    size_t stride = rows + 3;
    float *s = random_rows(rows, rows, stride, -1, 1), *work = floats(rows);
    const float *before = copy(s, (rows - 1) * stride + rows), *g = gates(rows);
    kernels->decay_tril(rows, s, stride, decays ? g : NULL, work);
    for (size_t j = 0; j < rows; j++) {
      double sum = 0, units = 8;
      for (size_t i = 0; i < rows; i++) {
        if (i > j && decays) sum += g[i], units += fabs(sum);
        double want = i < j ? 0 : before[i * stride + j] * exp(sum);
        near("s", i * stride + j, s[i * stride + j], want, fmax(fabs(want), SMALLEST / ROUNDING),
             i <= j ? 0 : units);
      }
    }
    gaps_untouched("s", s, rows, rows, stride);
  }
}

static void decay_pairs(void) {
  FOR_LENGTHS(rows) {
    begin("rows %zu", rows);
    size_t stride = rows + 3;
    const float *s = random_rows(rows, rows, stride, -1, 1);
    const float *d = random_rows(rows, rows, stride, -1, 1);
    float *work = floats(rows), *dg = random_floats(rows, -1, 1);
    const float *before = copy(dg, rows);
    kernels->decay_pairs(rows, s, d, stride, work, dg);
    for (size_t t = 0; t < rows; t++) {
      double want = before[t], size = fabs(want);
      for (size_t i = t; i < rows; i++)
        for (size_t j = 0; j < t; j++) {
          double term = (double)s[i * stride + j] * d[i * stride + j];
          want += term, size += fabs(term);
        }
      near("dg", t, dg[t], want, size, (double)(rows - t) + (double)t / 4 + 10);
    }
  }
}

static const test tests[] = {TEST(prefetch), TEST(queue_prefetch), TEST(decay_split),
    TEST(additive_step), TEST(additive_step_before), TEST(decay_from_start), TEST(decay_to_end),
    TEST(scale_rows), TEST(scale_columns), TEST(decay_tril), TEST(decay_pairs)};
const suite recurrence_tests = {tests, COUNT(tests)};

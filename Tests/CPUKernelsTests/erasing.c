// bodies/erasing.h
#include "check.h"

static void solve_lower(void) {
  static const size_t row_counts[] = {1, 2, 15, 16, 17};
  for (int transposed = 0; transposed < 2; transposed++)
    FOR_EACH(rows, row_counts) FOR_LENGTHS(columns) {
      begin("rows %zu, columns %zu, transposed %d", rows, columns, transposed);
      size_t l_stride = rows + 2, x_stride = columns + 3;
      // Small enough that the solution does not outgrow the right-hand side.
      const float *l = random_rows(rows, rows, l_stride, -0.2f, 0.2f);
      float *x = random_rows(rows, columns, x_stride, -1, 1);
      const float *before = copy(x, (rows - 1) * x_stride + columns);
      kernels->solve_lower(rows, columns, l, l_stride, transposed, x, x_stride);
      // Substituting the solution gives the right-hand side.
      for (size_t i = 0; i < rows; i++)
        for (size_t d = 0; d < columns; d++) {
          double got = x[i * x_stride + d], size = fabs(got) + fabs(before[i * x_stride + d]);
          for (size_t j = 0; j < rows; j++) {
            if (transposed ? j <= i : j >= i) continue;
            double factor = transposed ? l[j * l_stride + i] : l[i * l_stride + j];
            got -= factor * x[j * x_stride + d], size += fabs(factor * x[j * x_stride + d]);
          }
          near("x", i * x_stride + d, got, before[i * x_stride + d], size, (double)rows + 1);
        }
      gaps_untouched("x", x, rows, columns, x_stride);
    }
}

static void low_rank_step(void) {
  static const size_t key_counts[] = {1, 3, 4, 9};
  for (int by_row = 0; by_row < 2; by_row++)
    FOR_EACH(k, key_counts) FOR_LENGTHS(v) {
      begin("k %zu, v %zu, a decay a row %d", k, v, by_row);
      const float *q = random_floats(k, -1, 1), *b = random_floats(k, -1, 1);
      const float *x = random_floats(k, -1, 1), *found = random_floats(v, -1, 1);
      const float *value = random_floats(v, -1, 1), *state = random_floats(k * v, -1, 1);
      const float *whole = random_floats(by_row ? k : 1, 0, 1);
      const float *rest = random_floats(by_row ? k : 1, -0.3f, 0);
      float *after = floats(k * v), *out = floats(v);
      kernels->low_rank_step((int)(k & 1), k, v, q, b, found, x, value, whole, rest, by_row, state,
                             after, out);
      for (size_t j = 0; j < v; j++) {
        double total = 0, size = 0;
        for (size_t i = 0; i < k; i++) {
          size_t decay = by_row ? i : 0, at = i * v + j;
          double terms[] = {(double)whole[decay] * state[at], (double)rest[decay] * state[at],
                            (double)b[i] * found[j], (double)x[i] * value[j]};
          double want = 0, term_size = 0;
          for (size_t n = 0; n < COUNT(terms); n++) want += terms[n], term_size += fabs(terms[n]);
          near("new", at, after[at], want, term_size, 5);
          total += q[i] * want, size += fabs(q[i]) * term_size;
        }
        near("out", j, out[j], total, size, (double)k + 6);
      }
    }
}

static void add_products(void) {
  FOR_LENGTHS(n) {
    begin("n %zu", n);
    const float *x = random_floats(n, -1, 1), *y = random_floats(n, -1, 1);
    float *z = random_floats(n, -1, 1);
    const float *before = copy(z, n);
    kernels->add_products(n, -0.7f, x, y, z);
    for (size_t i = 0; i < n; i++) {
      double term = (double)-0.7f * x[i] * y[i];
      near("z", i, z[i], before[i] + term, fabs(before[i]) + fabs(term), 3);
    }
  }
}

static void sum_around(void) {
  static const size_t row_counts[] = {1, 2, 5, 64};
  FOR_EACH(rows, row_counts) FOR_LENGTHS(columns) {
    begin("rows %zu, columns %zu", rows, columns);
    size_t count = rows * columns;
    const float *through = random_floats(columns, -1, 1), *earlier = random_floats(count, -1, 1);
    const float *later = random_floats(count, -1, 1);
    float *sums = floats(count);
    kernels->sum_around(rows, columns, through, earlier, later, sums);
    for (size_t at = 0; at < count; at++) {
      size_t t = at / columns, d = at % columns;
      double want = through[d], size = fabs(want);
      for (size_t i = 0; i < rows; i++) {
        double term = i < t ? earlier[i * columns + d] : later[i * columns + d];
        want += term, size += fabs(term);
      }
      near("sums", at, sums[at], want, size, (double)rows + 1);
    }
  }
}

static const test tests[] = {TEST(solve_lower), TEST(low_rank_step), TEST(add_products),
    TEST(sum_around)};
const suite erasing_tests = {tests, COUNT(tests)};

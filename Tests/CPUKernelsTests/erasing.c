// bodies/erasing.h
#include "check.h"

static void solve_lower(void) {
  static const size_t row_counts[] = {1, 2, 15, 16, 17};
  for (int transposed = 0; transposed < 2; transposed++)
    FOR_EACH(rows, row_counts) FOR_LENGTHS(columns) {
      begin("rows %zu, columns %zu, transposed %d", rows, columns, transposed);
      size_t l_stride = rows + 2, x_stride = columns + 3;
      // Short enough that the solution does not outgrow the right side.
      const float *l = random_rows(rows, rows, l_stride, -0.2f, 0.2f);
      float *x = random_rows(rows, columns, x_stride, -1, 1);
      const float *before = copy(x, (rows - 1) * x_stride + columns);
      kernels->solve_lower(rows, columns, l, l_stride, transposed, x, x_stride);
      // The solution put back gives the right side.
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

static const test tests[] = {{"solve_lower", solve_lower, 0},
                             {"add_products", add_products, 0},
                             {"sum_around", sum_around, 0}};
const suite erasing_tests = {tests, COUNT(tests)};

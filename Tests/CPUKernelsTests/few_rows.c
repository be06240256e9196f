// bodies/few_rows.h
#include "check.h"

static const cpu_float_type types[] = {CPU_F32, CPU_BF16, CPU_F16};
static const char *const names[] = {"float32", "bfloat16", "float16"};
// Groups of eight, four and single rows; depths in and out of whole vectors; tails of columns.
static const size_t row_counts[] = {1, 2, 3, 4, 5, 8, 9, 13};
static const size_t depths[] = {1, 7, 15, 16, 17, 32, 33, 64, 256, 288};
static const size_t widths[] = {1, 3, 4, 15, 16, 17, 31, 33, 64, 127};
#define FOR_CASES(t, m, n, k)                                       \
  for (size_t t = 0; t < COUNT(types); t++)                         \
    FOR_EACH(m, row_counts) FOR_EACH(n, widths) FOR_EACH(k, depths) \
      /* Long and wide at once says nothing new. */                 \
      if (n * k <= 64 * 64 || m == 1)

// B of `type` as numbers.
static double *numbers(cpu_float_type type, const void *b, size_t rows, size_t columns,
                       size_t stride) {
  double *x = doubles(rows * columns);
  for (size_t r = 0; r < rows; r++)
    for (size_t i = 0; i < columns; i++) x[r * columns + i] = element(type, b, r * stride + i);
  return x;
}

static void product_rows(void) {
  FOR_CASES(t, m, n, k) {
    begin("%s, m %zu, n %zu, k %zu", names[t], m, n, k);
    size_t a_row = k + 3, b_row = n + 5, c_row = n + 1;
    const float *a = random_rows(m, k, a_row, -1, 1);
    const void *b = random_rows_as(types[t], k, n, b_row);
    const double *y = numbers(types[t], b, k, n, b_row);
    float *c = random_rows(m, n, c_row, -1, 1), *before = copy(c, (m - 1) * c_row + n);
    kernels->product_rows(types[t], m, n, k, a, (ptrdiff_t)a_row, b, (ptrdiff_t)b_row, c,
                          (ptrdiff_t)c_row);
    for (size_t i = 0; i < m; i++)
      for (size_t j = 0; j < n; j++) {
        double want = before[i * c_row + j], size = fabs(want);
        for (size_t p = 0; p < k; p++) {
          double term = a[i * a_row + p] * y[p * n + j];
          want += term, size += fabs(term);
        }
        near("c", i * c_row + j, c[i * c_row + j], want, size, (double)k + 2);
      }
    gaps_untouched("c", c, m, n, c_row);
  }
}

static void dot_rows(void) {
  FOR_CASES(t, m, n, k) {
    begin("%s, m %zu, n %zu, k %zu", names[t], m, n, k);
    size_t a_row = k + 3, b_row = k + 5, c_row = n + 1;
    const float *a = random_rows(m, k, a_row, -1, 1);
    const void *b = random_rows_as(types[t], n, k, b_row);
    const double *y = numbers(types[t], b, n, k, b_row);
    float *c = floats((m - 1) * c_row + n);
    kernels->dot_rows(types[t], m, n, k, a, (ptrdiff_t)a_row, b, (ptrdiff_t)b_row, c,
                      (ptrdiff_t)c_row);
    // With bfloat16, A may be rounded to eight digits too.
    double units = (double)k + 2;
    if (types[t] == CPU_BF16 && kernels->has_bf16) units += BF16_ROUNDINGS;
    for (size_t i = 0; i < m; i++)
      for (size_t j = 0; j < n; j++) {
        double want = 0, size = 0;
        for (size_t p = 0; p < k; p++) {
          double term = a[i * a_row + p] * y[j * k + p];
          want += term, size += fabs(term);
        }
        near("c", i * c_row + j, c[i * c_row + j], want, size, units);
      }
    gaps_untouched("c", c, m, n, c_row);
  }
}

static const test tests[] = {{"product_rows", product_rows, 0}, {"dot_rows", dot_rows, 0}};
const suite few_rows_tests = {tests, COUNT(tests)};

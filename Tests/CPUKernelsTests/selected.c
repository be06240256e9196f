// bodies/selected.h
#include <string.h>

#include "check.h"

static const cpu_float_type types[] = {CPU_F32, CPU_BF16, CPU_F16};
static const char *const names[] = {"float32", "bfloat16", "float16"};
static const size_t row_counts[] = {1, 3, 8};

// A single number that is not finite is detected at any position; the gaps hold NaN.
static void rows_are_finite(void) {
  static const float odd[] = {NAN, INFINITY, -INFINITY};
  static const uint16_t odd_bf16[] = {0x7FC0, 0x7F80, 0xFF80}, odd_f16[] = {0x7E00, 0x7C00, 0xFC00};
  for (size_t t = 0; t < COUNT(types); t++) FOR_EACH(rows, row_counts) FOR_LENGTHS(columns) {
    begin("%s, rows %zu, columns %zu", names[t], rows, columns);
    size_t stride = columns + 3;
    char *x = random_rows_as(types[t], rows, columns, stride);
    equal("finite", 0, kernels->rows_are_finite(types[t], rows, columns, x, (ptrdiff_t)stride), 1);
    for (size_t i = 0; i < COUNT(odd); i++) {
      size_t place = random_bits() % rows * stride + random_bits() % columns;
      size_t size = types[t] == CPU_F32 ? 4 : 2;
      const void *bad = types[t] == CPU_F32    ? (const void *)&odd[i]
                        : types[t] == CPU_BF16 ? (const void *)&odd_bf16[i]
                                               : (const void *)&odd_f16[i];
      char kept[4];
      memcpy(kept, x + place * size, size);
      memcpy(x + place * size, bad, size);
      equal("finite", place,
            kernels->rows_are_finite(types[t], rows, columns, x, (ptrdiff_t)stride), 0);
      memcpy(x + place * size, kept, size);
    }
  }
  begin("no rows");
  equal("finite", 0, kernels->rows_are_finite(CPU_F32, 0, 4, floats(0), 4), 1);
}

// A has a zero in every row; rows of B whose column of A is all zero hold NaN.
static void add_selected(void) {
  FOR_EACH(m, row_counts) FOR_EACH(k, row_counts) FOR_LENGTHS(n)
  for (int turned = 0; turned < 2; turned++) {
    begin("m %zu, k %zu, n %zu%s", m, k, n, turned ? ", A by columns" : "");
    size_t hidden = random_bits() % k, row = turned ? 1 : k + 2, column = turned ? m + 2 : 1;
    float *a = random_floats((m + 2) * (k + 2), -1, 1);
    for (size_t i = 0; i < m; i++) a[i * row + hidden * column] = 0;
    float *b = random_rows(k, n, n + 1, -1, 1);
    for (size_t j = 0; j < n; j++) b[hidden * (n + 1) + j] = j % 2 ? NAN : INFINITY;
    float *c = random_rows(m, n, n + 2, -1, 1), *before = copy(c, (m - 1) * (n + 2) + n);
    kernels->add_selected(m, n, k, a, (ptrdiff_t)row, (ptrdiff_t)column, b, (ptrdiff_t)n + 1, c,
                          (ptrdiff_t)n + 2);
    for (size_t i = 0; i < m; i++)
      for (size_t j = 0; j < n; j++) {
        double want = before[i * (n + 2) + j], size = fabs(want);
        for (size_t p = 0; p < k; p++) {
          if (p == hidden) continue;
          double term = (double)a[i * row + p * column] * b[p * (n + 1) + j];
          want += term, size += fabs(term);
        }
        near("c", i * n + j, c[i * (n + 2) + j], want, size, (double)k + 2);
      }
    gaps_untouched("c", c, m, n, n + 2);
  }
}

static const test tests[] = {TEST(rows_are_finite), TEST(add_selected)};
const suite selected_tests = {tests, COUNT(tests)};

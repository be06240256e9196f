// bodies/few_rows.h and bodies/dot_rows.h
#include <string.h>

#include "check.h"

static const cpu_float_type types[] = {CPU_F32, CPU_BF16, CPU_F16};
static const char *const names[] = {"float32", "bfloat16", "float16"};
// Groups of eight, four and single rows; depths of whole vectors and not; remainders of columns.
static const size_t row_counts[] = {1, 2, 3, 4, 5, 8, 9, 13, 17};
static const size_t depths[] = {1, 7, 15, 16, 17, 32, 33, 64, 256, 288};
static const size_t widths[] = {1, 3, 4, 15, 16, 17, 31, 33, 64, 127};
static const size_t head_counts[] = {1, 3};
#define FOR_CASES(t, heads, m, n, k)                                \
  for (size_t t = 0; t < COUNT(types); t++)                         \
    FOR_EACH(heads, head_counts)                                    \
    FOR_EACH(m, row_counts) FOR_EACH(n, widths) FOR_EACH(k, depths) \
      /* Long and wide at once says nothing new. */                 \
      if (n * k <= 64 * 64 || (m == 1 && heads == 1))

// The matrices of `heads` heads side by side: rows of `columns` numbers and a gap per head.
typedef struct {
  size_t heads, rows, columns, head, row;
} layout;
static layout side_by_side(size_t heads, size_t rows, size_t columns, size_t gap) {
  return (layout){heads, rows, columns, columns + gap, heads * (columns + gap)};
}
static size_t place(layout l, size_t h, size_t r, size_t i) { return h * l.head + r * l.row + i; }

// B of all heads, with NaN in between.
static void *random_heads(cpu_float_type type, layout l) {
  char *x = random_rows_as(type, l.rows, l.row, l.row);
  size_t size = type == CPU_F32 ? 4 : 2;
  for (size_t h = 0; h < l.heads; h++)
    for (size_t r = 0; r < l.rows; r++)
      memset(x + place(l, h, r, l.columns) * size, 0xFF, (l.head - l.columns) * size);
  return x;
}

// With a bfloat16 B, A may be rounded to bfloat16's eight digits too.
static double units(size_t t, size_t k) {
  return (double)k + 2 + (types[t] == CPU_BF16 && kernels->has_bf16 ? BF16_ROUNDINGS : 0);
}

// B has empty rows.
static void product_rows_of_nothing(void) {
  for (size_t t = 0; t < COUNT(types); t++) {
    begin("%s, n 0", names[t]);
    kernels->product_rows(types[t], 2, 3, 0, 4, random_floats(24, -1, 1), 12, 4, floats(0), 0, 0,
                          floats(0), 0, 0);
  }
}

static void dot_rows_of_nothing(void) {
  for (size_t t = 0; t < COUNT(types); t++) {
    begin("%s, k 0", names[t]);
    float *c = floats(2 * 3 * 5);
    kernels->dot_rows(types[t], 2, 3, 5, 0, floats(0), 0, 0, floats(0), 0, 0, c, 15, 5);
    for (size_t i = 0; i < 30; i++) equal("c", i, c[i], 0);
  }
}

// C = A B^T, or C += A B, of all heads.
static void products(int transposed) {
  FOR_CASES(t, heads, m, n, k) {
    begin("%s, heads %zu, m %zu, n %zu, k %zu", names[t], heads, m, n, k);
    layout la = side_by_side(heads, m, k, 3), lc = side_by_side(heads, m, n, 1);
    layout lb = transposed ? side_by_side(heads, n, k, 5) : side_by_side(heads, k, n, 5);
    const float *a = random_rows(m, la.row, la.row, -1, 1);
    const void *b = random_heads(types[t], lb);
    float *c = random_rows(m, lc.row, lc.row, -1, 1), *before = copy(c, m * lc.row);
    (transposed ? kernels->dot_rows : kernels->product_rows)(
        types[t], heads, m, n, k, a, (ptrdiff_t)la.head, (ptrdiff_t)la.row, b, (ptrdiff_t)lb.head,
        (ptrdiff_t)lb.row, c, (ptrdiff_t)lc.head, (ptrdiff_t)lc.row);
    for (size_t h = 0; h < heads; h++)
      for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
          double want = transposed ? 0 : before[place(lc, h, i, j)], size = fabs(want);
          for (size_t p = 0; p < k; p++) {
            size_t other = transposed ? place(lb, h, j, p) : place(lb, h, p, j);
            double term = a[place(la, h, i, p)] * element(types[t], b, other);
            want += term, size += fabs(term);
          }
          near("c", place(lc, h, i, j), c[place(lc, h, i, j)], want, size, units(t, k));
        }
        equal("gap", place(lc, h, i, n), c[place(lc, h, i, n)], before[place(lc, h, i, n)]);
      }
  }
}

static void product_rows(void) {
  product_rows_of_nothing();
  products(0);
}

static void dot_rows(void) {
  dot_rows_of_nothing();
  products(1);
}

static const test tests[] = {TEST(product_rows), TEST(dot_rows)};
const suite few_rows_tests = {tests, COUNT(tests)};

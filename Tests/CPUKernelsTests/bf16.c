// bodies/product_bf16.h: panels and products of bfloat16 pairs.
#include "check.h"
#include "panels.h"

static const size_t row_counts[] = {1, 2, 7, 8, 9, 17};
static const size_t depths[] = {1, 2, 3, 15, 16, 31, 32, 33, 64, 65};

static size_t even(size_t k) { return k + k % 2; }

// The index of element (p, j) of B in its panels.
static size_t place(size_t p, size_t j, size_t panel_stride) {
  size_t t = kernels->tile_columns;
  return j / t * panel_stride + p / 2 * 2 * t + 2 * (j % t) + p % 2;
}

static void pack_pairs(int by_columns) {
  const size_t t = kernels->tile_columns;
  FOR_EACH(k, depths) FOR_COLUMNS(n) {
    begin("k %zu, n %zu", k, n);
    size_t lines = by_columns ? n : k, line = by_columns ? k : n, stride = line + 3;
    const uint16_t *b = random_rows_as(CPU_BF16, lines, line, stride);
    size_t count = (n + t - 1) / t, panel_stride = even(k) * t + PADDING;
    size_t size = (count - 1) * panel_stride + even(k) * t;
    uint16_t *panels = memory(2 * size);
    const uint16_t *poison = memory(2 * size);
    if (by_columns)
      kernels->bf16.pack_pairs_of_columns(k, n, b, (ptrdiff_t)stride, panels, panel_stride);
    else
      kernels->bf16.pack_pairs_of_rows(k, n, b, (ptrdiff_t)stride, panels, panel_stride);
    for (size_t j = 0; j < count * t; j++)
      for (size_t p = 0; p < even(k); p++) {
        size_t at = place(p, j, panel_stride);
        int is_inside = p < k && j < n;
        equal("panels", at, panels[at],
              is_inside ? b[by_columns ? j * stride + p : p * stride + j] : 0);
      }
    for (size_t panel = 0; panel + 1 < count; panel++)
      for (size_t i = even(k) * t; i < panel_stride; i++)
        equal("gap of panels", panel * panel_stride + i, panels[panel * panel_stride + i],
              poison[panel * panel_stride + i]);
  }
}
static void pack_pairs_of_columns(void) { pack_pairs(1); }
static void pack_pairs_of_rows(void) { pack_pairs(0); }

// A in rows of pairs, or in pairs of columns as pair_rows makes them.
static void product_of(int by_pairs, int is_general) {
  const size_t t = kernels->tile_columns;
  FOR_EACH(m, row_counts) FOR_COLUMNS(n) FOR_EACH(k, depths) for (int form = 0; form < 4; form++) {
    int in_panels = form & 1, accumulate = (form & 2) != 0;
    begin("m %zu, n %zu, k %zu, A %s, C %s, accumulate %d", m, n, k, by_pairs ? "by pairs" : "by rows",
          in_panels ? "in panels" : "by rows", accumulate);
    size_t count = (n + t - 1) / t, panel_stride = even(k) * t + PADDING;
    size_t a_row = by_pairs ? 2 : even(k) + 2, a_pair = by_pairs ? 2 * m + 2 : 2;
    uint16_t *a = by_pairs ? random_rows_as(CPU_BF16, even(k) / 2, 2 * m, a_pair)
                           : random_rows_as(CPU_BF16, m, even(k), a_row);
    uint16_t *b = random_rows_as(CPU_BF16, count, even(k) * t, panel_stride);
    for (size_t i = 0; i < m && k % 2; i++) a[i * a_row + k / 2 * a_pair + 1] = 0;
    result to = result_of(m, n, in_panels);
    float *c = result_memory(&to, m, n, accumulate);
    const float *before = copy(c, to.count);
    if (is_general)
      kernels->bf16.product_pairs(m, n, k, a, (ptrdiff_t)a_row, (ptrdiff_t)a_pair, b, panel_stride,
                                  c, (ptrdiff_t)to.row, (ptrdiff_t)to.panel, accumulate);
    else
      kernels->bf16.product(m, n, k, a, (ptrdiff_t)a_row, b, panel_stride, c, (ptrdiff_t)to.row,
                            (ptrdiff_t)to.panel, accumulate);
    for (size_t i = 0; i < m; i++)
      for (size_t j = 0; j < n; j++) {
        size_t at = place_in(&to, i, j);
        double want = accumulate ? before[at] : 0, size = fabs(want);
        for (size_t p = 0; p < k; p++) {
          double term = element(CPU_BF16, a, i * a_row + p / 2 * a_pair + p % 2)
                        * element(CPU_BF16, b, place(p, j, panel_stride));
          want += term, size += fabs(term);
        }
        near("c", at, c[at], want, size, (double)k + 2);
      }
    rest_untouched(&to, m, n, c);
  }
}
static void product(void) { product_of(0, 0); }
static void product_pairs(void) {
  product_of(0, 1);
  product_of(1, 1);
}

static void narrow_scaled(void) {
  enum { ROWS = 3 };
  FOR_LENGTHS(columns) {
    begin("rows %d, columns %zu", ROWS, columns);
    size_t stride = columns + 3, count = (ROWS - 1) * stride + even(columns);
    const float *x = random_rows(ROWS, columns, stride, -1, 1);
    const float *row = random_floats(ROWS, -2, 2), *column = random_floats(columns, -2, 2);
    uint16_t *y = memory(2 * count);
    const uint16_t *poison = memory(2 * count);
    kernels->bf16.narrow_scaled(ROWS, columns, x, stride, row, column, y);
    for (size_t r = 0; r < ROWS; r++) {
      for (size_t j = 0; j < columns; j++) {
        double want = (double)x[r * stride + j] * row[r] * column[j];
        near("y", r * stride + j, element(CPU_BF16, y, r * stride + j), want, fabs(want),
             BF16_ROUNDINGS + 3);
      }
      size_t end = r * stride + columns;
      if (columns % 2) equal("last of y", end, element(CPU_BF16, y, end), 0);
      for (size_t at = end + columns % 2; r + 1 < ROWS && at < (r + 1) * stride; at++)
        equal("gap of y", at, y[at], poison[at]);
    }
  }
}

static void dot_pairs(void) {
  const size_t rounds = 3;
  const uint16_t half = 0x3F00, three = 0x4040;
  begin("%zu rounds", rounds);
  size_t lanes = kernels->operations_per_round / 2;
  equal("sum", 0, kernels->bf16.dot_pairs(rounds, half, three),
        (double)(lanes * rounds) * 2 * 0.5 * 3);
}

static const test tests[] = {{"bf16.pack_pairs_of_columns", pack_pairs_of_columns, 1},
    {"bf16.pack_pairs_of_rows", pack_pairs_of_rows, 1}, {"bf16.product", product, 1},
    {"bf16.product_pairs", product_pairs, 1}, {"bf16.narrow_scaled", narrow_scaled, 1},
    {"bf16.dot_pairs", dot_pairs, 1}};
const suite bf16_tests = {tests, COUNT(tests)};

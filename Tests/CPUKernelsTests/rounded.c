// bodies/rounded.h: operands rounded from float32 into bfloat16 pairs.
#include "check.h"
#include "panels.h"

static const size_t row_counts[] = {1, 2, 7, 8, 17};
static const size_t depths[] = {1, 2, 15, 16, 33, 64, 65, 130};

static size_t even(size_t k) { return k + k % 2; }

static void round_rows(void) {
  FOR_EACH(rows, row_counts) FOR_LENGTHS(columns) {
    begin("rows %zu, columns %zu", rows, columns);
    size_t stride = columns + 3, y_stride = even(columns) + 2;
    size_t count = (rows - 1) * y_stride + even(columns);
    const float *x = random_rows(rows, columns, stride, -1, 1);
    uint16_t *y = memory(2 * count);
    const uint16_t *poison = memory(2 * count);
    kernels->bf16.round_rows(rows, columns, x, stride, y, y_stride);
    for (size_t r = 0; r < rows; r++)
      for (size_t j = 0; j < (r + 1 < rows ? y_stride : even(columns)); j++) {
        size_t at = r * y_stride + j;
        if (j < even(columns))
          equal("y", at, element(CPU_BF16, y, at),
                j < columns ? rounded_to(CPU_BF16, x[r * stride + j]) : 0);
        else
          equal("gap of y", at, y[at], poison[at]);
      }
  }
}

static void pair_rows(void) {
  FOR_EACH(rows, row_counts) FOR_LENGTHS(columns) {
    begin("rows %zu, columns %zu", rows, columns);
    size_t stride = columns + 3, y_stride = 2 * columns + 4, pairs = even(rows) / 2;
    size_t count = (pairs - 1) * y_stride + 2 * columns;
    const float *x = random_rows(rows, columns, stride, -1, 1);
    uint16_t *y = memory(2 * count);
    const uint16_t *poison = memory(2 * count);
    kernels->bf16.pair_rows(rows, columns, x, stride, y, y_stride);
    for (size_t r = 0; r < pairs; r++)
      for (size_t j = 0; j < (r + 1 < pairs ? y_stride : 2 * columns); j++) {
        size_t at = r * y_stride + j, row = 2 * r + j % 2;
        if (j >= 2 * columns)
          equal("gap of y", at, y[at], poison[at]);
        else
          equal("y", at, element(CPU_BF16, y, at),
                row < rows ? rounded_to(CPU_BF16, x[row * stride + j / 2]) : 0);
      }
  }
}

static void pack_rounded(void) {
  const size_t t = kernels->tile_columns;
  for (int by_columns = 0; by_columns < 2; by_columns++)
    FOR_EACH(k, depths) FOR_COLUMNS(n) {
      begin("k %zu, n %zu, by columns %d", k, n, by_columns);
      size_t lines = by_columns ? n : k, line = by_columns ? k : n, stride = line + 3;
      const float *b = random_rows(lines, line, stride, -1, 1);
      size_t count = (n + t - 1) / t, panel_stride = even(k) * t + PADDING;
      size_t size = (count - 1) * panel_stride + even(k) * t;
      uint16_t *panels = memory(2 * size);
      const uint16_t *poison = memory(2 * size);
      kernels->bf16.pack_rounded(k, n, b, by_columns ? 1 : (ptrdiff_t)stride,
                                 by_columns ? (ptrdiff_t)stride : 1, panels, panel_stride);
      for (size_t j = 0; j < count * t; j++)
        for (size_t p = 0; p < even(k); p++) {
          size_t at = j / t * panel_stride + p / 2 * 2 * t + 2 * (j % t) + p % 2;
          int is_inside = p < k && j < n;
          equal("panels", at, element(CPU_BF16, panels, at),
                is_inside
                  ? rounded_to(CPU_BF16, b[by_columns ? j * stride + p : p * stride + j]) : 0);
        }
      for (size_t panel = 0; panel + 1 < count; panel++)
        for (size_t i = even(k) * t; i < panel_stride; i++)
          equal("gap of panels", panel * panel_stride + i, panels[panel * panel_stride + i],
                poison[panel * panel_stride + i]);
    }
}

static const test tests[] = {{"bf16.round_rows", round_rows, 1}, {"bf16.pair_rows", pair_rows, 1},
    {"bf16.pack_rounded", pack_rounded, 1}};
const suite rounded_tests = {tests, COUNT(tests)};

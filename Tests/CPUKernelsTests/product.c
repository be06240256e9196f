// bodies/product.h
#include "check.h"
#include "panels.h"

static const size_t row_counts[] = {1, 2, 3, 4, 5, 7, 8, 9, 17};
static const size_t depths[] = {0, 1, 2, 15, 16, 17, 33, 64};


// B with any strides, into panels with gaps in between.
static void pack(void) {
  const size_t t = kernels->tile_columns;
  FOR_EACH(k, depths) FOR_COLUMNS(n) for (size_t layout = 0; layout < 4; layout++) {
    const ptrdiff_t strides[][2] = {{(ptrdiff_t)n + 3, 1},
                                    {1, (ptrdiff_t)k + 3},
                                    {2 * (ptrdiff_t)n, 2},
                                    {2, 2 * (ptrdiff_t)k + 1}};
    ptrdiff_t k_stride = strides[layout][0], n_stride = strides[layout][1];
    begin("k %zu, n %zu, strides %td and %td", k, n, k_stride, n_stride);
    size_t stride = k * t + PADDING, panels_count = (n + t - 1) / t;
    float *b = floats(k == 0 ? 0 : (k - 1) * (size_t)k_stride + (n - 1) * (size_t)n_stride + 1);
    for (size_t p = 0; p < k; p++)
      for (size_t j = 0; j < n; j++)
        b[(ptrdiff_t)p * k_stride + (ptrdiff_t)j * n_stride] = (float)uniform(-1, 1);
    float *panels = floats((panels_count - 1) * stride + k * t);
    kernels->pack(k, n, b, k_stride, n_stride, panels, stride);
    for (size_t j = 0; j < panels_count * t; j++)
      for (size_t p = 0; p < k; p++) {
        size_t place = j / t * stride + p * t + j % t;
        equal("panels", place, panels[place],
              j < n ? b[(ptrdiff_t)p * k_stride + (ptrdiff_t)j * n_stride] : 0);
      }
    gaps_untouched("panels", panels, panels_count, k * t, stride);
  }
}

// Every shape around the tile; A by rows and by columns, C in rows and in panels, set or accumulated.
static void product(void) {
  const size_t t = kernels->tile_columns;
  FOR_EACH(m, row_counts) FOR_COLUMNS(n) FOR_EACH(k, depths) for (int form = 0; form < 8; form++) {
    int by_columns = form & 1, in_panels = form & 2, accumulate = (form & 4) != 0;
    begin("m %zu, n %zu, k %zu, A by %s, C %s, accumulate %d", m, n, k,
          by_columns ? "columns" : "rows", in_panels ? "in panels" : "by rows", accumulate);
    size_t lines = by_columns ? k : m, line = by_columns ? m : k, a_stride = line + 2;
    const float *a = random_rows(lines, line, a_stride, -1, 1);
    ptrdiff_t a_row = by_columns ? 1 : (ptrdiff_t)a_stride;
    ptrdiff_t a_column = by_columns ? (ptrdiff_t)a_stride : 1;
    size_t count = (n + t - 1) / t, panel_stride = k * t + PADDING;
    float *b = random_rows(count, k * t, panel_stride, -1, 1);
    result to = result_of(m, n, in_panels);
    float *c = result_memory(&to, m, n, accumulate);
    const float *before = copy(c, to.count);
    kernels->product(m, n, k, a, a_row, a_column, b, panel_stride, c, (ptrdiff_t)to.row,
                     (ptrdiff_t)to.panel, accumulate);
    for (size_t i = 0; i < m; i++)
      for (size_t j = 0; j < n; j++) {
        size_t place = place_in(&to, i, j);
        double want = accumulate ? before[place] : 0, size = fabs(want);
        for (size_t p = 0; p < k; p++) {
          double term = (double)a[(ptrdiff_t)i * a_row + (ptrdiff_t)p * a_column]
                        * b[j / t * panel_stride + p * t + j % t];
          want += term;
          size += fabs(term);
        }
        near("c", place, c[place], want, size, (double)k + 1);
      }
    rest_untouched(&to, m, n, c);
  }
}

static void vector_matrix(void) {
  FOR_LENGTHS(n) FOR_LENGTHS(k) for (size_t layout = 0; layout < 3; layout++) {
    const ptrdiff_t strides[][2] = {
        {(ptrdiff_t)n + 3, 1}, {1, (ptrdiff_t)k + 3}, {2, 2 * (ptrdiff_t)k + 1}};
    ptrdiff_t k_stride = strides[layout][0], n_stride = strides[layout][1];
    begin("n %zu, k %zu, strides %td and %td", n, k, k_stride, n_stride);
    float *b = floats((k - 1) * (size_t)k_stride + (n - 1) * (size_t)n_stride + 1), *y = floats(n);
    const float *x = random_floats(k, -1, 1);
    for (size_t p = 0; p < k; p++)
      for (size_t j = 0; j < n; j++)
        b[(ptrdiff_t)p * k_stride + (ptrdiff_t)j * n_stride] = (float)uniform(-1, 1);
    kernels->vector_matrix(n, k, x, b, k_stride, n_stride, y);
    for (size_t j = 0; j < n; j++) {
      double want = 0, size = 0;
      for (size_t p = 0; p < k; p++) {
        double term = (double)x[p] * b[(ptrdiff_t)p * k_stride + (ptrdiff_t)j * n_stride];
        want += term, size += fabs(term);
      }
      near("y", j, y[j], want, size, (double)k + 1);
    }
  }
}

static void matmul_f64(void) {
  FOR_EACH(m, row_counts) FOR_COLUMNS(n) FOR_EACH(k, depths) for (int t = 0; t < 2; t++) {
    begin("m %zu, n %zu, k %zu, turned %d", m, n, k, t);
    size_t a_count = m * k, b_count = k * n;
    double *a = doubles(a_count), *b = doubles(b_count), *c = doubles(m * n);
    for (size_t i = 0; i < a_count; i++) a[i] = uniform(-1, 1);
    for (size_t i = 0; i < b_count; i++) b[i] = uniform(-1, 1);
    ptrdiff_t a_row = t ? 1 : (ptrdiff_t)k, a_column = t ? (ptrdiff_t)m : 1;
    ptrdiff_t b_row = t ? 1 : (ptrdiff_t)n, b_column = t ? (ptrdiff_t)k : 1;
    kernels->matmul_f64(m, n, k, a, a_row, a_column, b, b_row, b_column, c);
    const double rounding = 0x1p-53 / ROUNDING;
    for (size_t i = 0; i < m; i++)
      for (size_t j = 0; j < n; j++) {
        double want = 0, size = 0;
        for (size_t p = 0; p < k; p++) {
          double term = a[(ptrdiff_t)i * a_row + (ptrdiff_t)p * a_column]
                        * b[(ptrdiff_t)p * b_row + (ptrdiff_t)j * b_column];
          want += term, size += fabs(term);
        }
        near("c", i * n + j, c[i * n + j], want, size * rounding, 2 * (double)k + 1);
      }
  }
}

static const test tests[] = {TEST(pack), TEST(product), TEST(vector_matrix), TEST(matmul_f64)};
const suite product_tests = {tests, COUNT(tests)};

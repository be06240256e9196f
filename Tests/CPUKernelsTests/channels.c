// bodies/recurrence.h: blocks whose decay differs by channel.
#include "check.h"

static const size_t row_counts[] = {1, 2, 5, 16, 17};
#define FOR_BLOCKS(rows, columns) FOR_EACH(rows, row_counts) FOR_LENGTHS(columns)

// A block of queries, keys and decays, rows of `columns`.
typedef struct {
  size_t columns;
  const float *q, *k, *a;
} block;

static block random_block(size_t rows, size_t columns) {
  float *a = random_floats(rows * columns, 0.3f, 1);
  // Strong gates, and none.
  for (size_t i = 0; i < rows * columns; i += 7) a[i] = i % 2 ? 1 : 2e-9f;
  return (block){columns, random_floats(rows * columns, -1, 1),
                 random_floats(rows * columns, -1, 1), a};
}

// The product of the decays after token j up to token i.
static double between(const block *b, size_t i, size_t j, size_t d) {
  double product = 1;
  for (size_t t = j + 1; t <= i; t++) product *= b->a[t * b->columns + d];
  return product;
}

static void channel_scores(void) {
  FOR_BLOCKS(rows, columns) {
    begin("rows %zu, columns %zu", rows, columns);
    block b = random_block(rows, columns);
    size_t stride = rows + 2;
    float *work = floats(columns), *s = floats((rows - 1) * stride + rows);
    kernels->channel_scores(rows, columns, b.q, b.k, b.a, work, s, stride);
    for (size_t i = 0; i < rows; i++)
      for (size_t j = 0; j < rows; j++) {
        double want = 0, size = 0;
        for (size_t d = 0; d < columns && j <= i; d++) {
          double term = (double)b.q[i * columns + d] * b.k[j * columns + d] * between(&b, i, j, d);
          want += term, size += fabs(term);
        }
        near("s", i * stride + j, s[i * stride + j], want, size,
             (double)columns / 4 + (double)rows + 8);
      }
    gaps_untouched("s", s, rows, rows, stride);
  }
}

static void channel_scores_backward(void) {
  FOR_BLOCKS(rows, columns) {
    begin("rows %zu, columns %zu", rows, columns);
    block b = random_block(rows, columns);
    size_t stride = rows + 2, count = rows * columns;
    const float *ds = random_rows(rows, rows, stride, -1, 1);
    float *dq = random_floats(count, -1, 1), *dk = random_floats(count, -1, 1);
    const float *dq0 = copy(dq, count), *dk0 = copy(dk, count);
    kernels->channel_scores_backward(rows, columns, b.q, b.k, b.a, ds, stride, dq, dk);
    // A term passes a multiplication and an addition for every token.
    double units = 2 * (double)rows + 4;
    for (size_t at = 0; at < count; at++) {
      size_t t = at / columns, d = at % columns;
      double query = dq0[at], query_size = fabs(query), key = dk0[at], key_size = fabs(key);
      for (size_t j = 0; j < t; j++) {
        double term = (double)ds[t * stride + j] * b.k[j * columns + d] * between(&b, t, j, d);
        query += term, query_size += fabs(term);
      }
      for (size_t i = t + 1; i < rows; i++) {
        double term = (double)ds[i * stride + t] * b.q[i * columns + d] * between(&b, i, t, d);
        key += term, key_size += fabs(term);
      }
      near("dq", at, dq[at], query, query_size, units);
      near("dk", at, dk[at], key, key_size, units);
    }
  }
}

static void panel_dots(void) {
  const size_t t = kernels->tile_columns;
  FOR_BLOCKS(rows, columns) {
    begin("rows %zu, columns %zu", rows, columns);
    size_t count = (columns + t - 1) / t, stride = rows * t + 5;
    const float *x = random_rows(count, rows * t, stride, -1, 1);
    const float *y = random_rows(count, rows * t, stride, -1, 1);
    float *out = floats(columns);
    kernels->panel_dots(rows, columns, x, y, stride, out);
    for (size_t j = 0; j < columns; j++) {
      double want = 0, size = 0;
      for (size_t i = 0; i < rows; i++) {
        size_t at = j / t * stride + i * t + j % t;
        want += (double)x[at] * y[at], size += fabs((double)x[at] * y[at]);
      }
      near("out", j, out[j], want, size, (double)rows + 1);
    }
  }
}

static const test tests[] = {TEST(channel_scores), TEST(channel_scores_backward),
    TEST(panel_dots)};
const suite channel_tests = {tests, COUNT(tests)};

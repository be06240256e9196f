// Matrices of sizes around whole panels, and results in rows or in panels.
#pragma once

#include "check.h"

enum { COLUMN_COUNTS = 6, PADDING = 6 };

static inline size_t column_count(size_t i) {
  size_t t = kernels->tile_columns;
  const size_t counts[COLUMN_COUNTS] = {1, t - 1, t, t + 1, 2 * t, 3 * t - 3};
  return counts[i];
}
#define FOR_COLUMNS(n) \
  for (size_t n##_at = 0, n; n##_at < COLUMN_COUNTS && (n = column_count(n##_at), 1); n##_at++)

// The layout of a product's result: strides of rows and panels, and the numbers from the first to the last.
typedef struct {
  int in_panels;
  size_t row, panel, count;
} result;

static inline size_t place_in(const result *to, size_t i, size_t j) {
  size_t t = kernels->tile_columns;
  return j / t * to->panel + i * to->row + j % t;
}

static inline result result_of(size_t m, size_t n, int in_panels) {
  size_t t = kernels->tile_columns;
  result to = {in_panels, in_panels ? t : n + 3, in_panels ? m * t + PADDING : t, 0};
  to.count = place_in(&to, m - 1, n - 1) + 1;
  return to;
}

// Poison, or random numbers if the product is added to them.
static inline float *result_memory(const result *to, size_t m, size_t n, int accumulate) {
  float *c = floats(to->count);
  for (size_t i = 0; i < m && accumulate; i++)
    for (size_t j = 0; j < n; j++) c[place_in(to, i, j)] = (float)uniform(-1, 1);
  return c;
}

// The gaps between the rows and panels of the result are still poison.
static inline void rest_untouched(const result *to, size_t m, size_t n, const float *c) {
  size_t t = kernels->tile_columns, panels = (n + t - 1) / t;
  if (!to->in_panels) {
    gaps_untouched("c", c, m, n, to->row);
    return;
  }
  for (size_t i = 0; i + 1 < m; i++)
    for (size_t j = n; j < panels * t; j++) untouched("c", c, place_in(to, i, j));
  for (size_t panel = 0; panel + 1 < panels; panel++)
    for (size_t i = m * t; i < to->panel; i++) untouched("c", c, panel * to->panel + i);
}

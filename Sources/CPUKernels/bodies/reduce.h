// Four accumulators in a fixed order: reproducible, with rounding that grows with n / (4 LANES).
#define REDUCE(start, fill, load, combine, last)                                        \
  vf a0 = v_set(start), a1 = a0, a2 = a0, a3 = a0;                                      \
  size_t i = 0;                                                                         \
  for (; i + 4 * LANES <= n; i += 4 * LANES) {                                          \
    a0 = combine(a0, load(i));                                                          \
    a1 = combine(a1, load(i + LANES));                                                  \
    a2 = combine(a2, load(i + 2 * LANES));                                              \
    a3 = combine(a3, load(i + 3 * LANES));                                              \
  }                                                                                     \
  for (; i + LANES <= n; i += LANES) a0 = combine(a0, load(i));                         \
  if (i < n) a1 = combine(a1, load##_part(i, n - i, fill));                             \
  return last(combine(combine(a0, a1), combine(a2, a3)));

#define PLUS(u, v) ((u) + (v))
#define LOAD_X(i) v_load(x + (i))
#define LOAD_X_part(i, count, fill) v_load_part(x + (i), count, fill)
#define LOAD_XY(i) (v_load(x + (i)) * v_load(y + (i)))
#define LOAD_XY_part(i, count, fill) \
  (v_load_part(x + (i), count, fill) * v_load_part(y + (i), count, fill))

INLINE float row_sum(size_t n, const float *x) { REDUCE(0.0f, 0.0f, LOAD_X, PLUS, v_sum) }
// The largest element of a row; NaN if any element is NaN.
INLINE float row_maximum(size_t n, const float *x) {
  REDUCE(-INFINITY, -INFINITY, LOAD_X, v_max_or_nan, v_maximum_or_nan)
}
// The same at a third of the cost, for rows without NaN; with NaN the result is any element, or -inf.
INLINE float row_maximum_of_numbers(size_t n, const float *x) {
  REDUCE(-INFINITY, -INFINITY, LOAD_X, v_max, v_maximum)
}
INLINE float row_dot(size_t n, const float *x, const float *y) {
  REDUCE(0.0f, 0.0f, LOAD_XY, PLUS, v_sum)
}

static float sum(size_t n, const float *x) { return row_sum(n, x); }
static float dot(size_t n, const float *x, const float *y) { return row_dot(n, x, y); }

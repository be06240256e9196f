// Entries of the table in include/CPUKernels.h: recurrences with one matrix state per head, and the
// memory rows that they read and write.

#pragma clang assume_nonnull begin
// MARK: bodies/prefetch.h
// Prefetches rows of `bytes` bytes, `stride` bytes apart, to be read or written: `prefetch` now,
// `queue_prefetch` through this thread's prefetch queue, a line at a time while it computes products
// and selective scans.
ENTRY(void, prefetch, size_t rows, size_t bytes, const void *x, ptrdiff_t stride, int to_write)
ENTRY(void, queue_prefetch, size_t rows, size_t bytes, const void *x, ptrdiff_t stride,
      int to_write)

// MARK: bodies/rows.h
// y = factor * x: rows of `type` to contiguous rows of float32.
ENTRY(void, load_rows, cpu_float_type type, size_t rows, size_t columns, const void *x,
      ptrdiff_t x_row, float factor, float *y)
// y = x: contiguous rows of float32 to rows of `type`; with `past_caches`, by non-temporal stores.
ENTRY(void, store_rows, cpu_float_type type, int past_caches, size_t rows, size_t columns,
      const float *x, void *y, ptrdiff_t y_row)

// MARK: bodies/recurrence.h
// Decays are e^g, g <= 0.
// e^g as whole + rest: 1 + (e^g - 1) near 1, so that the rounding of a factor near 1 does not
// accumulate over the tokens, otherwise 0 + e^g.
ENTRY(void, decay_split, size_t n, const float *g, float *whole, float *rest)
// One token of the additive recurrence. state is k by v, row-major, and may be new_state:
// new = (whole[i] + rest[i]) * state + key[i] * value, out = query^T new.
// decay_stride is 0 (one decay for all rows) or 1. With `past_caches`, the new state is written with
// non-temporal stores, for a state that will have left the caches before it is read again.
ENTRY(void, additive_step, int past_caches, size_t k, size_t v, const float *query,
      const float *key, const float *value, const float *whole, const float *rest,
      ptrdiff_t decay_stride, const float *state, float *new_state, float *out)
// The same with out = query^T state + (sum of query[i] * bonus[i] * key[i]) * value.
ENTRY(void, additive_step_before, int past_caches, size_t k, size_t v, const float *query,
      const float *key, const float *value, const float *bonus, const float *whole,
      const float *rest, ptrdiff_t decay_stride, const float *state, float *new_state, float *out)
// One g per row or, with by_column, per element. x, y and such g are contiguous rows of `columns`; y
// may be x.
// y[r] = x[r] * e^(g[0] + ... + g[r]); total = e^(sum of all rows), 1 or `columns` numbers.
ENTRY(void, decay_from_start, size_t rows, size_t columns, const float *x, const float *g,
      int by_column, float *y, float *total)
// y[r] = x[r] * e^(g[r + 1] + ... + g[rows - 1]); total as above.
ENTRY(void, decay_to_end, size_t rows, size_t columns, const float *x, const float *g,
      int by_column, float *y, float *total)
// y[r][i] *= factor[r*factor_stride]
ENTRY(void, scale_rows, size_t rows, size_t columns, const float *factor, size_t factor_stride,
      float *y, size_t stride)
// y[r][i] *= factor[i]
ENTRY(void, scale_columns, size_t rows, size_t columns, const float *factor, float *y,
      size_t stride)
// s[i][j] *= e^(g[j + 1] + ... + g[i]) for j <= i, and 0 for j > i. g = NULL means zeros. work holds
// `rows` numbers.
ENTRY(void, decay_tril, size_t rows, float *s, size_t stride, const float *_Nullable g, float *work)
// dg[t] += sum over j < t <= i of s[i][j] * d[i][j]: the gradient of g, from scores s decayed by
// decay_tril and their gradient d. work holds `rows` numbers.
ENTRY(void, decay_pairs, size_t rows, const float *s, const float *d, size_t stride, float *work,
      float *dg)
// Scores within one short block whose decay a = e^g differs by channel: with E the product of
// a[j + 1] to a[i], s[i][j] = sum over d of q[i][d] * k[j][d] * E[d] for j <= i, and 0 for j > i. work
// holds `columns` numbers.
ENTRY(void, channel_scores, size_t rows, size_t columns, const float *q, const float *k,
      const float *a, float *work, float *s, size_t s_stride)
// Its gradient without the diagonal: over j < i, dq[i] += ds[i][j] * k[j] * E and
// dk[j] += ds[i][j] * q[i] * E.
ENTRY(void, channel_scores_backward, size_t rows, size_t columns, const float *q, const float *k,
      const float *a, const float *ds, size_t s_stride, float *dq, float *dk)
// out[j] = sum over i of x(i, j) * y(i, j), both packed with `panel_stride`.
ENTRY(void, panel_dots, size_t rows, size_t columns, const float *x, const float *y,
      size_t panel_stride, float *out)

// MARK: bodies/erasing.h
// Solves (1 - L) x = b in place, L the strictly lower part of `l`: x[i] += l[i][j] * x[j] for j < i,
// from the first row to the last. Transposed: x[i] += l[j][i] * x[j] for j > i, from the last row to
// the first. Specialised for 16 rows.
ENTRY(void, solve_lower, size_t rows, size_t columns, const float *l, size_t l_stride,
      int transposed, float *x, size_t x_stride)
// One token of a diagonal-plus-low-rank recurrence. state is k by v, row-major, and may be new_state:
// new = (whole[i] + rest[i]) * state + b[i] * found + key[i] * value, out = query^T new.
// decay_stride is 0 (one decay for all rows) or 1; past_caches as in additive_step.
ENTRY(void, low_rank_step, int past_caches, size_t k, size_t v, const float *query, const float *b,
      const float *found, const float *key, const float *value, const float *whole,
      const float *rest, ptrdiff_t decay_stride, const float *state, float *new_state, float *out)
// z += alpha * x * y
ENTRY(void, add_products, size_t n, float alpha, const float *x, const float *y, float *z)
// sums[t] = through + sum over j < t of earlier[j] + sum over i >= t of later[i], contiguous rows.
ENTRY(void, sum_around, size_t rows, size_t columns, const float *through, const float *earlier,
      const float *later, float *sums)
#pragma clang assume_nonnull end

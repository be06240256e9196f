// Entries of the table in include/CPUKernels.h: exact attention.

#pragma clang assume_nonnull begin
// MARK: bodies/softmax_tile.h
// A tile of scores, rows of `columns` at `stride`. Scores of row r outside of columns
// [low + r, high + r), clamped to the tile, become -inf.
ENTRY(void, mask_band, size_t rows, size_t columns, float *s, size_t stride, ptrdiff_t low,
      ptrdiff_t high)
// s = -inf where keep[j] is 0.
ENTRY(void, mask_keys, size_t rows, size_t columns, float *s, size_t stride, const uint8_t *keep)
// s += b[r*b_row + j*b_column]; a sum that overflows becomes the largest finite number of its sign,
// unless b is infinite. b = -inf makes s -inf, even where s is NaN.
ENTRY(void, add_rows, size_t rows, size_t columns, float *s, size_t stride, const float *b,
      ptrdiff_t b_row, ptrdiff_t b_column)
// The same with a bias of any type: bit for bit as if it were first converted to float.
ENTRY(void, add_bias, cpu_bias_type type, size_t rows, size_t columns, float *s, size_t stride,
      const void *b, ptrdiff_t b_row, ptrdiff_t b_column)
// s += slope * -|r + offset - j|
ENTRY(void, add_alibi, size_t rows, size_t columns, float *s, size_t stride, float slope,
      ptrdiff_t offset)
// s += row[r] - column[j]
ENTRY(void, add_difference, size_t rows, size_t columns, float *s, size_t stride, const float *row,
      const float *column)
// s = cap * tanh(s / cap)
ENTRY(void, softcap, size_t rows, size_t columns, float *s, size_t stride, float cap)
// d *= 1 - (c / cap)^2, c the capped score.
ENTRY(void, softcap_backward, size_t rows, size_t columns, const float *c, float *d, size_t stride,
      float cap)
// s *= row[r] * column[j]
ENTRY(void, scale_tile, size_t rows, size_t columns, float *s, size_t stride, const float *row,
      const float *column)
// Online softmax of logits s * factor in base 2 (factor is log2(e) for natural scores, above 0):
// with m' = max(m, max(s)): s = 2^((s - m')*factor), l = l*2^((m - m')*factor) + sum(s),
// o *= 2^((m - m')*factor), m = m'. While all scores of a row are -inf, its m stays -inf and its
// weights are zero.
ENTRY(void, softmax_online, size_t rows, size_t columns, float *s, size_t stride, float factor,
      float *m, float *l, float *o, size_t o_columns, size_t o_stride)
// The same with a constant in place of m: s = 2^(s*factor - shift), l += sum(s).
ENTRY(void, softmax_shifted, size_t rows, size_t columns, float *s, size_t stride, float factor,
      float shift, float *l)
// The last step of an attention row: y = o/l, rounded to `type`, and lse = m factor ln(2) + log(l),
// with m and factor as in softmax_online. A row with l = 0 gets zeros and -inf. lse is contiguous, m
// and l are at l_stride.
ENTRY(void, finish_rows, cpu_float_type type, size_t rows, size_t n, const float *o,
      size_t o_stride, const float *m, float factor, const float *l, size_t l_stride, void *y,
      size_t y_stride, float *lse)
// A transposed tile, one row per key and one column per query; from scores s and dP^T, d = V dO^T:
// s = 2^(s*factor - lse[j]), d = s * (d - delta[j]), which is dS^T. lse is in base 2.
ENTRY(void, softmax_gradient, size_t rows, size_t columns, float *s, float *d, size_t stride,
      float factor, const float *lse, const float *delta)
// y[j*y_stride + i] = x[i*x_stride + j]
ENTRY(void, transpose, size_t rows, size_t columns, const float *x, size_t x_stride, float *y,
      size_t y_stride)

// MARK: bodies/selected.h
// 1 if all numbers of the rows, `x_row` apart, are finite; otherwise 0.
ENTRY(int, rows_are_finite, cpu_float_type type, size_t rows, size_t columns, const void *x,
      ptrdiff_t x_row)
// C += A B, row by row. Where A is zero, the row of B is ignored, even if it holds NaN or infinity.
ENTRY(void, add_selected, size_t m, size_t n, size_t k, const float *a, ptrdiff_t a_row,
      ptrdiff_t a_column, const float *b, ptrdiff_t b_row, float *c, ptrdiff_t c_row)
#pragma clang assume_nonnull end

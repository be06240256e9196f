// Entries of the table in include/CPUKernels.h: recurrences with a vector state, and short convolutions.

#pragma clang assume_nonnull begin
// MARK: bodies/scan.h
// Rows of `columns`, each column independent; row strides are in elements of the array's type. x, y
// and their gradients are of `type`; g, the logarithm of a decay, at most 0, and its gradient are of
// type `gate`, which is `type` or float32. With `past_caches`, results are written with non-temporal
// stores, for arrays larger than the caches.
// h = e^g[r] * h + x[r], y[r] = h. h [columns] is the state before the rows and becomes that after them.
ENTRY(void, scan, cpu_float_type type, cpu_float_type gate, int past_caches, size_t rows,
      size_t columns, const void *x, ptrdiff_t x_row, const void *g, ptrdiff_t g_row, float *h,
      void *y, ptrdiff_t y_row)
// The same without y; `backwards` h = e^g[r] * (h + x[r]) from the last row to the first. Adds the
// sum of all g to total [columns].
ENTRY(void, scan_carry, cpu_float_type type, cpu_float_type gate, int backwards, size_t rows,
      size_t columns, const void *x, ptrdiff_t x_row, const void *g, ptrdiff_t g_row, float *h,
      float *total)
// From the last row to the first: dx[r] = dh + dy[r], dh = e^g[r] * dx[r],
// dg[r] = dh * y[r - 1], where y[-1] is `first`. dh [columns] is carried as h is in `scan`.
ENTRY(void, scan_backward, cpu_float_type type, cpu_float_type gate, int past_caches, size_t rows,
      size_t columns, const void *g, ptrdiff_t g_row, const void *y, ptrdiff_t y_row,
      const float *first, const void *dy, ptrdiff_t dy_row, float *dh, void *dx, void *dg,
      ptrdiff_t d_row)

// MARK: bodies/selective.h
// Rows of `columns`, each with `states` states, h[n][column], contiguous as a is. With s the step:
// h[n] = 2^(s[r] * a[n]) * h[n] + s[r] * x[r] * b[r][n], y[r] = skip * x[r] + sum of c[r][n] * h[n].
// skip and y may be NULL. history, if not NULL, receives the states before each row and after the
// last, [rows + 1][states][columns].
ENTRY(void, selective_scan, size_t rows, size_t columns, size_t states, const float *x,
      ptrdiff_t x_row, const float *step, ptrdiff_t step_row, const float *a, const float *b,
      ptrdiff_t b_row, const float *c, ptrdiff_t c_row, const float *_Nullable skip, float *h,
      float *_Nullable history, float *_Nullable y, ptrdiff_t y_row)
// Its gradient, from the history. dh is the gradient of the states, on entry of those after the last
// row, on return of those before the first. dx and dstep are contiguous rows. Accumulated are da (of
// a / log2(e)), shaped as a, db and dc [rows][states] and, with a skip, dskip [columns].
ENTRY(void, selective_scan_backward, size_t rows, size_t columns, size_t states, const float *x,
      ptrdiff_t x_row, const float *step, ptrdiff_t step_row, const float *a, const float *b,
      ptrdiff_t b_row, const float *c, ptrdiff_t c_row, const float *_Nullable skip,
      const float *history, const float *dy, ptrdiff_t dy_row, float *dh, float *dx, float *dstep,
      float *da, float *db, float *dc, float *_Nullable dskip)
// One row, with a in base e: h and a are [columns][states]; h may be new_h.
// new[n] = e^(step * a[n]) * h[n] + step * x * b[n], y = skip * x + sum of c[n] * new[n].
ENTRY(void, selective_step, size_t columns, size_t states, const float *x, const float *step,
      const float *a, const float *b, const float *c, const float *_Nullable skip, const float *h,
      float *new_h, float *y)
// y = log(1 + e^(x + bias)) and g *= its derivative; y and g are contiguous rows, bias may be NULL.
ENTRY(void, softplus, size_t rows, size_t columns, const float *x, ptrdiff_t x_row,
      const float *_Nullable bias, float *y)
ENTRY(void, softplus_backward, size_t rows, size_t columns, const float *x, ptrdiff_t x_row,
      const float *_Nullable bias, float *g)

// MARK: bodies/convolution.h
// y[r] = bias + sum over j < width of weight[j] * x[r - (width - 1) + j], then y / (1 + e^-y) with
// silu. x and y are of `type`; the rows of past [width - 1][columns] precede the first.
// weight is [width][columns], bias may be NULL, width is 1 to 4.
ENTRY(void, short_convolution, cpu_float_type type, size_t width, int silu, size_t rows,
      size_t columns, const void *x, ptrdiff_t x_row, const float *past, const float *weight,
      const float *_Nullable bias, void *y, ptrdiff_t y_row)
// dlast is the gradient with respect to the last width - 1 rows of past and x together, from their later
// use; dpast is that of past. dweight and, with a bias, dbias are accumulated. ring holds
// [width][columns].
ENTRY(void, short_convolution_backward, cpu_float_type type, size_t width, int silu, size_t rows,
      size_t columns, const void *x, ptrdiff_t x_row, const float *past, const float *weight,
      const float *_Nullable bias, const void *dy, ptrdiff_t dy_row, const float *dlast,
      float *ring, void *dx, ptrdiff_t dx_row, float *dpast, float *dweight, float *_Nullable dbias)
#pragma clang assume_nonnull end

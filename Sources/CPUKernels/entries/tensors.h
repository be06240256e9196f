// Entries of the table in include/CPUKernels.h: tensors and layers.

#pragma clang assume_nonnull begin
// MARK: bodies/convert.h
// y[i] = x[i], between float32 and a half-precision type (round to nearest even).
ENTRY(void, widen, cpu_float_type type, size_t n, const void *x, float *y)
ENTRY(void, narrow, cpu_float_type type, size_t n, const float *x, void *y)

// MARK: bodies/elementwise.h
ENTRY(void, unary_f32, cpu_unary op, size_t n, const float *x, float *y)
ENTRY(void, unary_f64, cpu_unary op, size_t n, const double *x, double *y)
// y[i] = op(a[i*a_stride], b[i*b_stride]); vectorised for strides of 0 and 1.
ENTRY(void, binary_f32, cpu_binary op, size_t n, const float *a, ptrdiff_t a_stride, const float *b,
      ptrdiff_t b_stride, float *y)
ENTRY(void, binary_f64, cpu_binary op, size_t n, const double *a, ptrdiff_t a_stride,
      const double *b, ptrdiff_t b_stride, double *y)
ENTRY(void, binary_i32, cpu_binary op, size_t n, const int32_t *a, ptrdiff_t a_stride,
      const int32_t *b, ptrdiff_t b_stride, int32_t *y)
ENTRY(void, binary_i64, cpu_binary op, size_t n, const int64_t *a, ptrdiff_t a_stride,
      const int64_t *b, ptrdiff_t b_stride, int64_t *y)
// y += alpha * x
ENTRY(void, axpy, size_t n, float alpha, const float *x, float *y)
// y *= alpha
ENTRY(void, scale, size_t n, float alpha, float *y)

// MARK: bodies/reduce.h
ENTRY(float, sum, size_t n, const float *x)
ENTRY(float, dot, size_t n, const float *x, const float *y)

// MARK: bodies/product.h
// Packs B, k by n with element (i, j) at b[i*k_stride + j*n_stride], into panels of T = tile_columns
// columns: element (i, j) goes to panels[(j/T)*panel_stride + i*T + j%T]; missing columns of the
// last panel become zero. panel_stride is at least k*T.
ENTRY(void, pack, size_t k, size_t n, const float *b, ptrdiff_t k_stride, ptrdiff_t n_stride,
      float *panels, size_t panel_stride)
// C (+)= A B. A is m by k, element (i, p) at a[i*a_row + p*a_column]; B is packed. Element (i, j)
// of C is at c[(j/T)*c_panel + i*c_row + j%T]: c_panel is T if C is row-major; otherwise C itself is
// in panels. Only n columns of C are read and written.
ENTRY(void, product, size_t m, size_t n, size_t k, const float *a, ptrdiff_t a_row,
      ptrdiff_t a_column, const float *panels, size_t panel_stride, float *c, ptrdiff_t c_row,
      ptrdiff_t c_panel, int accumulate)
// y[j] = sum over p of x[p] * b[p*k_stride + j*n_stride], for one row x.
ENTRY(void, vector_matrix, size_t n, size_t k, const float *x, const float *b, ptrdiff_t k_stride,
      ptrdiff_t n_stride, float *y)
ENTRY(void, matmul_f64, size_t m, size_t n, size_t k, const double *a, ptrdiff_t a_row,
      ptrdiff_t a_column, const double *b, ptrdiff_t b_row, ptrdiff_t b_column, double *c)

// Products of few rows with long matrices, for all heads at once; the matrices of head h start at
// h * x_head. Operands are read in place: contiguous rows, B of `type`. With a bfloat16 B, A may be
// rounded to bfloat16 too.
// MARK: bodies/few_rows.h
// C += A B with A m by k and B k by n.
ENTRY(void, product_rows, cpu_float_type type, size_t heads, size_t m, size_t n, size_t k,
      const float *a, ptrdiff_t a_head, ptrdiff_t a_row, const void *b, ptrdiff_t b_head,
      ptrdiff_t b_row, float *c, ptrdiff_t c_head, ptrdiff_t c_row)
// MARK: bodies/dot_rows.h
// C = A B^T with A m by k and B n by k.
ENTRY(void, dot_rows, cpu_float_type type, size_t heads, size_t m, size_t n, size_t k,
      const float *a, ptrdiff_t a_head, ptrdiff_t a_row, const void *b, ptrdiff_t b_head,
      ptrdiff_t b_row, float *c, ptrdiff_t c_head, ptrdiff_t c_row)

// MARK: bodies/normalize.h
// Rows of `n`: y = x * r * w with r = 1/sqrt(mean(x*x) + epsilon), stored in rstd.
ENTRY(void, rms_norm, size_t rows, size_t n, const float *x, const float *w, float epsilon,
      float *y, float *rstd)
// dx = r*(g*w - x*r*r*mean(g*w*x)); dw += g*x*r.
ENTRY(void, rms_norm_backward, size_t rows, size_t n, const float *x, const float *w,
      const float *rstd, const float *g, float *dx, float *dw)
ENTRY(void, softmax, size_t rows, size_t n, const float *x, float *y)
// dx = y * (g - sum(g*y))
ENTRY(void, softmax_backward, size_t rows, size_t n, const float *y, const float *g, float *dx)
// Rows of logits: loss[r] = log(sum(exp(x))) - x[target[r]]. lse [rows, 2] keeps that logarithm in two
// parts: the row's maximum, and log(sum(exp(x - maximum))).
ENTRY(void, cross_entropy, size_t rows, size_t n, const float *x, const int32_t *target,
      float *loss, float *lse)
// dx = (exp(x - lse[2*r] - lse[2*r + 1]) - onehot(target)) * g[r]
ENTRY(void, cross_entropy_backward, size_t rows, size_t n, const float *x, const int32_t *target,
      const float *lse, const float *g, float *dx)

// MARK: bodies/unit.h
// Divides each of `groups` slices of each row by its norm; slices of a norm below `shortest` become
// zero. inverse_norms [rows*groups] receives the reciprocal norms; nothing is written if n is 0. y may
// be x.
ENTRY(void, unit_slices, size_t rows, size_t n, size_t groups, float shortest, const float *x,
      float *y, float *inverse_norms)
// dx = inverse_norm * (dy - y (y . dy)). dx may be dy.
ENTRY(void, unit_slices_backward, size_t rows, size_t n, size_t groups, const float *y,
      const float *inverse_norms, const float *dy, float *dx)

// MARK: bodies/layers.h
// y = a/(1+exp(-a)) * b
ENTRY(void, swiglu, size_t n, const float *a, const float *b, float *y)
ENTRY(void, swiglu_backward, size_t n, const float *a, const float *b, const float *g, float *da,
      float *db)
// dx = g * d silu(x)/dx
ENTRY(void, silu_backward, size_t n, const float *x, const float *g, float *dx)
// dx = g * factor * d log(sigmoid(x))/dx
ENTRY(void, log_sigmoid_backward, size_t n, const float *x, const float *g, float factor, float *dx)
// Rotates the pairs (x[i], x[i+half]) of every head of every token by the angles of its position:
// row positions[t] of the cosine and sine tables, `half` numbers per row. `direction` is 1, or -1 for
// the inverse rotation. y is contiguous, [tokens, heads, 2*half].
ENTRY(void, rotary, size_t tokens, size_t heads, size_t half, const float *x,
      ptrdiff_t token_stride, ptrdiff_t head_stride, const int32_t *positions, const float *cosine,
      const float *sine, float direction, float *y)
// One AdamW step: first and second moment, decoupled weight decay. corrections are 1 - beta^t.
ENTRY(void, adamw, size_t n, const float *p, const float *g, const float *m, const float *v,
      float gradient_scale, float rate, float beta1, float beta2, float epsilon, float decay,
      float correction1, float correction2, float *p_out, float *m_out, float *v_out)

// MARK: bodies/peak.h
// Multiply-adds in registers, operations_per_round floating-point operations per round, for
// measuring a core's peak rate. |a| is below 1. The result depends on every operation.
ENTRY(float, multiply_adds, size_t rounds, float a, float b)
#pragma clang assume_nonnull end

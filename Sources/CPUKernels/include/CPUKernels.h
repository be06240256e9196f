// The innermost loops of swift-attention, compiled once per instruction set.
//
// `cpu_kernels_for` returns the table of one instruction set; an entry computes the same function on
// every table, up to rounding. Entries run on the calling thread, allocate nothing and never fail:
// callers have validated the shapes. Counts and strides are in elements.
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef enum {
  CPU_PORTABLE = 0, CPU_AVX2 = 1, CPU_AVX512 = 2, CPU_AVX512_BF16 = 3, CPU_NEON = 4
} cpu_instruction_set;

typedef enum {
  CPU_NEGATE, CPU_ABSOLUTE, CPU_SQUARE, CPU_SQRT, CPU_RSQRT, CPU_RECIPROCAL, CPU_EXP, CPU_LOG,
  CPU_TANH, CPU_SIGMOID, CPU_LOG_SIGMOID, CPU_SILU, CPU_RELU, CPU_ERFC,
  CPU_EXPM1, CPU_LOG1P
} cpu_unary;

typedef enum {
  CPU_ADD, CPU_SUBTRACT, CPU_MULTIPLY, CPU_DIVIDE, CPU_MAXIMUM, CPU_MINIMUM, CPU_POWER
} cpu_binary;

typedef enum { CPU_F32, CPU_BF16, CPU_F16 } cpu_float_type;

// The element type of a bias: numbers, or bytes that say whether a pair may be attended. A byte of 0
// adds -inf, any other byte adds 0.
typedef enum {
  CPU_BIAS_F32, CPU_BIAS_BF16, CPU_BIAS_F16, CPU_BIAS_F64, CPU_BIAS_BOOL
} cpu_bias_type;

#pragma clang assume_nonnull begin

// Products of bfloat16 operands by dot products of pairs, accumulated in float32. A is m by k with
// contiguous rows, k even or padded with a zero; panels of B hold pairs of its rows: elements (2p, j)
// and (2p + 1, j) are adjacent at panels[(j/T)*panel_stride + p*2*T + 2*(j%T)].
typedef struct {
  // Packs B with element (p, j) at b[j*n_stride + p].
  void (*_Nullable pack_pairs_of_columns)(size_t k, size_t n, const uint16_t *b,
                                          ptrdiff_t n_stride, uint16_t *panels,
                                          size_t panel_stride);
  // Packs B with element (p, j) at b[p*k_stride + j].
  void (*_Nullable pack_pairs_of_rows)(size_t k, size_t n, const uint16_t *b, ptrdiff_t k_stride,
                                       uint16_t *panels, size_t panel_stride);
  // C (+)= A B, C as in the float32 product.
  void (*_Nullable product)(size_t m, size_t n, size_t k, const uint16_t *a, ptrdiff_t a_row,
                            const uint16_t *panels, size_t panel_stride, float *c,
                            ptrdiff_t c_row, ptrdiff_t c_panel, int accumulate);
  // The same with the pair (i, 2p), (i, 2p + 1) of A at a[i*a_row + p*a_pair].
  void (*_Nullable product_pairs)(size_t m, size_t n, size_t k, const uint16_t *a, ptrdiff_t a_row,
                                  ptrdiff_t a_pair, const uint16_t *panels, size_t panel_stride,
                                  float *c, ptrdiff_t c_row, ptrdiff_t c_panel, int accumulate);
  // Rounds float32 rows of `columns` to bfloat16; a row of odd length is padded with a zero.
  void (*_Nullable round_rows)(size_t rows, size_t columns, const float *x, size_t x_stride,
                               uint16_t *y, size_t y_stride);
  // Rounds float32 rows to pairs of rows: elements (2r, j) and (2r + 1, j) at y[r*y_stride + 2j]; a
  // missing last row is zero.
  void (*_Nullable pair_rows)(size_t rows, size_t columns, const float *x, size_t x_stride,
                              uint16_t *y, size_t y_stride);
  // Rounds and packs B, k by n with element (p, j) at b[p*k_stride + j*n_stride]; one of the strides
  // is 1.
  void (*_Nullable pack_rounded)(size_t k, size_t n, const float *b, ptrdiff_t k_stride,
                                 ptrdiff_t n_stride, uint16_t *panels, size_t panel_stride);
  // out[j] = sum over i of x(i, j) * y(i, j), both packed with `panel_stride`.
  void (*_Nullable pair_panel_dots)(size_t rows, size_t columns, const uint16_t *x,
                                    const uint16_t *y, size_t panel_stride, float *out);
  // The softmax of a tile with its weights rounded to bfloat16 in `half`, rows at the same stride; a
  // row of odd length is padded with a zero.
  void (*_Nullable softmax_online)(size_t rows, size_t columns, float *s, size_t stride,
                                   float factor, uint16_t *half, float *m, float *l, float *o,
                                   size_t o_columns, size_t o_stride);
  void (*_Nullable softmax_shifted)(size_t rows, size_t columns, float *s, size_t stride,
                                    float factor, float shift, uint16_t *half, float *l);
  // The gradient of the softmax with the weights rounded to bfloat16 in `half`, rows at the same
  // stride; they are not written to s.
  void (*_Nullable softmax_gradient)(size_t rows, size_t columns, float *s, float *d,
                                     size_t stride, float factor, const float *lse,
                                     const float *delta, uint16_t *half);
  // y = x * row[r] * column[j] rounded to bfloat16, rows at the same stride; a row of odd length is
  // padded with a zero.
  void (*_Nullable narrow_scaled)(size_t rows, size_t columns, const float *x, size_t stride,
                                  const float *row, const float *column, uint16_t *y);
  // Such products in registers, for measuring their peak rate: 2 * operations_per_round a round.
  float (*_Nullable dot_pairs)(size_t rounds, uint16_t a, uint16_t b);
} cpu_bf16_kernels;

typedef struct {
  // The vector width in floats, and the columns T of the packed product's tile.
  size_t vector_floats, tile_columns;

  // MARK: bodies/convert.h
  // y[i] = x[i], between float32 and a half-precision type (round to nearest even).
  void (*widen)(cpu_float_type type, size_t n, const void *x, float *y);
  void (*narrow)(cpu_float_type type, size_t n, const float *x, void *y);

  // MARK: bodies/elementwise.h
  void (*unary_f32)(cpu_unary op, size_t n, const float *x, float *y);
  void (*unary_f64)(cpu_unary op, size_t n, const double *x, double *y);
  // y[i] = op(a[i*a_stride], b[i*b_stride]); vectorised for strides of 0 and 1.
  void (*binary_f32)(cpu_binary op, size_t n, const float *a, ptrdiff_t a_stride, const float *b,
                     ptrdiff_t b_stride, float *y);
  void (*binary_f64)(cpu_binary op, size_t n, const double *a, ptrdiff_t a_stride, const double *b,
                     ptrdiff_t b_stride, double *y);
  void (*binary_i32)(cpu_binary op, size_t n, const int32_t *a, ptrdiff_t a_stride,
                     const int32_t *b, ptrdiff_t b_stride, int32_t *y);
  void (*binary_i64)(cpu_binary op, size_t n, const int64_t *a, ptrdiff_t a_stride,
                     const int64_t *b, ptrdiff_t b_stride, int64_t *y);
  // y += alpha * x
  void (*axpy)(size_t n, float alpha, const float *x, float *y);
  // y *= alpha
  void (*scale)(size_t n, float alpha, float *y);

  // MARK: bodies/reduce.h
  float (*sum)(size_t n, const float *x);
  float (*dot)(size_t n, const float *x, const float *y);

  // MARK: bodies/product.h
  // Packs B, k by n with element (i, j) at b[i*k_stride + j*n_stride], into panels of T = tile_columns
  // columns: element (i, j) goes to panels[(j/T)*panel_stride + i*T + j%T]; missing columns of the
  // last panel become zero. panel_stride is at least k*T.
  void (*pack)(size_t k, size_t n, const float *b, ptrdiff_t k_stride, ptrdiff_t n_stride,
               float *panels, size_t panel_stride);
  // C (+)= A B. A is m by k, element (i, p) at a[i*a_row + p*a_column]; B is packed. Element (i, j)
  // of C is at c[(j/T)*c_panel + i*c_row + j%T]: c_panel is T if C is row-major; otherwise C itself is
  // in panels. Only n columns of C are read and written.
  void (*product)(size_t m, size_t n, size_t k, const float *a, ptrdiff_t a_row,
                  ptrdiff_t a_column, const float *panels, size_t panel_stride, float *c,
                  ptrdiff_t c_row, ptrdiff_t c_panel, int accumulate);
  // y[j] = sum over p of x[p] * b[p*k_stride + j*n_stride], for one row x.
  void (*vector_matrix)(size_t n, size_t k, const float *x, const float *b, ptrdiff_t k_stride,
                        ptrdiff_t n_stride, float *y);
  void (*matmul_f64)(size_t m, size_t n, size_t k, const double *a, ptrdiff_t a_row,
                     ptrdiff_t a_column, const double *b, ptrdiff_t b_row, ptrdiff_t b_column,
                     double *c);

  // Products of few rows with long matrices, for all heads at once; the matrices of head h start at
  // h * x_head. Operands are read in place: contiguous rows, B of `type`. With a bfloat16 B, A may be
  // rounded to bfloat16 too.
  // MARK: bodies/few_rows.h
  // C += A B with A m by k and B k by n.
  void (*product_rows)(cpu_float_type type, size_t heads, size_t m, size_t n, size_t k,
                       const float *a, ptrdiff_t a_head, ptrdiff_t a_row, const void *b,
                       ptrdiff_t b_head, ptrdiff_t b_row, float *c, ptrdiff_t c_head,
                       ptrdiff_t c_row);
  // MARK: bodies/dot_rows.h
  // C = A B^T with A m by k and B n by k.
  void (*dot_rows)(cpu_float_type type, size_t heads, size_t m, size_t n, size_t k, const float *a,
                   ptrdiff_t a_head, ptrdiff_t a_row, const void *b, ptrdiff_t b_head,
                   ptrdiff_t b_row, float *c, ptrdiff_t c_head, ptrdiff_t c_row);

  // MARK: bodies/normalize.h
  // Rows of `n`: y = x * r * w with r = 1/sqrt(mean(x*x) + epsilon), stored in rstd.
  void (*rms_norm)(size_t rows, size_t n, const float *x, const float *w, float epsilon, float *y,
                   float *rstd);
  // dx = r*(g*w - x*r*r*mean(g*w*x)); dw += g*x*r.
  void (*rms_norm_backward)(size_t rows, size_t n, const float *x, const float *w,
                            const float *rstd, const float *g, float *dx, float *dw);
  void (*softmax)(size_t rows, size_t n, const float *x, float *y);
  // dx = y * (g - sum(g*y))
  void (*softmax_backward)(size_t rows, size_t n, const float *y, const float *g, float *dx);
  // Rows of logits: loss[r] = log(sum(exp(x))) - x[target[r]]. lse [rows, 2] keeps that logarithm in two
  // parts: the row's maximum, and log(sum(exp(x - maximum))).
  void (*cross_entropy)(size_t rows, size_t n, const float *x, const int32_t *target, float *loss,
                        float *lse);
  // dx = (exp(x - lse[2*r] - lse[2*r + 1]) - onehot(target)) * g[r]
  void (*cross_entropy_backward)(size_t rows, size_t n, const float *x, const int32_t *target,
                                 const float *lse, const float *g, float *dx);

  // MARK: bodies/unit.h
  // Divides each of `groups` slices of each row by its norm; slices of a norm below `shortest` become
  // zero. inverse_norms [rows*groups] receives the reciprocal norms; nothing is written if n is 0. y may
  // be x.
  void (*unit_slices)(size_t rows, size_t n, size_t groups, float shortest, const float *x,
                      float *y, float *inverse_norms);
  // dx = inverse_norm * (dy - y (y . dy)). dx may be dy.
  void (*unit_slices_backward)(size_t rows, size_t n, size_t groups, const float *y,
                               const float *inverse_norms, const float *dy, float *dx);

  // MARK: bodies/layers.h
  // y = a/(1+exp(-a)) * b
  void (*swiglu)(size_t n, const float *a, const float *b, float *y);
  void (*swiglu_backward)(size_t n, const float *a, const float *b, const float *g, float *da,
                          float *db);
  // dx = g * d silu(x)/dx
  void (*silu_backward)(size_t n, const float *x, const float *g, float *dx);
  // dx = g * factor * d log(sigmoid(x))/dx
  void (*log_sigmoid_backward)(size_t n, const float *x, const float *g, float factor, float *dx);
  // Rotates the pairs (x[i], x[i+half]) of every head of every token by the angles of its position:
  // row positions[t] of the cosine and sine tables, `half` numbers per row. `direction` is 1, or -1 for
  // the inverse rotation. y is contiguous, [tokens, heads, 2*half].
  void (*rotary)(size_t tokens, size_t heads, size_t half, const float *x, ptrdiff_t token_stride,
                 ptrdiff_t head_stride, const int32_t *positions, const float *cosine,
                 const float *sine, float direction, float *y);
  // One AdamW step: first and second moment, decoupled weight decay. corrections are 1 - beta^t.
  void (*adamw)(size_t n, const float *p, const float *g, const float *m, const float *v,
                float gradient_scale, float rate, float beta1, float beta2, float epsilon,
                float decay, float correction1, float correction2, float *p_out, float *m_out,
                float *v_out);

  // MARK: bodies/softmax_tile.h
  // A tile of scores, rows of `columns` at `stride`. Scores of row r outside of columns
  // [low + r, high + r), clamped to the tile, become -inf.
  void (*mask_band)(size_t rows, size_t columns, float *s, size_t stride, ptrdiff_t low,
                    ptrdiff_t high);
  // s = -inf where keep[j] is 0.
  void (*mask_keys)(size_t rows, size_t columns, float *s, size_t stride, const uint8_t *keep);
  // s += b[r*b_row + j*b_column]; a sum that overflows becomes the largest finite number of its sign,
  // unless b is infinite. b = -inf makes s -inf, even where s is NaN.
  void (*add_rows)(size_t rows, size_t columns, float *s, size_t stride, const float *b,
                   ptrdiff_t b_row, ptrdiff_t b_column);
  // The same with a bias of any type: bit for bit as if it were first converted to float.
  void (*add_bias)(cpu_bias_type type, size_t rows, size_t columns, float *s, size_t stride,
                   const void *b, ptrdiff_t b_row, ptrdiff_t b_column);
  // s += slope * -|r + offset - j|
  void (*add_alibi)(size_t rows, size_t columns, float *s, size_t stride, float slope,
                    ptrdiff_t offset);
  // s += row[r] - column[j]
  void (*add_difference)(size_t rows, size_t columns, float *s, size_t stride, const float *row,
                         const float *column);
  // s = cap * tanh(s / cap)
  void (*softcap)(size_t rows, size_t columns, float *s, size_t stride, float cap);
  // d *= 1 - (c / cap)^2, c the capped score.
  void (*softcap_backward)(size_t rows, size_t columns, const float *c, float *d, size_t stride,
                           float cap);
  // s *= row[r] * column[j]
  void (*scale_tile)(size_t rows, size_t columns, float *s, size_t stride, const float *row,
                     const float *column);
  // Online softmax of logits s * factor in base 2 (factor is log2(e) for natural scores, above 0):
  // with m' = max(m, max(s)): s = 2^((s - m')*factor), l = l*2^((m - m')*factor) + sum(s),
  // o *= 2^((m - m')*factor), m = m'. While all scores of a row are -inf, its m stays -inf and its
  // weights are zero.
  void (*softmax_online)(size_t rows, size_t columns, float *s, size_t stride, float factor,
                         float *m, float *l, float *o, size_t o_columns, size_t o_stride);
  // The same with a constant in place of m: s = 2^(s*factor - shift), l += sum(s).
  void (*softmax_shifted)(size_t rows, size_t columns, float *s, size_t stride, float factor,
                          float shift, float *l);
  // The last step of an attention row: y = o/l, rounded to `type`, and lse = m factor ln(2) + log(l),
  // with m and factor as in softmax_online. A row with l = 0 gets zeros and -inf. lse is contiguous, m
  // and l are at l_stride.
  void (*finish_rows)(cpu_float_type type, size_t rows, size_t n, const float *o, size_t o_stride,
                      const float *m, float factor, const float *l, size_t l_stride, void *y,
                      size_t y_stride, float *lse);
  // A transposed tile, one row per key and one column per query; from scores s and dP^T, d = V dO^T:
  // s = 2^(s*factor - lse[j]), d = s * (d - delta[j]), which is dS^T. lse is in base 2.
  void (*softmax_gradient)(size_t rows, size_t columns, float *s, float *d, size_t stride,
                           float factor, const float *lse, const float *delta);
  // y[j*y_stride + i] = x[i*x_stride + j]
  void (*transpose)(size_t rows, size_t columns, const float *x, size_t x_stride, float *y,
                    size_t y_stride);

  // MARK: bodies/selected.h
  // 1 if all numbers of the rows, `x_row` apart, are finite; otherwise 0.
  int (*rows_are_finite)(cpu_float_type type, size_t rows, size_t columns, const void *x,
                         ptrdiff_t x_row);
  // C += A B, row by row. Where A is zero, the row of B is ignored, even if it holds NaN or infinity.
  void (*add_selected)(size_t m, size_t n, size_t k, const float *a, ptrdiff_t a_row,
                       ptrdiff_t a_column, const float *b, ptrdiff_t b_row, float *c,
                       ptrdiff_t c_row);

  // MARK: bodies/product_bf16.h; present if has_bf16 is not 0
  int has_bf16;
  cpu_bf16_kernels bf16;

#pragma clang assume_nonnull end
#include "../entries/recurrences.h"
#include "../entries/scans.h"
#pragma clang assume_nonnull begin

  // MARK: bodies/peak.h
  // Multiply-adds in registers, operations_per_round floating-point operations per round, for
  // measuring a core's peak rate. |a| is below 1. The result depends on every operation.
  float (*multiply_adds)(size_t rounds, float a, float b);
  size_t operations_per_round;
} cpu_kernels;

// Whether this processor supports `set`.
int cpu_supports(cpu_instruction_set set);

// The kernels of `set`, or those of CPU_PORTABLE if `set` belongs to another architecture.
const cpu_kernels *cpu_kernels_for(cpu_instruction_set set);

// The number of processors that this process may run on.
int cpu_available_processors(void);
// The number of processors of the machine, whatever this process's affinity.
int cpu_machine_processors(void);
// A pause of some dozen cycles, for a thread that spins while it waits for another.
void cpu_rest(void);

// Philox 4x32-10: block number `counter` of the stream `key`, four 32-bit numbers.
void cpu_philox(uint64_t key, uint64_t counter_low, uint64_t counter_high, uint32_t out[_Nonnull 4]);

#pragma clang assume_nonnull end

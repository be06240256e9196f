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

// The element type of a bias: floating point, or bytes as a Boolean mask. A byte of 0 adds -inf, any
// other byte adds 0.
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
  // Such products in registers, for measuring their peak rate: 2 * operations_per_round per round.
  float (*_Nullable dot_pairs)(size_t rounds, uint16_t a, uint16_t b);
} cpu_bf16_kernels;

typedef struct {
  // The vector width in floats, and the columns T of the packed product's tile.
  size_t vector_floats, tile_columns;

  // The arithmetic of a round of multiply_adds, for measuring a core's peak rate.
  size_t operations_per_round;

  // MARK: bodies/product_bf16.h; present if has_bf16 is not 0
  int has_bf16;
  cpu_bf16_kernels bf16;

#pragma clang assume_nonnull end
#define ENTRY(result, name, ...) result (*name)(__VA_ARGS__);
#include "../entries/all.h"
#undef ENTRY
#pragma clang assume_nonnull begin
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

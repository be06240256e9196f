// bodies/convolution.h
#include "check.h"

enum { MOST_ROWS = 6, MOST_WIDTH = 4, SILU_ROUNDINGS = 24 };
static const cpu_float_type types[] = {CPU_F32, CPU_BF16, CPU_F16};
static const size_t row_counts[] = {1, 2, MOST_ROWS};

static size_t bytes_of(cpu_float_type type) { return type == CPU_F32 ? 4 : 2; }
static double roundings_of(cpu_float_type type) {
  return type == CPU_BF16 ? BF16_ROUNDINGS : type == CPU_F16 ? 0x1p-11 / ROUNDING : 0;
}
// Below it, rounding is relative to the smallest number of the type.
static double smallest(cpu_float_type type) {
  return type == CPU_F16 ? 0x1p-14 : SMALLEST / ROUNDING;
}
static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

typedef struct {
  cpu_float_type type;
  size_t width, rows, columns, x_row;
  const void *x;
  const float *past, *weight, *bias;
} convolution;

static convolution make(cpu_float_type type, size_t width, size_t rows, size_t columns,
                        int has_bias) {
  convolution c = {type, width, rows, columns, columns + 3, NULL, NULL, NULL, NULL};
  c.x = random_rows_as(type, rows, columns, c.x_row);
  c.past = random_floats((width - 1) * columns, -1, 1);
  c.weight = random_floats(width * columns, -1, 1);
  c.bias = has_bias ? random_floats(columns, -1, 1) : NULL;
  return c;
}

// Row r of past and x together, row 0 being the first of x.
static double input(const convolution *c, ptrdiff_t r, size_t i) {
  if (r >= 0) return element(c->type, c->x, (size_t)r * c->x_row + i);
  return c->past[(size_t)(r + (ptrdiff_t)c->width - 1) * c->columns + i];
}

// The value before the activation, and the size of its terms.
static double sum(const convolution *c, size_t r, size_t i, double *size) {
  double total = c->bias ? c->bias[i] : 0;
  *size = fabs(total);
  for (size_t j = 0; j < c->width; j++) {
    double term = c->weight[j * c->columns + i] *
                  input(c, (ptrdiff_t)(r + j) - (ptrdiff_t)c->width + 1, i);
    total += term, *size += fabs(term);
  }
  return total;
}

#define FOR_CASES                                                                           \
  FOR_EACH(rows, row_counts) FOR_LENGTHS(columns)                                           \
  for (size_t type_at = 0; type_at < COUNT(types); type_at++)                               \
    for (size_t width = 1; width <= MOST_WIDTH; width++)                                    \
      for (int silu = 0; silu < 2; silu++)

static void short_convolution(void) {
  FOR_CASES {
    cpu_float_type type = types[type_at];
    begin("type %d, width %zu, silu %d, rows %zu, columns %zu", type, width, silu, rows, columns);
    convolution c = make(type, width, rows, columns, (int)(random_bits() & 1));
    size_t y_row = columns + 1;
    void *y = memory(((rows - 1) * y_row + columns) * bytes_of(type));
    kernels->short_convolution(type, width, silu, rows, columns, c.x, (ptrdiff_t)c.x_row, c.past,
                               c.weight, c.bias, y, (ptrdiff_t)y_row);
    for (size_t r = 0; r < rows; r++)
      for (size_t i = 0; i < columns; i++) {
        double size, want = sum(&c, r, i, &size);
        if (silu) want *= sigmoid(want);
        near("y", r * y_row + i, element(type, y, r * y_row + i), want,
             fmax(size, smallest(type)), SILU_ROUNDINGS + roundings_of(type));
      }
    if (type == CPU_F32) gaps_untouched("y", y, rows, columns, y_row);
  }
}

static void short_convolution_backward(void) {
  FOR_CASES {
    cpu_float_type type = types[type_at];
    int has_bias = (int)(random_bits() & 1);
    begin("type %d, width %zu, silu %d, rows %zu, columns %zu, bias %d", type, width, silu, rows,
          columns, has_bias);
    convolution c = make(type, width, rows, columns, has_bias);
    size_t d_row = columns + 1, kept = (width - 1) * columns;
    const void *dy = random_rows_as(type, rows, columns, c.x_row);
    const float *dlast = random_floats(kept, -1, 1);
    float *ring = floats(width * columns), *dpast = floats(kept);
    float *dweight = random_floats(width * columns, -1, 1);
    float *dbias = has_bias ? random_floats(columns, -1, 1) : NULL;
    const float *dweight0 = copy(dweight, width * columns);
    const float *dbias0 = has_bias ? copy(dbias, columns) : NULL;
    void *dx = memory(((rows - 1) * d_row + columns) * bytes_of(type));
    kernels->short_convolution_backward(type, width, silu, rows, columns, c.x, (ptrdiff_t)c.x_row,
                                        c.past, c.weight, c.bias, dy, (ptrdiff_t)c.x_row, dlast,
                                        ring, dx, (ptrdiff_t)d_row, dpast, dweight, dbias);
    for (size_t i = 0; i < columns; i++) {
      double gradient[MOST_ROWS], size[MOST_ROWS];
      for (size_t r = 0; r < rows; r++) {
        double terms, z = sum(&c, r, i, &terms);
        gradient[r] = element(type, dy, r * c.x_row + i);
        size[r] = fabs(gradient[r]);
        if (silu) {
          double s = sigmoid(z);
          gradient[r] *= s * (1 + z * (1 - s));
          // The derivative changes with its argument by less than 1/2.
          size[r] *= s * (1 + fabs(z) * (2 - s)) + terms;
        }
      }
      double bias_sum = has_bias ? dbias0[i] : 0, bias_size = fabs(bias_sum);
      for (size_t r = 0; r < rows; r++) bias_sum += gradient[r], bias_size += size[r];
      if (has_bias) near("dbias", i, dbias[i], bias_sum, bias_size, SILU_ROUNDINGS);
      for (size_t j = 0; j < width; j++) {
        size_t at = j * columns + i;
        double want = dweight0[at], want_size = fabs(want);
        for (size_t r = 0; r < rows; r++) {
          double u = input(&c, (ptrdiff_t)(r + j) - (ptrdiff_t)width + 1, i);
          want += gradient[r] * u, want_size += size[r] * fabs(u);
        }
        near("dweight", at, dweight[at], want, want_size, SILU_ROUNDINGS);
      }
      for (ptrdiff_t r = -(ptrdiff_t)(width - 1); r < (ptrdiff_t)rows; r++) {
        ptrdiff_t last = r - (ptrdiff_t)rows + (ptrdiff_t)width - 1;
        double want = last >= 0 ? dlast[(size_t)last * columns + i] : 0, want_size = fabs(want);
        for (size_t j = 0; j < width; j++) {
          ptrdiff_t to = r + (ptrdiff_t)(width - 1 - j);
          if (to < 0 || to >= (ptrdiff_t)rows) continue;
          want += c.weight[j * columns + i] * gradient[to];
          want_size += fabs(c.weight[j * columns + i]) * size[to];
        }
        if (r >= 0)
          near("dx", (size_t)r * d_row + i, element(type, dx, (size_t)r * d_row + i), want,
               fmax(want_size, smallest(type)), SILU_ROUNDINGS + roundings_of(type));
        else
          near("dpast", i, dpast[(size_t)(r + (ptrdiff_t)width - 1) * columns + i], want,
               want_size, SILU_ROUNDINGS);
      }
    }
  }
}

static const test tests[] = {TEST(short_convolution), TEST(short_convolution_backward)};
const suite convolution_tests = {tests, COUNT(tests)};

// bodies/elementwise.h
#include "check.h"

enum { UNARY = CPU_LOG1P + 1, BINARY = CPU_POWER + 1 };

static double unary(cpu_unary op, double x) {
  switch (op) {
    case CPU_NEGATE: return -x;
    case CPU_ABSOLUTE: return fabs(x);
    case CPU_SQUARE: return x * x;
    case CPU_SQRT: return sqrt(x);
    case CPU_RSQRT: return 1 / sqrt(x);
    case CPU_RECIPROCAL: return 1 / x;
    case CPU_EXP: return exp(x);
    case CPU_LOG: return log(x);
    case CPU_TANH: return tanh(x);
    case CPU_SIGMOID: return 1 / (1 + exp(-x));
    case CPU_LOG_SIGMOID: return x < 0 ? x - log1p(exp(x)) : -log1p(exp(-x));
    case CPU_SILU: return x / (1 + exp(-x));
    case CPU_RELU: return x > 0 || isnan(x) ? x : 0;
    case CPU_ERFC: return erfc(x);
    case CPU_EXPM1: return expm1(x);
    case CPU_LOG1P: return log1p(x);
  }
  return NAN;
}

// The largest argument tested: beyond it the result or an intermediate overflows.
static double largest(cpu_unary op) {
  switch (op) {
    case CPU_EXP: case CPU_EXPM1: return 88.7;
    case CPU_SIGMOID: case CPU_SILU: case CPU_LOG_SIGMOID: return 87;
    default: return 1e18;
  }
}

// The error allowed, in roundings: one for each rounded operation, and those of the polynomials and
// divisions that some functions consist of.
static double roundings(cpu_unary op) {
  switch (op) {
    case CPU_NEGATE: case CPU_ABSOLUTE: case CPU_RELU: return 0;
    case CPU_SQUARE: case CPU_SQRT: case CPU_RECIPROCAL: return 1;
    case CPU_RSQRT: return 2;
    case CPU_EXP: case CPU_LOG: case CPU_LOG1P: return 4;
    case CPU_TANH: case CPU_SIGMOID: case CPU_EXPM1: return 6;
    case CPU_SILU: case CPU_LOG_SIGMOID: case CPU_ERFC: return 8;
  }
  return 0;
}

static double takes_negative(cpu_unary op) {
  return op != CPU_LOG && op != CPU_SQRT && op != CPU_RSQRT;
}

static void unary_f32(void) {
  for (cpu_unary op = 0; op < UNARY; op++) {
    for (size_t part = 0; part <= COUNT(lengths); part++) {
      size_t n = part == COUNT(lengths) ? 4096 : lengths[part];
      begin("op %u, n %zu", op, n);
      float *x = floats(n), *y = floats(n);
      for (size_t i = 0; i < n; i++) {
        // Arguments of every size in the function's domain, uniform and by exponent.
        double most = largest(op), size = i % 2 ? uniform(0, fmin(most, 30))
                                                : exp2(uniform(-40, log2(most)));
        x[i] = (float)(takes_negative(op) && random_bits() & 1 ? -size : size);
      }
      kernels->unary_f32(op, n, x, y);
      for (size_t i = 0; i < n; i++) {
        double want = unary(op, x[i]);
        near("y", i, y[i], want, fmax(fabs(want), SMALLEST / ROUNDING), roundings(op));
      }
    }
    begin("op %u, special values", op);
    static const float special[] = {0, -0.0f, INFINITY, -INFINITY, NAN, -1, 1, 200, -200, 1e-40f,
                                    -1e-40f, 3.4e38f, -3.4e38f, 88.8f, -104, 89, 1e-45f};
    float *x = floats(COUNT(special)), *y = floats(COUNT(special));
    memcpy(x, special, sizeof special);
    kernels->unary_f32(op, COUNT(special), x, y);
    for (size_t i = 0; i < COUNT(special); i++) {
      // The formula of silu gives -inf * 0.
      if (op == CPU_SILU && x[i] == -INFINITY) continue;
      double want = unary(op, x[i]);
      if (fabs(want) > 3.4028235e38) want = copysign(INFINITY, want);
      near("y", i, y[i], want, fmax(fabs(want), SMALLEST / ROUNDING), roundings(op));
    }
  }
}

// The results are the C library's, so only the choice of function and the loop are tested.
static void unary_f64(void) {
  const double magnitude = 0x1p-28;
  for (cpu_unary op = 0; op < UNARY; op++)
    FOR_LENGTHS(n) {
      begin("op %u, n %zu", op, n);
      double *x = doubles(n), *y = doubles(n);
      for (size_t i = 0; i < n; i++) x[i] = uniform(takes_negative(op) ? -5 : 0, 5);
      if (n > 100) x[3] = NAN;
      kernels->unary_f64(op, n, x, y);
      for (size_t i = 0; i < n; i++) {
        double want = unary(op, x[i]);
        near("y", i, y[i], want, magnitude * fabs(want), 1);
      }
    }
}

static double binary(cpu_binary op, double a, double b) {
  switch (op) {
    case CPU_ADD: return a + b;
    case CPU_SUBTRACT: return a - b;
    case CPU_MULTIPLY: return a * b;
    case CPU_DIVIDE: return a / b;
    case CPU_MAXIMUM: return isnan(a) || isnan(b) ? (double)NAN : a > b ? a : b;
    case CPU_MINIMUM: return isnan(a) || isnan(b) ? (double)NAN : a < b ? a : b;
    case CPU_POWER: return pow(a, b);
  }
  return NAN;
}

// Wraps, and gives zero for division by zero.
static int64_t binary_integer(cpu_binary op, int64_t a, int64_t b, unsigned bits) {
  uint64_t u = (uint64_t)a, v = (uint64_t)b, result = 0;
  switch (op) {
    case CPU_ADD: result = u + v; break;
    case CPU_SUBTRACT: result = u - v; break;
    case CPU_MULTIPLY: result = u * v; break;
    case CPU_DIVIDE: result = b == 0 ? 0 : b == -1 ? 0 - u : (uint64_t)(a / b); break;
    case CPU_MAXIMUM: result = a > b ? u : v; break;
    case CPU_MINIMUM: result = a < b ? u : v; break;
    case CPU_POWER: break;
  }
  return bits == 32 ? (int32_t)(uint32_t)result : (int64_t)result;
}

static const ptrdiff_t strides[][2] = {{1, 1}, {1, 0}, {0, 1}, {0, 0}, {2, 1}, {1, 3}, {-1, 2}};
#define FOR_BINARY_CASES(n, a_stride, b_stride)                                      \
  for (cpu_binary op = 0; op < BINARY; op++)                                         \
    for (size_t s = 0; s < COUNT(strides); s++)                                      \
      FOR_LENGTHS(n)                                                                 \
        for (ptrdiff_t a_stride = strides[s][0], b_stride = strides[s][1], once = 1; \
             once && (begin("op %u, n %zu, strides %td and %td", op, n, a_stride, b_stride), 1); \
             once = 0)

static size_t span(size_t n, ptrdiff_t stride) {
  return (n - 1) * (size_t)(stride < 0 ? -stride : stride) + 1;
}
// The index of the first element: at the end for a negative stride.
static size_t first(size_t n, ptrdiff_t stride) {
  return stride < 0 ? (n - 1) * (size_t)-stride : 0;
}

#define BINARY_FLOAT(name, type, magnitude)                                                     \
  static void name(void) {                                                                      \
    FOR_BINARY_CASES(n, a_stride, b_stride) {                                                   \
      size_t a_count = span(n, a_stride), b_count = span(n, b_stride);                          \
      type *a = memory(a_count * sizeof(type)), *b = memory(b_count * sizeof(type));            \
      type *y = memory(n * sizeof(type));                                                       \
      for (size_t i = 0; i < a_count; i++) a[i] = (type)uniform(-4, 4);                         \
      for (size_t i = 0; i < b_count; i++) b[i] = (type)uniform(-4, 4);                         \
      if (n > 100) a[a_count / 2] = (type)NAN, b[b_count / 3] = (type)NAN, b[b_count / 4] = 0;  \
      a += first(n, a_stride), b += first(n, b_stride);                                         \
      kernels->name(op, n, a, a_stride, b, b_stride, y);                                        \
      for (size_t i = 0; i < n; i++) {                                                          \
        double want = binary(op, a[(ptrdiff_t)i * a_stride], b[(ptrdiff_t)i * b_stride]);       \
        near("y", i, (double)y[i], want, magnitude * fabs(want), 1);                            \
      }                                                                                         \
    }                                                                                           \
  }
BINARY_FLOAT(binary_f32, float, 1)
BINARY_FLOAT(binary_f64, double, 0)

#define BINARY_INTEGER(name, type, bits)                                                        \
  static void name(void) {                                                                      \
    FOR_BINARY_CASES(n, a_stride, b_stride) {                                                   \
      size_t a_count = span(n, a_stride), b_count = span(n, b_stride);                          \
      type *a = memory(a_count * sizeof(type)), *b = memory(b_count * sizeof(type));            \
      type *y = memory(n * sizeof(type));                                                       \
      for (size_t i = 0; i < a_count; i++) a[i] = (type)random_bits() >> (i % bits);            \
      for (size_t i = 0; i < b_count; i++) b[i] = (type)random_bits() >> (i * 7 % bits);        \
      if (n > 100) a[a_count / 2] = b[b_count / 3] = (type)(1ull << (bits - 1));                \
      if (n > 100) b[b_count / 2] = -1, b[b_count / 4] = 0;                                     \
      a += first(n, a_stride), b += first(n, b_stride);                                         \
      kernels->name(op, n, a, a_stride, b, b_stride, y);                                        \
      for (size_t i = 0; i < n; i++)                                                            \
        if (y[i] != (type)binary_integer(op, a[(ptrdiff_t)i * a_stride],                        \
                                         b[(ptrdiff_t)i * b_stride], bits))                     \
          equal("y", i, (double)y[i],                                                           \
                (double)binary_integer(op, a[(ptrdiff_t)i * a_stride],                          \
                                       b[(ptrdiff_t)i * b_stride], bits));                      \
    }                                                                                           \
  }
BINARY_INTEGER(binary_i32, int32_t, 32)
BINARY_INTEGER(binary_i64, int64_t, 64)

static void axpy(void) {
  FOR_LENGTHS(n) {
    begin("n %zu", n);
    const float *x = random_floats(n, -1, 1);
    float *y = random_floats(n, -1, 1), *before = copy(y, n);
    kernels->axpy(n, 0.7f, x, y);
    for (size_t i = 0; i < n; i++)
      near("y", i, y[i], before[i] + (double)0.7f * x[i], fabs(before[i]) + fabs(x[i]), 2);
  }
}

static void scale(void) {
  FOR_LENGTHS(n) {
    begin("n %zu", n);
    float *y = random_floats(n, -1, 1), *before = copy(y, n);
    kernels->scale(n, -0.7f, y);
    for (size_t i = 0; i < n; i++) near("y", i, y[i], (double)-0.7f * before[i], 1, 1);
  }
}

static const test tests[] = {TEST(unary_f32), TEST(unary_f64), TEST(binary_f32), TEST(binary_f64),
    TEST(binary_i32), TEST(binary_i64), TEST(axpy), TEST(scale)};
const suite elementwise_tests = {tests, COUNT(tests)};

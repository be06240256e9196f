#define UNARY_LOOP(expression)                              \
  {                                                         \
    size_t i = 0;                                           \
    for (; i + LANES <= n; i += LANES) {                    \
      vf v = v_load(x + i);                                 \
      v_store(y + i, (expression));                         \
    }                                                       \
    if (i < n) {                                            \
      vf v = v_load_part(x + i, n - i, 1.0f);               \
      v_store_part(y + i, (expression), n - i);             \
    }                                                       \
    break;                                                  \
  }

static void unary_f32(cpu_unary op, size_t n, const float *x, float *y) {
  switch (op) {
    case CPU_NEGATE: UNARY_LOOP(-v)
    case CPU_ABSOLUTE: UNARY_LOOP(v_abs(v))
    case CPU_SQUARE: UNARY_LOOP(v * v)
    case CPU_SQRT: UNARY_LOOP(v_sqrt(v))
    case CPU_RSQRT: UNARY_LOOP(1.0f / v_sqrt(v))
    case CPU_RECIPROCAL: UNARY_LOOP(1.0f / v)
    case CPU_EXP: UNARY_LOOP(v_exp(v))
    case CPU_LOG: UNARY_LOOP(v_log(v))
    case CPU_TANH: UNARY_LOOP(v_tanh(v))
    case CPU_SIGMOID: UNARY_LOOP(v_sigmoid(v))
    case CPU_LOG_SIGMOID: UNARY_LOOP(v_log_sigmoid(v))
    case CPU_SILU: UNARY_LOOP(v * v_sigmoid(v))
    case CPU_RELU: UNARY_LOOP(v_max((vf){0}, v))
    case CPU_ERFC: UNARY_LOOP(v_erfc(v))
    case CPU_EXPM1: UNARY_LOOP(v_expm1(v))
    case CPU_LOG1P: UNARY_LOOP(v_log1p(v))
  }
}

static void unary_f64(cpu_unary op, size_t n, const double *x, double *y) {
#define UNARY_F64(expression)                               \
  for (size_t i = 0; i < n; i++) {                          \
    double v = x[i];                                        \
    y[i] = (expression);                                    \
  }                                                         \
  break;
  switch (op) {
    case CPU_NEGATE: UNARY_F64(-v)
    case CPU_ABSOLUTE: UNARY_F64(fabs(v))
    case CPU_SQUARE: UNARY_F64(v * v)
    case CPU_SQRT: UNARY_F64(sqrt(v))
    case CPU_RSQRT: UNARY_F64(1 / sqrt(v))
    case CPU_RECIPROCAL: UNARY_F64(1 / v)
    case CPU_EXP: UNARY_F64(exp(v))
    case CPU_LOG: UNARY_F64(log(v))
    case CPU_TANH: UNARY_F64(tanh(v))
    case CPU_SIGMOID: UNARY_F64(1 / (1 + exp(-v)))
    case CPU_LOG_SIGMOID: UNARY_F64(fmin(v, 0) - log1p(exp(-fabs(v))))
    case CPU_SILU: UNARY_F64(v / (1 + exp(-v)))
    case CPU_RELU: UNARY_F64(v > 0 ? v : (v != v ? v : 0))
    case CPU_ERFC: UNARY_F64(erfc(v))
    case CPU_EXPM1: UNARY_F64(expm1(v))
    case CPU_LOG1P: UNARY_F64(log1p(v))
  }
#undef UNARY_F64
}

// One loop per stride pattern of broadcasting, so that each vectorises.
#define BINARY_LOOPS(expression)                                                     \
  if (a_stride == 1 && b_stride == 1) {                                              \
    for (size_t i = 0; i < n; i++) { T u = a[i], v = b[i]; y[i] = (expression); }    \
  } else if (a_stride == 1 && b_stride == 0) {                                       \
    T v = *b;                                                                        \
    for (size_t i = 0; i < n; i++) { T u = a[i]; y[i] = (expression); }              \
  } else if (a_stride == 0 && b_stride == 1) {                                       \
    T u = *a;                                                                        \
    for (size_t i = 0; i < n; i++) { T v = b[i]; y[i] = (expression); }              \
  } else {                                                                           \
    for (size_t i = 0; i < n; i++) {                                                 \
      T u = a[(ptrdiff_t)i * a_stride], v = b[(ptrdiff_t)i * b_stride];              \
      y[i] = (expression);                                                           \
    }                                                                                \
  }                                                                                  \
  break;

#define BINARY(name, type, quotient, power)                                                   \
  static void name(cpu_binary op, size_t n, const type *a, ptrdiff_t a_stride, const type *b, \
                   ptrdiff_t b_stride, type *restrict y) {                                    \
    typedef type T;                                                                           \
    switch (op) {                                                                             \
      case CPU_ADD: BINARY_LOOPS(u + v)                                                       \
      case CPU_SUBTRACT: BINARY_LOOPS(u - v)                                                  \
      case CPU_MULTIPLY: BINARY_LOOPS(u * v)                                                  \
      case CPU_DIVIDE: BINARY_LOOPS(quotient)                                                 \
      case CPU_MAXIMUM: BINARY_LOOPS(u > v || u != u ? u : v)                                 \
      case CPU_MINIMUM: BINARY_LOOPS(u < v || u != u ? u : v)                                 \
      case CPU_POWER: BINARY_LOOPS(power)                                                     \
    }                                                                                         \
  }
BINARY(binary_f32, float, u / v, powf(u, v))
BINARY(binary_f64, double, u / v, pow(u, v))
// Integers wrap, and division by zero gives zero: no input traps. Powers of integers are not defined
// and give zero.
#define INTEGER_POWER ((void)u, (void)v, 0)
#define INTEGER_QUOTIENT (v == 0 ? 0 : v == -1 ? (T)(0 - (uint64_t)u) : u / v)
BINARY(binary_i32, int32_t, INTEGER_QUOTIENT, INTEGER_POWER)
BINARY(binary_i64, int64_t, INTEGER_QUOTIENT, INTEGER_POWER)

static void axpy(size_t n, float alpha, const float *x, float *y) {
  for (size_t i = 0; i < n; i++) y[i] += alpha * x[i];
}
static void scale(size_t n, float alpha, float *y) {
  for (size_t i = 0; i < n; i++) y[i] *= alpha;
}

// bodies/convert.h
#include "check.h"

static const cpu_float_type types[] = {CPU_F32, CPU_BF16, CPU_F16};
static const char *const names[] = {"float32", "bfloat16", "float16"};

// Every half-precision number, and lengths with remainders.
static void widen(void) {
  enum { PATTERNS = 1 << 16 };
  for (size_t t = 0; t < COUNT(types); t++) {
    if (types[t] != CPU_F32) {
      begin("%s, all numbers", names[t]);
      uint16_t *x = memory(PATTERNS * sizeof(uint16_t));
      float *y = floats(PATTERNS);
      for (size_t i = 0; i < PATTERNS; i++) x[i] = (uint16_t)i;
      kernels->widen(types[t], PATTERNS, x, y);
      for (size_t i = 0; i < PATTERNS; i++) {
        equal("y", i, y[i], element(types[t], x, i));
        equal("sign of y", i, signbit(y[i]) != 0, (i & 0x8000) != 0);
      }
    }
    FOR_LENGTHS(n) {
      begin("%s, n %zu", names[t], n);
      const void *x = random_rows_as(types[t], 1, n, n);
      float *y = floats(n);
      kernels->widen(types[t], n, x, y);
      for (size_t i = 0; i < n; i++) equal("y", i, y[i], element(types[t], x, i));
    }
  }
}

// Random bit patterns give numbers of every size, NaN included; halfway cases are constructed.
static void narrow(void) {
  enum { PATTERNS = 1 << 14 };
  static const float special[] = {0, -0.0f, INFINITY, -INFINITY, NAN, 65504, 65519.996f, 65520,
                                  -65520, 3.3895314e38f, 3.3961775e38f, -3.4028235e38f, 0x1p-24f,
                                  0x1p-25f, 0x1.000002p-25f, 0x1p-149f, 0x1p-133f, 0x1p-134f};
  for (size_t t = 0; t < COUNT(types); t++)
    for (size_t part = 0; part <= COUNT(lengths); part++) {
      size_t n = part == COUNT(lengths) ? PATTERNS : lengths[part];
      begin("%s, n %zu", names[t], n);
      float *x = floats(n), *y = memory(n * (types[t] == CPU_F32 ? 4 : 2));
      for (size_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)random_bits();
        // Every third number is halfway between two bfloat16 numbers, every third of float16's size.
        if (i % 3 == 1) bits = (bits & 0xFFFF0000) | 0x8000;
        memcpy(&x[i], &bits, sizeof bits);
        if (i % 3 == 2) x[i] = (float)ldexp(nearbyint(uniform(-8192, 8192)), (int)(bits % 30) - 26);
        if (n == PATTERNS && i < COUNT(special)) x[i] = special[i];
      }
      kernels->narrow(types[t], n, x, y);
      for (size_t i = 0; i < n; i++) {
        equal("y", i, element(types[t], y, i), rounded_to(types[t], x[i]));
        if (x[i] == 0) equal("sign of y", i, signbit(element(types[t], y, i)), signbit(x[i]));
      }
    }
}

// Strided rows gathered with a factor, and scattered with and without non-temporal stores.
static void load_rows(void) {
  enum { ROWS = 3 };
  static const cpu_float_type types[] = {CPU_F32, CPU_BF16, CPU_F16};
  FOR_EACH(type, types) FOR_LENGTHS(columns) {
    begin("type %d, columns %zu", (int)type, columns);
    size_t stride = columns + 3;
    const void *x = random_rows_as(type, ROWS, columns, stride);
    float *y = floats(ROWS * columns);
    const float factor = 0.3f;
    kernels->load_rows(type, ROWS, columns, x, (ptrdiff_t)stride, factor, y);
    for (size_t r = 0; r < ROWS; r++)
      for (size_t i = 0; i < columns; i++)
        equal("y", r * columns + i, y[r * columns + i],
              (float)element(type, x, r * stride + i) * factor);
  }
}

static void store_rows(void) {
  enum { ROWS = 3 };
  static const cpu_float_type types[] = {CPU_F32, CPU_BF16, CPU_F16};
  FOR_EACH(type, types) FOR_LENGTHS(columns) for (int past = 0; past < 2; past++) {
    begin("type %d, columns %zu, past caches %d", (int)type, columns, past);
    size_t stride = columns + 3, size = type == CPU_F32 ? 4 : 2;
    const float *x = random_floats(ROWS * columns, -1, 1);
    void *y = memory(((ROWS - 1) * stride + columns) * size);
    kernels->store_rows(type, past, ROWS, columns, x, y, (ptrdiff_t)stride);
    for (size_t r = 0; r < ROWS; r++)
      for (size_t i = 0; i < columns; i++)
        equal("y", r * stride + i, element(type, y, r * stride + i),
              rounded_to(type, x[r * columns + i]));
    if (type == CPU_F32) gaps_untouched("y", y, ROWS, columns, stride);
  }
}

static const test tests[] = {TEST(load_rows), TEST(store_rows), TEST(widen), TEST(narrow)};
const suite convert_tests = {tests, COUNT(tests)};

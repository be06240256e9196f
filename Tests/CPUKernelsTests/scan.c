// bodies/scan.h
#include "check.h"

// e^g to five roundings and its product with log2(e), whose error is proportional to the logarithm.
enum { DECAY_ROUNDINGS = 8, LONGEST = 21, ROWS = 5 };

static const struct {
  cpu_float_type type, gate;
} pairs[] = {{CPU_F32, CPU_F32}, {CPU_BF16, CPU_F32}, {CPU_F16, CPU_F32}, {CPU_BF16, CPU_BF16},
             {CPU_F16, CPU_F16}};

static double roundings_of(cpu_float_type type) {
  return type == CPU_BF16 ? BF16_ROUNDINGS : type == CPU_F16 ? 0x1p-11 / ROUNDING : 0;
}
// Below it, rounding is relative to the smallest number of the type.
static double smallest(cpu_float_type type) {
  return type == CPU_F16 ? 0x1p-14 : SMALLEST / ROUNDING;
}
static size_t bytes_of(cpu_float_type type) { return type == CPU_F32 ? 4 : 2; }

// Logarithms from 0 to -20, some of them -inf; products of exact halves and an exact power, so that
// they are representable in every type.
static void *gates(cpu_float_type type, size_t columns, size_t stride) {
  static const float special[] = {0, -20, -0.0009765625f, -INFINITY, -0.3466796875f};
  void *g = random_rows_as(type, ROWS, columns, stride);
  for (size_t r = 0; r < ROWS; r++)
    for (size_t i = 0; i < columns; i++) {
      float x = random_bits() % 4 ? -0x1p-8f * (float)(random_bits() % 256) * 0.5f
                                  : special[random_bits() % COUNT(special)];
      size_t at = r * stride + i;
      if (type == CPU_F32)
        ((float *)g)[at] = x;
      else
        kernels->narrow(type, 1, &x, (uint16_t *)g + at);
    }
  return g;
}

// h e^g + x in double precision, with the size of its terms in *size.
static double advance(double h, double g, double x, double *size) {
  *size = exp(g) * *size + fabs(x);
  return (g == -INFINITY ? 0 : exp(g) * h) + x;
}

#define FOR_PAIRS(at) for (size_t at = 0; at < COUNT(pairs); at++)

static void scan(void) {
  FOR_PAIRS(p) FOR_LENGTHS(columns) for (int past = 0; past < 2; past++) {
    cpu_float_type type = pairs[p].type, gate = pairs[p].gate;
    begin("types %d %d, columns %zu, past caches %d", type, gate, columns, past);
    size_t x_row = columns + 3, g_row = columns + (columns & 1), y_row = columns + 2;
    const void *x = random_rows_as(type, ROWS, columns, x_row);
    const void *g = gates(gate, columns, g_row);
    float *h = random_floats(columns, -1, 1);
    const float *before = copy(h, columns);
    void *y = memory((ROWS - 1) * y_row * bytes_of(type) + columns * bytes_of(type));
    kernels->scan(type, gate, past, ROWS, columns, x, (ptrdiff_t)x_row, g, (ptrdiff_t)g_row, h, y,
                  (ptrdiff_t)y_row);
    for (size_t i = 0; i < columns; i++) {
      double want = before[i], size = fabs(want);
      for (size_t r = 0; r < ROWS; r++) {
        want = advance(want, element(gate, g, r * g_row + i), element(type, x, r * x_row + i),
                       &size);
        near("y", r * y_row + i, element(type, y, r * y_row + i), want,
             fmax(size, SMALLEST / ROUNDING), ROWS * (DECAY_ROUNDINGS + LONGEST) + roundings_of(type));
      }
      near("h", i, h[i], want, fmax(size, SMALLEST / ROUNDING),
           ROWS * (DECAY_ROUNDINGS + LONGEST));
    }
    if (type == CPU_F32) gaps_untouched("y", y, ROWS, columns, y_row);
  }
}

// A decay close to 1 keeps its digits over many rows.
static void check_slow_decay(void) {
  enum { MANY = 4096, COLUMNS = 16 };
  begin("slow decay");
  const float slow = -0x1.1p-12f;
  float *x = floats(COLUMNS), *g = floats(COLUMNS), *h = floats(COLUMNS);
  float *y = floats(COLUMNS);
  for (size_t i = 0; i < COLUMNS; i++) x[i] = 0.7f, g[i] = slow, h[i] = 0;
  kernels->scan(CPU_F32, CPU_F32, 0, MANY, COLUMNS, x, 0, g, 0, h, y, 0);
  double want = (double)x[0] * expm1(MANY * (double)slow) / expm1((double)slow);
  // Each row rounds once, at random; the sum of so many errors grows as their square root.
  for (size_t i = 0; i < COLUMNS; i++) near("h", i, h[i], want, want, 64);
}

static void scan_and_slow_decay(void) {
  scan();
  check_slow_decay();
}

static void scan_carry(void) {
  FOR_PAIRS(p) FOR_LENGTHS(columns) for (int backwards = 0; backwards < 2; backwards++) {
    cpu_float_type type = pairs[p].type, gate = pairs[p].gate;
    begin("types %d %d, columns %zu, backwards %d", type, gate, columns, backwards);
    const void *x = random_rows_as(type, ROWS, columns, columns);
    const void *g = gates(gate, columns, columns + 1);
    float *h = random_floats(columns, -1, 1), *total = random_floats(columns, -1, 0);
    const float *before = copy(h, columns), *start = copy(total, columns);
    kernels->scan_carry(type, gate, backwards, ROWS, columns, x, (ptrdiff_t)columns, g,
                        (ptrdiff_t)columns + 1, h, total);
    for (size_t i = 0; i < columns; i++) {
      double want = before[i], size = fabs(want), sum = start[i], sum_size = fabs(sum);
      for (size_t n = 0; n < ROWS; n++) {
        size_t r = backwards ? ROWS - 1 - n : n;
        double log = element(gate, g, r * (columns + 1) + i);
        double added = element(type, x, r * columns + i);
        if (backwards) {
          size += fabs(added);
          want = advance(want + added, log, 0, &size);
        } else {
          want = advance(want, log, added, &size);
        }
        sum += log, sum_size += fabs(log);
      }
      near("h", i, h[i], want, fmax(size, SMALLEST / ROUNDING),
           ROWS * (DECAY_ROUNDINGS + LONGEST));
      near("total", i, total[i], sum, sum_size, ROWS);
    }
  }
}

static void scan_backward(void) {
  FOR_PAIRS(p) FOR_LENGTHS(columns) for (int past = 0; past < 2; past++) {
    cpu_float_type type = pairs[p].type, gate = pairs[p].gate;
    begin("types %d %d, columns %zu, past caches %d", type, gate, columns, past);
    size_t g_row = columns + 1, y_row = columns, dy_row = columns + 2, d_row = columns + 3;
    const void *g = gates(gate, columns, g_row);
    const void *y = random_rows_as(type, ROWS, columns, y_row);
    const void *dy = random_rows_as(type, ROWS, columns, dy_row);
    const float *first = random_floats(columns, -1, 1);
    float *dh = random_floats(columns, -1, 1);
    const float *incoming = copy(dh, columns);
    size_t count = (ROWS - 1) * d_row + columns;
    void *dx = memory(count * bytes_of(type)), *dg = memory(count * bytes_of(gate));
    kernels->scan_backward(type, gate, past, ROWS, columns, g, (ptrdiff_t)g_row, y,
                           (ptrdiff_t)y_row, first, dy, (ptrdiff_t)dy_row, dh, dx, dg,
                           (ptrdiff_t)d_row);
    const double roundings = ROWS * (DECAY_ROUNDINGS + LONGEST);
    for (size_t i = 0; i < columns; i++) {
      double gradient = incoming[i], size = fabs(gradient);
      for (size_t r = ROWS; r-- > 0;) {
        double received = element(type, dy, r * dy_row + i);
        gradient += received, size += fabs(received);
        near("dx", r * d_row + i, element(type, dx, r * d_row + i), gradient, size,
             roundings + roundings_of(type));
        gradient = advance(gradient, element(gate, g, r * g_row + i), 0, &size);
        double state = r > 0 ? element(type, y, (r - 1) * y_row + i) : first[i];
        near("dg", r * d_row + i, element(gate, dg, r * d_row + i), gradient * state,
             fmax(size * fabs(state), smallest(gate)), roundings + roundings_of(gate));
      }
      near("dh", i, dh[i], gradient, fmax(size, SMALLEST / ROUNDING), roundings);
    }
    if (type == CPU_F32) gaps_untouched("dx", dx, ROWS, columns, d_row);
  }
}

static const test tests[] = {{"scan", scan_and_slow_decay, 0}, TEST(scan_carry),
    TEST(scan_backward)};
const suite scan_tests = {tests, COUNT(tests)};

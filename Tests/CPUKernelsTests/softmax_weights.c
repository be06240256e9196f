// bodies/softmax_tile.h: the softmax of a tile, with weights in float32 and in bfloat16.
#include <float.h>

#include "check.h"

// The kinds of rows: the states a row can be in before a tile, and the scores that a tile can add.
typedef enum {
  FIRST_TILE, RISING_MAXIMUM, STEADY_MAXIMUM, NOTHING_YET, NOTHING_NEW, SOME_MASKED, NOT_A_NUMBER,
  NOTHING_BUT_NAN, ROW_KINDS
} row_kind;

enum { ROWS = 2 * ROW_KINDS + 3, OUTPUTS = 5 };
static const float factor = 1.25f;
static const double ln2 = 0.69314718055994530942;

// Scores of every kind, row r being of kind r % ROW_KINDS.
static float *scores(size_t columns, size_t stride) {
  float *s = random_rows(ROWS, columns, stride, -12, 12);
  for (size_t r = 0; r < ROWS; r++)
    for (size_t j = 0; j < columns; j++) {
      row_kind kind = r % ROW_KINDS;
      float *x = &s[r * stride + j];
      if (kind == NOTHING_YET || kind == NOTHING_NEW || (kind == SOME_MASKED && random_bits() % 3))
        *x = -INFINITY;
      if (kind == NOTHING_BUT_NAN || (kind == NOT_A_NUMBER && j == columns - 1)) *x = NAN;
    }
  return s;
}

// Whether the row has NaN among its scores.
static int has_nan(size_t r) {
  return r % ROW_KINDS == NOT_A_NUMBER || r % ROW_KINDS == NOTHING_BUT_NAN;
}

// The error in roundings of 2^t with t = x - y rounded at most twice: ln(2) times the error of t, plus
// that of the polynomial.
static double power_roundings(double x, double y) {
  return 8 + ln2 * (fabs(x) + fabs(y) + fabs(x - y));
}
// The same if t is a rounded difference times a rounded factor.
static double difference_roundings(double t) { return 8 + ln2 * 2 * fabs(t); }
// Weights below the smallest normal number may be zero.
static double weight_size(double weight) { return fmax(weight, SMALLEST / ROUNDING); }

// A weight in s or, rounded to bfloat16, in half.
static void weight(const float *s, const uint16_t *half, size_t at, double x, double y,
                   double units) {
  if (x == -INFINITY || y == INFINITY) {
    equal("weights", at, half ? element(CPU_BF16, half, at) : s[at], 0);
    return;
  }
  double want = exp2(x - y);
  if (half)
    near("half", at, element(CPU_BF16, half, at), want, weight_size(want), units + BF16_ROUNDINGS);
  else
    near("weights", at, s[at], want, weight_size(want), units);
}

static size_t half_count(size_t columns, size_t stride) {
  return (ROWS - 1) * stride + columns + columns % 2;
}
// An odd last weight is padded with a zero, and nothing after it is written.
static void row_end(const uint16_t *half, const uint16_t *poison, size_t r, size_t columns,
                    size_t stride) {
  size_t end = r * stride + columns;
  if (columns % 2) equal("last of half", end, half[end], 0);
  for (size_t at = end + columns % 2; r + 1 < ROWS && at < (r + 1) * stride; at++)
    equal("gap of half", at, half[at], poison[at]);
}

static void online(int in_halves) {
  FOR_LENGTHS(columns) {
    begin("rows %d, columns %zu", ROWS, columns);
    size_t stride = columns + 3, count = half_count(columns, stride);
    float *s = scores(columns, stride);
    const float *scored = copy(s, (ROWS - 1) * stride + columns);
    uint16_t *half = in_halves ? memory(2 * count) : NULL;
    const uint16_t *poison = memory(2 * count);
    float *m = floats(ROWS), *l = floats(ROWS);
    float *o = random_rows(ROWS, OUTPUTS, OUTPUTS + 2, -1, 1);
    for (size_t r = 0; r < ROWS; r++) {
      row_kind kind = r % ROW_KINDS;
      int has_seen = kind == RISING_MAXIMUM || kind == STEADY_MAXIMUM || kind == NOTHING_NEW;
      m[r] = !has_seen ? -INFINITY : kind == RISING_MAXIMUM ? -20 : 20;
      l[r] = has_seen ? 3 : 0;
      for (size_t j = 0; j < OUTPUTS && !has_seen; j++) o[r * (OUTPUTS + 2) + j] = 0;
    }
    const float *m0 = copy(m, ROWS), *l0 = copy(l, ROWS);
    const float *o0 = copy(o, (ROWS - 1) * (OUTPUTS + 2) + OUTPUTS);
    if (in_halves)
      kernels->bf16.softmax_online(ROWS, columns, s, stride, factor, half, m, l, o, OUTPUTS,
                                   OUTPUTS + 2);
    else
      kernels->softmax_online(ROWS, columns, s, stride, factor, m, l, o, OUTPUTS, OUTPUTS + 2);
    for (size_t r = 0; r < ROWS; r++) {
      if (has_nan(r)) {
        equal("l", r, l[r], NAN);
        continue;
      }
      double high = m0[r], total = 0, units = 0;
      for (size_t j = 0; j < columns; j++) high = fmax(high, (double)scored[r * stride + j]);
      equal("m", r, m[r], high);
      for (size_t j = 0; j < columns; j++) {
        double x = (double)scored[r * stride + j] * factor, t = x - high * factor;
        weight(s, half, r * stride + j, x, high * factor, difference_roundings(t));
        if (x == -INFINITY) continue;
        total += exp2(t);
        units = fmax(units, difference_roundings(t));
      }
      double shrink = ((double)m0[r] - high) * factor;
      double kept = m0[r] == -INFINITY ? 0 : exp2(shrink);
      double kept_units = m0[r] == -INFINITY ? 0 : difference_roundings(shrink);
      double sum = l0[r] * kept + total;
      near("l", r, l[r], sum, sum, fmax(units, kept_units) + (double)columns / 4 + 4);
      for (size_t j = 0; j < OUTPUTS; j++) {
        size_t at = r * (OUTPUTS + 2) + j;
        near("o", at, o[at], o0[at] * kept, fabs(o0[at] * kept), kept_units + 1);
      }
      if (half) row_end(half, poison, r, columns, stride);
    }
    if (!half) gaps_untouched("s", s, ROWS, columns, stride);
    gaps_untouched("o", o, ROWS, OUTPUTS, OUTPUTS + 2);
  }
}
// Large, finite scores close to each other: weights are those of their differences, exactly where those
// are 0, and the sums match them.
static void online_large(void) {
  static const float sizes[] = {-1e4f, -1e9f, -1e10f, -1e12f, -1e30f, -FLT_MAX, 1e6f, 1e12f, 1e30f};
  enum { COLUMNS = 37 };
  for (size_t i = 0; i < COUNT(sizes); i++) {
    float size = sizes[i];
    begin("scores around %g", size);
    float *s = floats(COLUMNS), m = -INFINITY, l = 0, o = 0;
    float below = nextafterf(nextafterf(size, -INFINITY), -INFINITY);
    if (below == -INFINITY) below = size;
    for (size_t j = 0; j < COLUMNS; j++) s[j] = j % 3 ? size : below;
    const float *scored = copy(s, COLUMNS);
    kernels->softmax_online(1, COLUMNS, s, COLUMNS, factor, &m, &l, &o, 0, 1);
    equal("m", 0, m, size);
    double total = 0;
    for (size_t j = 0; j < COLUMNS; j++) {
      double t = ((double)scored[j] - size) * factor, want = exp2(t);
      near("weights", j, s[j], want, weight_size(want), difference_roundings(t));
      total += want;
    }
    near("l", 0, l, total, total, 20);
    float *y = floats(1), *lse = floats(1);
    kernels->finish_rows(CPU_F32, 1, 1, &o, 1, &m, factor, &l, 1, y, 1, lse);
    double want = (double)size * factor * ln2 + log(total);
    near("lse", 0, lse[0], want, fabs(want), 2);
  }
}
static void softmax_online(void) {
  online(0);
  online_large();
}
static void softmax_online_bf16(void) { online(1); }

static void shifted(int in_halves) {
  const float shift = 16;
  FOR_LENGTHS(columns) {
    begin("rows %d, columns %zu", ROWS, columns);
    size_t stride = columns + 3, count = half_count(columns, stride);
    float *s = scores(columns, stride);
    const float *scored = copy(s, (ROWS - 1) * stride + columns);
    uint16_t *half = in_halves ? memory(2 * count) : NULL;
    const uint16_t *poison = memory(2 * count);
    float *l = random_floats(ROWS, 0, 1);
    const float *l0 = copy(l, ROWS);
    if (in_halves)
      kernels->bf16.softmax_shifted(ROWS, columns, s, stride, factor, shift, half, l);
    else
      kernels->softmax_shifted(ROWS, columns, s, stride, factor, shift, l);
    for (size_t r = 0; r < ROWS; r++) {
      double sum = l0[r], units = 0;
      for (size_t j = 0; j < columns; j++) {
        double x = (double)scored[r * stride + j] * factor;
        sum += exp2(x - shift);
        if (isfinite(x)) units = fmax(units, power_roundings(x, shift));
        if (!has_nan(r))
          weight(s, half, r * stride + j, x, shift, power_roundings(x, shift));
      }
      near("l", r, l[r], sum, sum, units + (double)columns / 4 + 4);
      if (half) row_end(half, poison, r, columns, stride);
    }
    if (!half) gaps_untouched("s", s, ROWS, columns, stride);
  }
}
static void softmax_shifted(void) { shifted(0); }
static void softmax_shifted_bf16(void) { shifted(1); }

// Columns are queries; those that attend to nothing have an infinite sum.
static void gradient(int in_halves) {
  FOR_LENGTHS(columns) {
    begin("rows %d, columns %zu", ROWS, columns);
    size_t stride = columns + 3, count = half_count(columns, stride);
    float *s = scores(columns, stride), *d = random_rows(ROWS, columns, stride, -1, 1);
    const float *scored = copy(s, (ROWS - 1) * stride + columns);
    const float *d0 = copy(d, (ROWS - 1) * stride + columns);
    float *lse = random_floats(columns, 12, 18);
    const float *delta = random_floats(columns, -1, 1);
    if (columns > 2) lse[columns / 2] = INFINITY;
    uint16_t *half = in_halves ? memory(2 * count) : NULL;
    const uint16_t *poison = memory(2 * count);
    if (in_halves)
      kernels->bf16.softmax_gradient(ROWS, columns, s, d, stride, factor, lse, delta, half);
    else
      kernels->softmax_gradient(ROWS, columns, s, d, stride, factor, lse, delta);
    for (size_t r = 0; r < ROWS; r++) {
      for (size_t j = 0; j < columns; j++) {
        size_t at = r * stride + j;
        double x = (double)scored[at] * factor, up = (double)d0[at] - delta[j];
        if (isnan(x)) {
          equal("d", at, d[at], NAN);
          continue;
        }
        double p = exp2(x - lse[j]), size = weight_size(p) * (fabs(d0[at]) + fabs(delta[j]));
        weight(s, half, at, x, lse[j], power_roundings(x, lse[j]));
        if (isfinite(x) && isfinite(lse[j]))
          near("d", at, d[at], p * up, size, power_roundings(x, lse[j]) + 3);
        else
          equal("d", at, d[at], 0);
      }
      if (half) row_end(half, poison, r, columns, stride);
    }
    if (!half) gaps_untouched("s", s, ROWS, columns, stride);
    gaps_untouched("d", d, ROWS, columns, stride);
  }
}
static void softmax_gradient(void) { gradient(0); }
static void softmax_gradient_bf16(void) { gradient(1); }

// Rows whose maxima and sums are strided, as those of two heads are.
static void finish_rows(void) {
  static const cpu_float_type types[] = {CPU_F32, CPU_BF16, CPU_F16};
  enum { FINISHED = 5, STEP = 2 };
  FOR_LENGTHS(n) FOR_EACH(type, types) {
    begin("type %d, columns %zu", (int)type, n);
    size_t o_stride = n + 3, y_stride = n + 2, size = type == CPU_F32 ? 4 : 2;
    float *o = random_rows(FINISHED, n, o_stride, -1, 1);
    float *m = random_floats(STEP * FINISHED, -30, 30);
    float *l = random_floats(STEP * FINISHED, 0.5, 900);
    const float unit = 1.5f;
    // A row that attends to nothing, one of NaN, and one with a sum of one.
    m[0] = -INFINITY, l[0] = 0;
    l[STEP] = NAN;
    l[2 * STEP] = 1;
    for (size_t j = 0; j < n; j++) o[j] = 0;
    size_t y_count = (FINISHED - 1) * y_stride + n;
    char *y = memory(size * y_count);
    const char *poison = memory(size * y_count);
    float *lse = floats(FINISHED);
    kernels->finish_rows(type, FINISHED, n, o, o_stride, m, unit, l, STEP, y, y_stride,
                         lse);
    for (size_t r = 0; r < FINISHED; r++) {
      double sum = l[r * STEP], high = (double)m[r * STEP] * unit, logarithm = log2(sum);
      if (r == 0) equal("lse", r, lse[r], -INFINITY);
      else near("lse", r, lse[r], (high + logarithm) * ln2, fabs(high) + fabs(logarithm), 4);
      for (size_t j = 0; j < n; j++) {
        // A reciprocal, a product and the rounding to the type, in its own units.
        double want = r == 0 ? 0 : o[r * o_stride + j] / sum;
        double units = type == CPU_F32 ? 3 : type == CPU_BF16 ? BF16_ROUNDINGS + 3 : 0x1p13 + 3;
        double least = type == CPU_F16 ? 0x1p-14 : 0;
        near("y", r * y_stride + j, element(type, y, r * y_stride + j), want,
             fmax(fabs(want), least), units);
      }
      for (size_t at = r * y_stride + n; r + 1 < FINISHED && at < (r + 1) * y_stride; at++)
        equal("gap of y", at, memcmp(y + at * size, poison + at * size, size), 0);
    }
  }
}

static const test tests[] = {TEST(softmax_online), TEST(finish_rows), TEST(softmax_shifted),
    TEST(softmax_gradient), {"bf16.softmax_online", softmax_online_bf16, 1},
    {"bf16.softmax_shifted", softmax_shifted_bf16, 1},
    {"bf16.softmax_gradient", softmax_gradient_bf16, 1}};
const suite softmax_weight_tests = {tests, COUNT(tests)};

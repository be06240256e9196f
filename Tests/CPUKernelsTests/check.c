#define _GNU_SOURCE
#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "report.h"

// MARK: Memory

enum { REGIONS = 32, REGION_BYTES = 1 << 20, MARGIN = 64 };
static char *regions[REGIONS];
static char *starts[REGIONS];
static size_t used;
// A NaN as float32, as float64, and in each half as bfloat16 and float16.
static const uint32_t poison = 0x7FFDFFFD;

static void reserve(void) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  for (size_t i = 0; i < REGIONS; i++) {
    char *p = mmap(NULL, REGION_BYTES + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                   -1, 0);
    if (p == MAP_FAILED || mprotect(p + REGION_BYTES, page, PROT_NONE) != 0) give_up("no memory");
    regions[i] = p;
  }
}

static void fill(char *from, char *to) {
  for (; from + sizeof poison <= to; from += sizeof poison) memcpy(from, &poison, sizeof poison);
}

void release_memory(void) {
  for (size_t i = 0; i < used; i++)
    for (char *p = starts[i] - MARGIN; p < starts[i]; p += sizeof poison)
      if (memcmp(p, &poison, sizeof poison) != 0) {
        fail("memory before an operand", (size_t)((starts[i] - p) / 4), "was written");
        break;
      }
  used = 0;
}

void *memory(size_t bytes) {
  if (regions[0] == NULL) reserve();
  if (used == REGIONS || bytes + 2 * MARGIN > REGION_BYTES) give_up("a case needs too much memory");
  char *end = regions[used] + REGION_BYTES, *start = end - bytes;
  // An odd number of 16-bit elements starts within a word.
  starts[used] = start - (uintptr_t)start % sizeof poison;
  fill(starts[used++] - MARGIN, end);
  return start;
}

float *floats(size_t count) { return memory(count * sizeof(float)); }
double *doubles(size_t count) { return memory(count * sizeof(double)); }

// MARK: Random numbers

// SplitMix64.
static uint64_t state;

void seed_random(uint64_t seed) { state = seed; }
uint64_t random_bits(void) {
  uint64_t z = state += 0x9E3779B97F4A7C15;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}
double uniform(double low, double high) {
  return low + (high - low) * (double)(random_bits() >> 11) * 0x1p-53;
}

float *random_rows(size_t rows, size_t columns, size_t stride, float low, float high) {
  float *x = floats(rows ? (rows - 1) * stride + columns : 0);
  for (size_t r = 0; r < rows; r++)
    for (size_t i = 0; i < columns; i++) x[r * stride + i] = (float)uniform(low, high);
  return x;
}
float *random_floats(size_t count, float low, float high) {
  return random_rows(1, count, count, low, high);
}

void *random_rows_as(cpu_float_type type, size_t rows, size_t columns, size_t stride) {
  if (type == CPU_F32) return random_rows(rows, columns, stride, -1, 1);
  uint16_t *x = memory(((rows - 1) * stride + columns) * sizeof(uint16_t));
  for (size_t r = 0; r < rows; r++)
    for (size_t i = 0; i < columns; i++) {
      // Any exponent from -7 to -1 and any fraction.
      uint64_t bits = random_bits();
      unsigned shift = type == CPU_BF16 ? 7 : 10, bias = type == CPU_BF16 ? 127 : 15;
      unsigned exponent = bias - 1 - (unsigned)(bits >> 32) % 7;
      x[r * stride + i] = (uint16_t)((bits & 0x8000) | (exponent << shift)
                                     | (bits & ((1u << shift) - 1)));
    }
  return x;
}

float *copy(const float *x, size_t count) {
  float *y = floats(count);
  memcpy(y, x, count * sizeof(float));
  return y;
}

// MARK: Half precision

double element(cpu_float_type type, const void *x, size_t i) {
  if (type == CPU_F32) return ((const float *)x)[i];
  unsigned bits = ((const uint16_t *)x)[i], digits = type == CPU_BF16 ? 7 : 10;
  int bias = type == CPU_BF16 ? 127 : 15, most = type == CPU_BF16 ? 255 : 31;
  int exponent = (int)(bits >> digits) & most;
  double fraction = bits & ((1u << digits) - 1), size;
  if (exponent == most)
    size = fraction == 0 ? (double)INFINITY : (double)NAN;
  else if (exponent == 0)
    size = ldexp(fraction, 1 - bias - (int)digits);
  else
    size = ldexp(fraction + (1u << digits), exponent - bias - (int)digits);
  return bits & 0x8000 ? -size : size;
}

double rounded_to(cpu_float_type type, double x) {
  if (type == CPU_F32) return (float)x;
  if (x == 0 || !isfinite(x)) return x;
  int digits = type == CPU_BF16 ? 7 : 10, least = type == CPU_BF16 ? -126 : -14;
  int exponent = ilogb(x) < least ? least : ilogb(x);
  double quantum = ldexp(1, exponent - digits), y = nearbyint(x / quantum) * quantum;
  return fabs(y) >= ldexp(1, 2 - least) ? copysign(INFINITY, x) : y;
}

// MARK: Comparisons

void near(const char *what, size_t index, double got, double want, double magnitude, double units) {
  if (isnan(want) || isinf(want)) {
    equal(what, index, got, want);
    return;
  }
  double allowed = units * ROUNDING * magnitude, error = fabs(got - want);
  if (error <= allowed) {
    if (error > 0) worst(error / allowed, error);
    return;
  }
  fail(what, index, "is %.9g, must be %.9g within %.3g", got, want, allowed);
}

void equal(const char *what, size_t index, double got, double want) {
  if (got == want || (isnan(got) && isnan(want))) return;
  fail(what, index, "is %.9g, must be %.9g", got, want);
}

void untouched(const char *what, const float *x, size_t i) {
  if (memcmp(x + i, &poison, sizeof poison) != 0)
    fail(what, i, "was written (%.9g), though it is no part of the result", (double)x[i]);
}

void gaps_untouched(const char *what, const float *x, size_t rows, size_t columns, size_t stride) {
  for (size_t r = 0; r + 1 < rows; r++)
    for (size_t i = columns; i < stride; i++) untouched(what, x, r * stride + i);
}

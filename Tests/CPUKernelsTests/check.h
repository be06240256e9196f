// The support code of the inner loops' tests: guarded memory, random numbers, comparisons.
//
// A test compares an entry of the table `kernels` with a naive computation in double precision. Memory
// ends at an inaccessible page, so an access past the end is a failure too, and memory that is not an
// input starts as `poison`, a NaN, so that reading what was never written shows.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "CPUKernels.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

// The table under test.
extern const cpu_kernels *kernels;

// Lengths with and without remainders, for vectors of 4, 8 and 16 floats and loops of four of them.
static const size_t lengths[] = {1,  2,  3,  4,  5,  7,  8,  9,  15, 16,
                                 17, 31, 32, 33, 63, 64, 65, 100, 127};
#define FOR_EACH(name, array)                                                                \
  for (size_t name##_at = 0, name; name##_at < COUNT(array) && (name = (array)[name##_at], 1); \
       name##_at++)
#define FOR_LENGTHS(n) FOR_EACH(n, lengths)

// MARK: Cases

// Starts a case: names its sizes and flags for failures, and releases the memory of the previous one.
void begin(const char *format, ...) __attribute__((format(printf, 1, 2)));

// MARK: Memory, of the current case

// Poisoned memory that ends at an inaccessible page.
void *memory(size_t bytes);
float *floats(size_t count);
double *doubles(size_t count);
// Random numbers in [low, high).
float *random_floats(size_t count, float low, float high);
// The same in rows of `columns` at `stride`, with poison in between.
float *random_rows(size_t rows, size_t columns, size_t stride, float low, float high);
// Random numbers in [-1, 1) as bfloat16 or float16 (or float32), rows of `columns` at `stride`.
void *random_rows_as(cpu_float_type type, size_t rows, size_t columns, size_t stride);
float *copy(const float *x, size_t count);

double uniform(double low, double high);
uint64_t random_bits(void);
void seed_random(uint64_t seed);

// MARK: Half precision, independent of the inner loops

// Element i of an array of `type`.
double element(cpu_float_type type, const void *x, size_t i);
// The nearest number of `type`, ties to even.
double rounded_to(cpu_float_type type, double x);

// MARK: Comparisons

// 2^-24, the relative error of rounding to float32.
#define ROUNDING 0x1p-24
// The error of rounding to bfloat16, in units of ROUNDING.
#define BF16_ROUNDINGS (0x1p-8 / ROUNDING)
// Results below the smallest normal number may be zero.
#define SMALLEST 0x1p-126

// got differs from want by at most `units` roundings of a number of size `magnitude`, and is NaN or
// infinite exactly where want is. The worst error is reported as a fraction of the allowed one.
void near(const char *what, size_t index, double got, double want, double magnitude,
          double units);
// The same number; all NaN are equal.
void equal(const char *what, size_t index, double got, double want);
// x[i] is still poison.
void untouched(const char *what, const float *x, size_t i);
// The gaps between rows of `columns` at `stride` are still poison.
void gaps_untouched(const char *what, const float *x, size_t rows, size_t columns, size_t stride);

// MARK: Tests

typedef struct {
  const char *entry;
  void (*run)(void);
  // Whether tables may lack it: it runs if has_bf16 is not 0.
  int needs_bf16;
} test;
// The test called as its entry.
#define TEST(entry) {#entry, entry, 0}

typedef struct {
  const test *tests;
  size_t count;
} suite;

extern const suite convert_tests, elementwise_tests, reduce_tests, product_tests, few_rows_tests,
    normalize_tests, layer_tests, softmax_tile_tests, softmax_weight_tests, recurrence_tests,
    channel_tests, erasing_tests, scan_tests, selective_tests, convolution_tests, bf16_tests,
    rounded_tests, selected_tests;

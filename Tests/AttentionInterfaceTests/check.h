// The support code of the C interface's tests: numbers, host or GPU memory, views of it, and comparisons.
//
// A test makes a call as a caller would, and computes the same naively in double precision. Gradients
// are compared with finite differences of that naive computation, which shares nothing with the library.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "swift_attention.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

// MARK: Failures

// Names the current case, for failures.
void begin(const char *format, ...) __attribute__((format(printf, 1, 2)));
// Records a failure of the case.
void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
// Ends the run: the machine cannot run the tests.
void give_up(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
// Fails unless `status` is SA_OK.
void succeeded(const char *what, sa_status status);
// Fails unless `status` is `expected` and the message has `words`.
void refused(const char *what, sa_status status, sa_status expected, const char *words);
int failures(void);

// MARK: Numbers

// Pseudorandom, the same in every run.
double uniform(double low, double high);

// MARK: The device of calls

// SA_CPU or a GPU.
extern int32_t device;
// The stream of calls: NULL on the CPU.
extern void *stream;

// Memory of the device; released by release_memory().
void *device_memory(size_t bytes);
void to_device(void *target, const void *source, size_t bytes);
void from_device(void *target, const void *source, size_t bytes);
void release_memory(void);

// Finds the GPU's driver and creates a stream: calls run there from now on.
void use_gpu(void);
// Fails if work went into a stream other than that of the calls, if anything was waited for, or if the
// thread's context has changed; the first two are detected on an emulated GPU only.
void gpu_is_as_before(void);

// MARK: Operands

// The layout of elements in memory.
typedef enum {
  DENSE,
  // [b,t,h,d] as [b,h,t,d], and rank 3 with its last two axes exchanged.
  EXCHANGED,
  // Gaps between rows and before the first element.
  GAPS,
  LAYOUTS
} layout;

#define MAX_ELEMENTS 4096

// A tensor of a call, and its elements in row-major order.
typedef struct {
  sa_tensor view;
  layout layout;
  int64_t count;
  double x[MAX_ELEMENTS];
} operand;

// Random numbers in [low, high), rounded to `dtype`.
operand *random_operand(sa_dtype dtype, layout layout, double low, double high, int rank, ...);
// For a result: every byte is NaN.
operand *empty_operand(sa_dtype dtype, layout layout, int rank, ...);
// int32 numbers in host memory.
operand *integers(int count, const int32_t *numbers);
// Reads what a call wrote, and fails if it wrote outside of it.
void fetch(operand *result);

// MARK: Comparisons

// The error RMS(x - ref) / RMS(ref) is at most `bound`.
void close_to(const char *what, const operand *result, const double *reference, double bound);

// A gradient of a call.
typedef struct {
  // NULL or of SA_BOOL for none.
  operand *of;
  // Where the call has it.
  sa_tensor *place;
  const char *name;
  operand *result;
} gradient;

// Gives the call memory for its gradients, of the inputs' shapes, dtypes and layouts.
void place_gradients(gradient *all, size_t count);
// Compares what the call wrote with finite differences of `loss`. Gradients of bfloat16 inputs are at most off by
// what a rounding of their own adds.
void compare_gradients(gradient *all, size_t count, double (*loss)(void *), void *context,
                       double bound);

// MARK: Tests

void test_exact(void);
void test_linear(void);
void test_scan(void);
void test_arguments(void);
void test_dlpack(void);
void test_texts(void);
void test_threads(void);
void test_fork_before_calls(void);
void test_fork(void);
void test_fuzz(void);

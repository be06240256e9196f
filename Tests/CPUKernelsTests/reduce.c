// bodies/reduce.h, and bodies/peak.h
#include "check.h"

// Each accumulator rounds once per term, and folding them rounds a few times more.
static double additions(size_t n) { return (double)n / 4 + 8; }

static void sum(void) {
  FOR_LENGTHS(n) {
    begin("n %zu", n);
    const float *x = random_floats(n, -1, 1);
    double want = 0, size = 0;
    for (size_t i = 0; i < n; i++) want += x[i], size += fabs(x[i]);
    near("sum", 0, kernels->sum(n, x), want, size, additions(n));
  }
  begin("n 0");
  equal("sum", 0, kernels->sum(0, floats(0)), 0);
}

static void dot(void) {
  FOR_LENGTHS(n) {
    begin("n %zu", n);
    const float *x = random_floats(n, -1, 1), *y = random_floats(n, -1, 1);
    double want = 0, size = 0;
    for (size_t i = 0; i < n; i++) want += (double)x[i] * y[i], size += fabs((double)x[i] * y[i]);
    near("dot", 0, kernels->dot(n, x, y), want, size, additions(n));
  }
}

// Every chain is the recurrence c = c * a + b with another start.
static void multiply_adds(void) {
  const double a = 0.5, b = 0.25;
  const size_t rounds = 5;
  begin("%zu rounds", rounds);
  size_t chains = kernels->operations_per_round / (2 * kernels->vector_floats);
  equal("rest of operations_per_round", 0,
        (double)(kernels->operations_per_round % (2 * kernels->vector_floats)), 0);
  double want = 0;
  for (size_t i = 0; i < chains; i++) {
    double c = (double)i;
    for (size_t round = 0; round < rounds; round++) c = c * a + b;
    want += c * (double)kernels->vector_floats;
  }
  near("sum", 0, kernels->multiply_adds(rounds, (float)a, (float)b), want, want, 16);
}

static const test tests[] = {TEST(sum), TEST(dot), TEST(multiply_adds)};
const suite reduce_tests = {tests, COUNT(tests)};

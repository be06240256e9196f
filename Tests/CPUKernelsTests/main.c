// Tests every entry of every table that this processor supports.
//
//   kernel-tests             run; exit status 1 if an entry is wrong
//   kernel-tests --verbose   the same, with the worst error of every entry
//   kernel-tests --list      the tested entries, one per line
//   kernel-tests SEED        run with other random numbers
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "report.h"

const cpu_kernels *kernels;

static const char *const table_names[] = {
    [CPU_PORTABLE] = "portable", [CPU_AVX2] = "avx2", [CPU_AVX512] = "avx512",
    [CPU_AVX512_BF16] = "avx512bf16", [CPU_NEON] = "neon"};
static const suite *const suites[] = {
    &convert_tests, &elementwise_tests, &reduce_tests, &product_tests, &few_rows_tests,
    &normalize_tests, &layer_tests, &softmax_tile_tests, &softmax_weight_tests, &recurrence_tests,
    &channel_tests, &erasing_tests, &scan_tests, &selective_tests, &convolution_tests, &bf16_tests,
    &rounded_tests, &selected_tests};

static const char *table, *entry;
static char sizes[256];
static int is_verbose;
static size_t failures, wrong_entries;
static double worst_share, worst_error;
static char worst_sizes[sizeof sizes];

void begin(const char *format, ...) {
  release_memory();
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(sizes, sizeof sizes, format, arguments);
  va_end(arguments);
}

void fail(const char *what, size_t index, const char *format, ...) {
  if (failures++ > 0) return;
  fprintf(stderr, "%s of %s (%s): %s[%zu] ", entry, table, sizes, what, index);
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
}

void worst(double share, double error) {
  if (share <= worst_share) return;
  worst_share = share;
  worst_error = error;
  memcpy(worst_sizes, sizes, sizeof sizes);
}

void give_up(const char *why) {
  fprintf(stderr, "%s of %s (%s): %s\n", entry, table, sizes, why);
  exit(2);
}

// Operands end at an inaccessible page. Only async-signal-safe functions are called.
static void touched(int signal) {
  const char *parts[] = {entry, " of ", table, " (", sizes,
                         signal == SIGILL ? "): an instruction that this processor lacks\n"
                                          : "): reads or writes outside of its operands\n"};
  for (size_t i = 0; i < COUNT(parts); i++)
    if (write(STDERR_FILENO, parts[i], strlen(parts[i])) < 0) break;
  _exit(1);
}

static void run(const test *t) {
  entry = t->entry;
  failures = 0;
  worst_share = worst_error = 0;
  sizes[0] = 0;
  t->run();
  release_memory();
  wrong_entries += failures > 0;
  if (failures > 0)
    fprintf(stderr, "%s of %s: %zu numbers are wrong\n", entry, table, failures);
  else if (is_verbose && worst_share > 0)
    printf("  %-28s worst error %8.2g, %3.0f %% of what rounding allows (%s)\n", entry, worst_error,
           100 * worst_share, worst_sizes);
  else if (is_verbose)
    printf("  %-28s exact\n", entry);
}

// Runs every test on the table of `set` and prints the number of its entries.
static void run_table(cpu_instruction_set set) {
  table = table_names[set];
  kernels = cpu_kernels_for(set);
  size_t entries = 0, wrong_before = wrong_entries;
  if (is_verbose) printf("%s\n", table);
  for (size_t s = 0; s < COUNT(suites); s++)
    for (size_t i = 0; i < suites[s]->count; i++) {
      const test *t = &suites[s]->tests[i];
      if (!t->needs_bf16 || kernels->has_bf16) run(t), entries++;
    }
  printf("%s: %zu entries, %zu wrong\n", table, entries, wrong_entries - wrong_before);
  fflush(stdout);
}

static void list(void) {
  for (size_t s = 0; s < COUNT(suites); s++)
    for (size_t i = 0; i < suites[s]->count; i++) printf("%s\n", suites[s]->tests[i].entry);
}

int main(int count, char **arguments) {
  uint64_t seed = 1;
  if (count == 2 && strcmp(arguments[1], "--list") == 0) {
    list();
    return 0;
  }
  if (count == 2 && strcmp(arguments[1], "--verbose") == 0) {
    is_verbose = 1;
  } else if (count > 1) {
    char *end = arguments[1];
    seed = strtoull(arguments[1], &end, 10);
    if (count > 2 || end == arguments[1] || *end != 0) {
      fprintf(stderr, "usage: %s [--list | --verbose | SEED]\n", arguments[0]);
      return 2;
    }
  }
  seed_random(seed);
  int signals[] = {SIGSEGV, SIGBUS, SIGILL};
  for (size_t i = 0; i < COUNT(signals); i++) signal(signals[i], touched);
  for (size_t set = 0; set < COUNT(table_names); set++)
    if (cpu_supports((cpu_instruction_set)set)) run_table((cpu_instruction_set)set);
  return wrong_entries > 0;
}

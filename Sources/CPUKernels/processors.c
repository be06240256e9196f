#if defined(__linux__)
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#endif
#include <unistd.h>

#include "include/CPUKernels.h"

int cpu_available_processors(void) {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

#if defined(__linux__)
// The length of a Linux CPU list: 6 for "0-3,8,11"; 0 if it is malformed.
static int count_listed(FILE *list) {
  int count = 0, first, last;
  while (fscanf(list, "%d", &first) == 1) {
    last = first;
    int next = fgetc(list);
    if (next == '-') {
      if (fscanf(list, "%d", &last) != 1) return 0;
      next = fgetc(list);
    }
    count += last - first + 1;
    if (next != ',') return count;
  }
  return 0;
}
#endif

int cpu_machine_processors(void) {
#if defined(__linux__)
  // In some versions of glibc, sysconf counts only the online processors in the process's affinity mask.
  FILE *list = fopen("/sys/devices/system/cpu/online", "r");
  if (list != NULL) {
    int count = count_listed(list);
    fclose(list);
    if (count > 0) return count;
  }
#endif
  return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

void cpu_rest(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");
#endif
}

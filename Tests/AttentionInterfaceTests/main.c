// Tests the C interface from a C program.
//
//   interface-tests        on the CPU
//   interface-tests gpu    on the first GPU; exit status 1 on failure
#include <stdio.h>
#include <string.h>

#include "check.h"

int main(int count, char **arguments) {
  int on_gpu = count > 1 && strcmp(arguments[1], "gpu") == 0;
  if (count > 2 || (count == 2 && !on_gpu)) give_up("usage: interface-tests [gpu]");
  if (on_gpu) use_gpu();
  if (!on_gpu) test_fork_before_calls();
  test_texts();
  test_exact();
  test_linear();
  test_scan();
  // What does not depend on the device.
  if (!on_gpu) {
    test_arguments();
    test_dlpack();
    test_threads();
    test_fork();
    test_fuzz();
  }
  if (failures() > 0) {
    fprintf(stderr, "%d failures\n", failures());
    return 1;
  }
  printf("the C interface computes on device %d\n", device);
  return 0;
}

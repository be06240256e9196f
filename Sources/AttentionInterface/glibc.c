// Replaces what would tie the library to a newer glibc than it needs.
#include <math.h>

// Swift's module Glibc refers to hypotf, though nothing calls it. libm's has a version of glibc 2.35, because of
// how it sets errno.
float hypotf(float x, float y) {
  if (isinf(x) || isinf(y)) return INFINITY;
  return (float)sqrt((double)x * x + (double)y * y);
}

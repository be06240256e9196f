// What ties the library to a newer glibc than it needs.
#include <math.h>

// Swift's module Glibc refers to it, and nothing calls it. That of libm has a version of glibc 2.35, for how
// it sets errno.
float hypotf(float x, float y) {
  if (isinf(x) || isinf(y)) return INFINITY;
  return (float)sqrt((double)x * x + (double)y * y);
}

#pragma once

#include "tile/base.cuh"

// Mathematical functions overloaded for float and double.
struct Real {
  DEVICE float sqrt(float x) { return ::sqrtf(x); }
  DEVICE double sqrt(double x) { return ::sqrt(x); }
  DEVICE float exp(float x) { return ::expf(x); }
  DEVICE double exp(double x) { return ::exp(x); }
  DEVICE float expm1(float x) { return ::expm1f(x); }
  DEVICE double expm1(double x) { return ::expm1(x); }
  DEVICE float log(float x) { return ::logf(x); }
  DEVICE double log(double x) { return ::log(x); }
  DEVICE float log1p(float x) { return ::log1pf(x); }
  DEVICE double log1p(double x) { return ::log1p(x); }
  DEVICE float tanh(float x) { return ::tanhf(x); }
  DEVICE double tanh(double x) { return ::tanh(x); }
  DEVICE float erfc(float x) { return ::erfcf(x); }
  DEVICE double erfc(double x) { return ::erfc(x); }
  DEVICE float pow(float x, float y) { return ::powf(x, y); }
  DEVICE double pow(double x, double y) { return ::pow(x, y); }
  DEVICE float abs(float x) { return ::fabsf(x); }
  DEVICE double abs(double x) { return ::fabs(x); }
};

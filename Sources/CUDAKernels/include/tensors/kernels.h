#pragma once

#include "tensors/layout.h"

// tensors/copy.cu
struct TensorsCopyParameters {
  DEVICE_POINTER(const void) source;
  DEVICE_POINTER(void) target;
  struct TensorsLayout layout;  // target, source
  int size;                     // bytes of an element
};

// tensors/binary.cu
struct TensorsBinaryParameters {
  struct TensorsOperand a;
  struct TensorsOperand b;
  DEVICE_POINTER(void) y;
  struct TensorsLayout layout;  // y, a, b
  int operation;
  int type;
};

// tensors/compare.cu
struct TensorsCompareParameters {
  struct TensorsOperand a;
  struct TensorsOperand b;
  DEVICE_POINTER(unsigned char) y;
  struct TensorsLayout layout;  // y, a, b
  int is_equality;
  int type;
};

// tensors/unary.cu
struct TensorsUnaryParameters {
  DEVICE_POINTER(const void) x;
  DEVICE_POINTER(void) y;
  struct TensorsLayout layout;  // y, x
  int operation;
  int type;
};

// tensors/cast.cu
struct TensorsCastParameters {
  DEVICE_POINTER(const void) x;
  DEVICE_POINTER(void) y;
  struct TensorsLayout layout;  // y, x
  int x_type;
  int y_type;
};

// tensors/select.cu
struct TensorsSelectParameters {
  DEVICE_POINTER(const unsigned char) flags;
  struct TensorsOperand a;
  struct TensorsOperand b;
  DEVICE_POINTER(void) y;
  struct TensorsLayout layout;  // y, flags, a, b
  int size;                     // bytes of an element
};

CONSTANT(tensors_axis_limit, 8);

// Extents and strides of a multi-dimensional index, outermost axis first.
struct TensorsAxes {
  long long extents[tensors_axis_limit];
  long long strides[tensors_axis_limit];
  int rank;
};

// tensors/reduce.cu
struct TensorsReduceParameters {
  DEVICE_POINTER(const void) x;
  DEVICE_POINTER(void) y;  // [pieces, results]
  struct TensorsAxes kept;
  struct TensorsAxes reduced;
  long long results;
  long long count;
  long long piece;
  double factor;
  int x_type;
  int y_type;
  // Threads per result, a power of two, and results per block.
  int lanes;
  int block_results;
  // Whether adjacent threads have adjacent results; otherwise they have adjacent elements of one result.
  int is_across;
};

// tensors/gather.cu
struct TensorsGatherParameters {
  DEVICE_POINTER(const void) x;       // [rows, width]
  DEVICE_POINTER(const int) indices;  // [count]
  DEVICE_POINTER(void) y;             // [count, width]
  long long count;
  int rows;
  int width;
  int size;                           // bytes of an element
};

// tensors/sort.cu
struct TensorsSortParameters {
  DEVICE_POINTER(const int) indices;       // [count]
  DEVICE_POINTER(const long long) source;  // [count], ordered in runs
  DEVICE_POINTER(long long) target;        // [count]
  long long count;
  long long run;                           // the length of the source's runs; 0 in the first step
};

// The length of the runs that the first step sorts.
CONSTANT(sort_first_run, 256);

// tensors/scatter.cu
GENERIC(Number)
struct TensorsScatterParameters {
  DEVICE_POINTER(const long long) keys;  // [count]: index and position, as in tensors/sort.cu
  DEVICE_POINTER(const void) gradient;   // [count, width]
  DEVICE_POINTER(Number) y;              // [rows, width], zero
  DEVICE_POINTER(Number) carried;        // [stretches, width]
  long long count;
  int rows;
  int width;
  int type;
  int is_second;
};

// Positions that a block adds up.
CONSTANT(scatter_stretch, 64);

// tensors/philox.cu
struct TensorsPhiloxParameters {
  DEVICE_POINTER(long long) y;  // [count]
  long long count;
  unsigned long long key;
  unsigned long long position;
};

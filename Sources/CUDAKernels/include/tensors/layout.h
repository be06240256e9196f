#pragma once

#include "tile/constants.h"

CONSTANT(tensors_outer_limit, 7);
CONSTANT(tensors_operand_limit, 4);

// How a kernel traverses operands of one shape and different strides. The host has merged the axes that can
// be merged in all operands; what remains are rows of `length` elements and the outer axes that index them. A
// thread has `group_size` adjacent elements of a row.
struct TensorsLayout {
  long long rows;
  long long length;
  long long row_groups;
  // Of the outer axes, outermost first.
  long long extents[tensors_outer_limit];
  // Strides in elements along a row, and along the outer axes.
  long long steps[tensors_operand_limit];
  long long strides[tensors_operand_limit][tensors_outer_limit];
  int rank;
  // Whether the index of a group needs 64 bits.
  int is_wide;
};

// An operand: elements in memory, or a scalar.
struct TensorsOperand {
  DEVICE_POINTER(const void) base;  // null for a scalar
  // The scalar's bits: of a double for floating-point types, otherwise of an integer.
  long long bits;
};

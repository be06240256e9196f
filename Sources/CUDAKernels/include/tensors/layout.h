#pragma once

#include "tile/constants.h"

CONSTANT(tensors_outer_limit, 7);
CONSTANT(tensors_operand_limit, 4);

// How a kernel walks operands of one shape and different strides. Axes that all operands walk evenly are merged
// before; what is left is rows of `length` elements, and outer axes that place the rows. A thread has
// `group_size` neighbours of a row.
struct TensorsLayout {
  long long rows;
  long long length;
  long long row_groups;
  // Of the outer axes, outermost first.
  long long extents[tensors_outer_limit];
  // In elements: along a row, and along the outer axes.
  long long steps[tensors_operand_limit];
  long long strides[tensors_operand_limit][tensors_outer_limit];
  int rank;
  // Whether groups are too many for 32 bits.
  int is_wide;
};

// An operand: elements in memory, or one number for all of them.
struct TensorsOperand {
  DEVICE_POINTER(const void) base;  // null for a number
  // The number's bits: of a double where numbers are real, of an integer where they are not.
  long long bits;
};

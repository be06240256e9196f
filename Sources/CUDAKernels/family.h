#ifndef FAMILY_H
#define FAMILY_H

#include "CUDAKernels.h"

// The sources of one folder, embedded by the C file of the same name.
struct cuda_family {
  const struct cuda_source *sources;
  size_t count;
};

// An entry of a family's table: the path by which a file is included, and the array that embeds it.
#define SOURCE(path, array) {path, array, sizeof array - 1}
#define FAMILY(table) {table, sizeof table / sizeof *table}

// #embed takes one file, so each has an array and a table entry. Packages compile C in the compiler's
// default standard, in which #embed is an extension.
#pragma clang diagnostic ignored "-Wc23-extensions"

extern const struct cuda_family tile_family;
extern const struct cuda_family ladder_family;
extern const struct cuda_family tensors_family;
extern const struct cuda_family attention_family;
extern const struct cuda_family linear_family;
extern const struct cuda_family scan_family;
extern const struct cuda_family layers_family;
extern const struct cuda_family training_family;

#endif

#ifndef FAMILY_H
#define FAMILY_H

#include "CUDAKernels.h"

// A folder of sources: each has a C file of the same name here that embeds its files.
struct cuda_family {
  const struct cuda_source *sources;
  size_t count;
};

// A row of a family's table: the path by which a file is included, and the array that embeds it.
#define SOURCE(path, array) {path, array, sizeof array - 1}
#define FAMILY(table) {table, sizeof table / sizeof *table}

// #embed takes no list of files, so each has its array and its row in a table. Package builds compile
// C as the compiler's default standard, in which #embed is an extension.
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

#ifndef CUDA_KERNELS_H
#define CUDA_KERNELS_H

// The sources of the GPU kernels, carried inside the program. They are compiled on the machine that
// runs them, for its GPU.

#include <stddef.h>

// What kernels share with Swift. Listed, because a built module does not notice a new file in its folder.
#include "attention/backward_variants.h"
#include "attention/decay.h"
#include "attention/forward.h"
#include "attention/layout.h"
#include "attention/planes.h"
#include "attention/key_words.h"
#include "attention/row_kernels.h"
#include "decoding/step.h"
#include "ladder/product.h"
#include "layers/kernels.h"
#include "linear/chunks.h"
#include "linear/hopper.h"
#include "scan/convolution.h"
#include "scan/gated.h"
#include "scan/selective_kernels.h"
#include "tensors/kernels.h"
#include "training/kernels.h"

// One file: the name by which others include it, and its text.
struct cuda_source {
  const char *name;
  const char *text;
};

size_t cuda_source_count(void);
// The file at `index`, which is below the count.
struct cuda_source cuda_source_at(size_t index);

#endif

#include "family.h"

static const char strided_cuh[] = {
#embed "tensors/strided.cuh" suffix(, 0)
};
static const char copy_cu[] = {
#embed "tensors/copy.cu" suffix(, 0)
};

static const struct cuda_source sources[] = {
    SOURCE("tensors/strided.cuh", strided_cuh),
    SOURCE("tensors/copy.cu", copy_cu),
};

const struct cuda_family tensors_family = FAMILY(sources);

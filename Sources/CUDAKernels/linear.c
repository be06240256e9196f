#include "family.h"

static const char tokens_cuh[] = {
#embed "linear/tokens.cuh" suffix(, 0)
};
static const char product_cuh[] = {
#embed "linear/product.cuh" suffix(, 0)
};
static const char chunk_cuh[] = {
#embed "linear/chunk.cuh" suffix(, 0)
};
static const char pairs_cuh[] = {
#embed "linear/pairs.cuh" suffix(, 0)
};
static const char forward_cu[] = {
#embed "linear/forward.cu" suffix(, 0)
};
static const char backward_cu[] = {
#embed "linear/backward.cu" suffix(, 0)
};
static const char step_cu[] = {
#embed "linear/step.cu" suffix(, 0)
};
static const char sum_slots_cu[] = {
#embed "linear/sum_slots.cu" suffix(, 0)
};

static const struct cuda_source sources[] = {
    SOURCE("linear/tokens.cuh", tokens_cuh),
    SOURCE("linear/product.cuh", product_cuh),
    SOURCE("linear/chunk.cuh", chunk_cuh),
    SOURCE("linear/pairs.cuh", pairs_cuh),
    SOURCE("linear/forward.cu", forward_cu),
    SOURCE("linear/backward.cu", backward_cu),
    SOURCE("linear/step.cu", step_cu),
    SOURCE("linear/sum_slots.cu", sum_slots_cu),
};

const struct cuda_family linear_family = FAMILY(sources);

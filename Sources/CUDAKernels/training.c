#include "family.h"

static const char kernels_h[] = {
#embed "include/training/kernels.h" suffix(, 0)
};
static const char pieces_cuh[] = {
#embed "training/pieces.cuh" suffix(, 0)
};
static const char adamw_cu[] = {
#embed "training/adamw.cu" suffix(, 0)
};
static const char clip_cu[] = {
#embed "training/clip.cu" suffix(, 0)
};
static const char squares_cu[] = {
#embed "training/squares.cu" suffix(, 0)
};

static const struct cuda_source sources[] = {
    SOURCE("training/kernels.h", kernels_h),
    SOURCE("training/pieces.cuh", pieces_cuh),
    SOURCE("training/adamw.cu", adamw_cu),
    SOURCE("training/clip.cu", clip_cu),
    SOURCE("training/squares.cu", squares_cu),
};

const struct cuda_family training_family = FAMILY(sources);

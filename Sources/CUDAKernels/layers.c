#include "family.h"

static const char kernels_h[] = {
#embed "include/layers/kernels.h" suffix(, 0)
};
static const char cross_entropy_cu[] = {
#embed "layers/cross_entropy.cu" suffix(, 0)
};
static const char gates_cu[] = {
#embed "layers/gates.cu" suffix(, 0)
};
static const char rms_norm_cu[] = {
#embed "layers/rms_norm.cu" suffix(, 0)
};
static const char rms_norm_backward_cu[] = {
#embed "layers/rms_norm_backward.cu" suffix(, 0)
};
static const char rotary_cu[] = {
#embed "layers/rotary.cu" suffix(, 0)
};
static const char softmax_cu[] = {
#embed "layers/softmax.cu" suffix(, 0)
};
static const char softmax_backward_cu[] = {
#embed "layers/softmax_backward.cu" suffix(, 0)
};

static const struct cuda_source sources[] = {
    SOURCE("layers/kernels.h", kernels_h),
    SOURCE("layers/cross_entropy.cu", cross_entropy_cu),
    SOURCE("layers/gates.cu", gates_cu),
    SOURCE("layers/rms_norm.cu", rms_norm_cu),
    SOURCE("layers/rms_norm_backward.cu", rms_norm_backward_cu),
    SOURCE("layers/rotary.cu", rotary_cu),
    SOURCE("layers/softmax.cu", softmax_cu),
    SOURCE("layers/softmax_backward.cu", softmax_backward_cu),
};

const struct cuda_family layers_family = FAMILY(sources);

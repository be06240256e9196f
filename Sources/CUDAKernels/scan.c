#include "family.h"

static const char convolution_h[] = {
#embed "include/scan/convolution.h" suffix(, 0)
};
static const char gated_h[] = {
#embed "include/scan/gated.h" suffix(, 0)
};
static const char selective_h[] = {
#embed "include/scan/selective.h" suffix(, 0)
};
static const char selective_kernels_h[] = {
#embed "include/scan/selective_kernels.h" suffix(, 0)
};
static const char gated_cuh[] = {
#embed "scan/gated.cuh" suffix(, 0)
};
static const char selective_cuh[] = {
#embed "scan/selective.cuh" suffix(, 0)
};
static const char convolution_cuh[] = {
#embed "scan/convolution.cuh" suffix(, 0)
};
static const char gated_cu[] = {
#embed "scan/gated.cu" suffix(, 0)
};
static const char gated_backward_cu[] = {
#embed "scan/gated_backward.cu" suffix(, 0)
};
static const char selective_cu[] = {
#embed "scan/selective.cu" suffix(, 0)
};
static const char selective_backward_cu[] = {
#embed "scan/selective_backward.cu" suffix(, 0)
};
static const char convolution_cu[] = {
#embed "scan/convolution.cu" suffix(, 0)
};
static const char convolution_backward_cu[] = {
#embed "scan/convolution_backward.cu" suffix(, 0)
};

static const struct cuda_source sources[] = {
    SOURCE("scan/convolution.h", convolution_h),
    SOURCE("scan/gated.h", gated_h),
    SOURCE("scan/selective.h", selective_h),
    SOURCE("scan/selective_kernels.h", selective_kernels_h),
    SOURCE("scan/gated.cuh", gated_cuh),
    SOURCE("scan/selective.cuh", selective_cuh),
    SOURCE("scan/convolution.cuh", convolution_cuh),
    SOURCE("scan/gated.cu", gated_cu),
    SOURCE("scan/gated_backward.cu", gated_backward_cu),
    SOURCE("scan/selective.cu", selective_cu),
    SOURCE("scan/selective_backward.cu", selective_backward_cu),
    SOURCE("scan/convolution.cu", convolution_cu),
    SOURCE("scan/convolution_backward.cu", convolution_backward_cu),
};

const struct cuda_family scan_family = FAMILY(sources);

#include "family.h"

static const char kernels_h[] = {
#embed "include/tensors/kernels.h" suffix(, 0)
};
static const char layout_h[] = {
#embed "include/tensors/layout.h" suffix(, 0)
};
static const char strided_cuh[] = {
#embed "tensors/strided.cuh" suffix(, 0)
};
static const char elements_cuh[] = {
#embed "tensors/elements.cuh" suffix(, 0)
};
static const char binary_cu[] = {
#embed "tensors/binary.cu" suffix(, 0)
};
static const char cast_cu[] = {
#embed "tensors/cast.cu" suffix(, 0)
};
static const char compare_cu[] = {
#embed "tensors/compare.cu" suffix(, 0)
};
static const char copy_cu[] = {
#embed "tensors/copy.cu" suffix(, 0)
};
static const char gather_cu[] = {
#embed "tensors/gather.cu" suffix(, 0)
};
static const char philox_cu[] = {
#embed "tensors/philox.cu" suffix(, 0)
};
static const char real_cuh[] = {
#embed "tensors/real.cuh" suffix(, 0)
};
static const char reduce_cu[] = {
#embed "tensors/reduce.cu" suffix(, 0)
};
static const char scatter_cu[] = {
#embed "tensors/scatter.cu" suffix(, 0)
};
static const char select_cu[] = {
#embed "tensors/select.cu" suffix(, 0)
};
static const char sort_cu[] = {
#embed "tensors/sort.cu" suffix(, 0)
};
static const char unary_cu[] = {
#embed "tensors/unary.cu" suffix(, 0)
};

static const struct cuda_source sources[] = {
    SOURCE("tensors/kernels.h", kernels_h),
    SOURCE("tensors/layout.h", layout_h),
    SOURCE("tensors/strided.cuh", strided_cuh),
    SOURCE("tensors/elements.cuh", elements_cuh),
    SOURCE("tensors/binary.cu", binary_cu),
    SOURCE("tensors/cast.cu", cast_cu),
    SOURCE("tensors/compare.cu", compare_cu),
    SOURCE("tensors/copy.cu", copy_cu),
    SOURCE("tensors/gather.cu", gather_cu),
    SOURCE("tensors/philox.cu", philox_cu),
    SOURCE("tensors/real.cuh", real_cuh),
    SOURCE("tensors/reduce.cu", reduce_cu),
    SOURCE("tensors/scatter.cu", scatter_cu),
    SOURCE("tensors/select.cu", select_cu),
    SOURCE("tensors/sort.cu", sort_cu),
    SOURCE("tensors/unary.cu", unary_cu),
};

const struct cuda_family tensors_family = FAMILY(sources);

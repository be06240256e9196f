#include "family.h"

static const char product_h[] = {
#embed "include/ladder/product.h" suffix(, 0)
};
static const char source_product_cuh[] = {
#embed "ladder/product.cuh" suffix(, 0)
};
static const char source_fragments_cuh[] = {
#embed "ladder/fragments.cuh" suffix(, 0)
};
static const char source_1_naive_cu[] = {
#embed "ladder/1_naive.cu" suffix(, 0)
};
static const char source_2_shared_cu[] = {
#embed "ladder/2_shared.cu" suffix(, 0)
};
static const char source_3_fragments_cu[] = {
#embed "ladder/3_fragments.cu" suffix(, 0)
};
static const char source_4_pipeline_cu[] = {
#embed "ladder/4_pipeline.cu" suffix(, 0)
};
static const char source_5_warpgroup_cu[] = {
#embed "ladder/5_warpgroup.cu" suffix(, 0)
};
static const char source_6_tma_cu[] = {
#embed "ladder/6_tma.cu" suffix(, 0)
};

static const struct cuda_source sources[] = {
    SOURCE("ladder/product.h", product_h),
    SOURCE("ladder/product.cuh", source_product_cuh),
    SOURCE("ladder/fragments.cuh", source_fragments_cuh),
    SOURCE("ladder/1_naive.cu", source_1_naive_cu),
    SOURCE("ladder/2_shared.cu", source_2_shared_cu),
    SOURCE("ladder/3_fragments.cu", source_3_fragments_cu),
    SOURCE("ladder/4_pipeline.cu", source_4_pipeline_cu),
    SOURCE("ladder/5_warpgroup.cu", source_5_warpgroup_cu),
    SOURCE("ladder/6_tma.cu", source_6_tma_cu),
};

const struct cuda_family ladder_family = FAMILY(sources);

#include "family.h"

static const char backward_h[] = {
#embed "include/attention/backward.h" suffix(, 0)
};
static const char backward_variants_h[] = {
#embed "include/attention/backward_variants.h" suffix(, 0)
};
static const char decay_h[] = {
#embed "include/attention/decay.h" suffix(, 0)
};
static const char forward_h[] = {
#embed "include/attention/forward.h" suffix(, 0)
};
static const char layout_h[] = {
#embed "include/attention/layout.h" suffix(, 0)
};
static const char maps_h[] = {
#embed "include/attention/maps.h" suffix(, 0)
};
static const char mask_h[] = {
#embed "include/attention/mask.h" suffix(, 0)
};
static const char operands_h[] = {
#embed "include/attention/operands.h" suffix(, 0)
};
static const char partial_sum_h[] = {
#embed "include/attention/partial_sum.h" suffix(, 0)
};
static const char planes_h[] = {
#embed "include/attention/planes.h" suffix(, 0)
};
static const char row_kernels_h[] = {
#embed "include/attention/row_kernels.h" suffix(, 0)
};
static const char rows_h[] = {
#embed "include/attention/rows.h" suffix(, 0)
};
static const char terms_h[] = {
#embed "include/attention/terms.h" suffix(, 0)
};
static const char rows_cuh[] = {
#embed "attention/rows.cuh" suffix(, 0)
};
static const char mask_cuh[] = {
#embed "attention/mask.cuh" suffix(, 0)
};
static const char terms_cuh[] = {
#embed "attention/terms.cuh" suffix(, 0)
};
static const char operands_cuh[] = {
#embed "attention/operands.cuh" suffix(, 0)
};
static const char sink_h[] = {
#embed "include/attention/sink.h" suffix(, 0)
};
static const char sink_cuh[] = {
#embed "attention/sink.cuh" suffix(, 0)
};
static const char softmax_cuh[] = {
#embed "attention/softmax.cuh" suffix(, 0)
};
static const char large_sums_cuh[] = {
#embed "attention/large_sums.cuh" suffix(, 0)
};
static const char again_cuh[] = {
#embed "attention/again.cuh" suffix(, 0)
};
static const char backward_again_cuh[] = {
#embed "attention/backward_again.cuh" suffix(, 0)
};
static const char backward_cuh[] = {
#embed "attention/backward.cuh" suffix(, 0)
};
static const char forward_cuh[] = {
#embed "attention/forward.cuh" suffix(, 0)
};
static const char hopper_cuh[] = {
#embed "attention/hopper.cuh" suffix(, 0)
};
static const char planes_cu[] = {
#embed "attention/planes.cu" suffix(, 0)
};
static const char hopper_forward_cu[] = {
#embed "attention/hopper_forward.cu" suffix(, 0)
};
static const char forward_cu[] = {
#embed "attention/forward.cu" suffix(, 0)
};
static const char merge_cu[] = {
#embed "attention/merge.cu" suffix(, 0)
};
static const char lengths_cu[] = {
#embed "attention/lengths.cu" suffix(, 0)
};
static const char unit_gradient_cu[] = {
#embed "attention/unit_gradient.cu" suffix(, 0)
};
static const char decay_cu[] = {
#embed "attention/decay.cu" suffix(, 0)
};
static const char rows_cu[] = {
#embed "attention/rows.cu" suffix(, 0)
};
static const char backward_queries_cu[] = {
#embed "attention/backward_queries.cu" suffix(, 0)
};
static const char backward_keys_cu[] = {
#embed "attention/backward_keys.cu" suffix(, 0)
};
static const char bias_gradient_cu[] = {
#embed "attention/bias_gradient.cu" suffix(, 0)
};
static const char hopper_backward_queries_cu[] = {
#embed "attention/hopper_backward_queries.cu" suffix(, 0)
};
static const char hopper_backward_keys_cu[] = {
#embed "attention/hopper_backward_keys.cu" suffix(, 0)
};

static const struct cuda_source sources[] = {
    SOURCE("attention/backward.h", backward_h),
    SOURCE("attention/backward_variants.h", backward_variants_h),
    SOURCE("attention/decay.h", decay_h),
    SOURCE("attention/forward.h", forward_h),
    SOURCE("attention/layout.h", layout_h),
    SOURCE("attention/maps.h", maps_h),
    SOURCE("attention/mask.h", mask_h),
    SOURCE("attention/operands.h", operands_h),
    SOURCE("attention/partial_sum.h", partial_sum_h),
    SOURCE("attention/planes.h", planes_h),
    SOURCE("attention/row_kernels.h", row_kernels_h),
    SOURCE("attention/rows.h", rows_h),
    SOURCE("attention/terms.h", terms_h),
    SOURCE("attention/rows.cuh", rows_cuh),
    SOURCE("attention/mask.cuh", mask_cuh),
    SOURCE("attention/terms.cuh", terms_cuh),
    SOURCE("attention/operands.cuh", operands_cuh),
    SOURCE("attention/sink.h", sink_h),
    SOURCE("attention/sink.cuh", sink_cuh),
    SOURCE("attention/softmax.cuh", softmax_cuh),
    SOURCE("attention/large_sums.cuh", large_sums_cuh),
    SOURCE("attention/backward.cuh", backward_cuh),
    SOURCE("attention/again.cuh", again_cuh),
    SOURCE("attention/backward_again.cuh", backward_again_cuh),
    SOURCE("attention/forward.cuh", forward_cuh),
    SOURCE("attention/forward.cu", forward_cu),
    SOURCE("attention/hopper.cuh", hopper_cuh),
    SOURCE("attention/hopper_forward.cu", hopper_forward_cu),
    SOURCE("attention/planes.cu", planes_cu),
    SOURCE("attention/merge.cu", merge_cu),
    SOURCE("attention/lengths.cu", lengths_cu),
    SOURCE("attention/unit_gradient.cu", unit_gradient_cu),
    SOURCE("attention/decay.cu", decay_cu),
    SOURCE("attention/rows.cu", rows_cu),
    SOURCE("attention/backward_queries.cu", backward_queries_cu),
    SOURCE("attention/backward_keys.cu", backward_keys_cu),
    SOURCE("attention/bias_gradient.cu", bias_gradient_cu),
    SOURCE("attention/hopper_backward_queries.cu", hopper_backward_queries_cu),
    SOURCE("attention/hopper_backward_keys.cu", hopper_backward_keys_cu),
};

const struct cuda_family attention_family = FAMILY(sources);

#include "family.h"

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
static const char hopper_single_cuh[] = {
#embed "attention/hopper_single.cuh" suffix(, 0)
};
static const char planes_cu[] = {
#embed "attention/planes.cu" suffix(, 0)
};
static const char hopper_single_forward_cu[] = {
#embed "attention/hopper_single_forward.cu" suffix(, 0)
};
static const char hopper_single_backward_queries_cu[] = {
#embed "attention/hopper_single_backward_queries.cu" suffix(, 0)
};
static const char hopper_single_backward_keys_cu[] = {
#embed "attention/hopper_single_backward_keys.cu" suffix(, 0)
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
    SOURCE("attention/rows.cuh", rows_cuh),
    SOURCE("attention/mask.cuh", mask_cuh),
    SOURCE("attention/terms.cuh", terms_cuh),
    SOURCE("attention/operands.cuh", operands_cuh),
    SOURCE("attention/softmax.cuh", softmax_cuh),
    SOURCE("attention/large_sums.cuh", large_sums_cuh),
    SOURCE("attention/backward.cuh", backward_cuh),
    SOURCE("attention/again.cuh", again_cuh),
    SOURCE("attention/backward_again.cuh", backward_again_cuh),
    SOURCE("attention/forward.cuh", forward_cuh),
    SOURCE("attention/forward.cu", forward_cu),
    SOURCE("attention/hopper.cuh", hopper_cuh),
    SOURCE("attention/hopper_single.cuh", hopper_single_cuh),
    SOURCE("attention/hopper_forward.cu", hopper_forward_cu),
    SOURCE("attention/planes.cu", planes_cu),
    SOURCE("attention/hopper_single_forward.cu", hopper_single_forward_cu),
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
    SOURCE("attention/hopper_single_backward_queries.cu", hopper_single_backward_queries_cu),
    SOURCE("attention/hopper_single_backward_keys.cu", hopper_single_backward_keys_cu),
};

const struct cuda_family attention_family = FAMILY(sources);

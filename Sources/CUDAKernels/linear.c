#include "family.h"

static const char chunks_h[] = {
#embed "include/linear/chunks.h" suffix(, 0)
};
static const char hopper_h[] = {
#embed "include/linear/hopper.h" suffix(, 0)
};
static const char operands_h[] = {
#embed "include/linear/operands.h" suffix(, 0)
};
static const char tokens_h[] = {
#embed "include/linear/tokens.h" suffix(, 0)
};
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
static const char operands_cuh[] = {
#embed "linear/operands.cuh" suffix(, 0)
};
static const char piece_cuh[] = {
#embed "linear/piece.cuh" suffix(, 0)
};
static const char hopper_cuh[] = {
#embed "linear/hopper.cuh" suffix(, 0)
};
static const char inverse_cuh[] = {
#embed "linear/inverse.cuh" suffix(, 0)
};
static const char gates_cuh[] = {
#embed "linear/gates.cuh" suffix(, 0)
};
static const char scores_cuh[] = {
#embed "linear/scores.cuh" suffix(, 0)
};
static const char flows_cuh[] = {
#embed "linear/flows.cuh" suffix(, 0)
};
static const char channels_cuh[] = {
#embed "linear/channels.cuh" suffix(, 0)
};
static const char channel_gates_cu[] = {
#embed "linear/channel_gates.cu" suffix(, 0)
};
static const char channel_gradients_cu[] = {
#embed "linear/channel_gradients.cu" suffix(, 0)
};
static const char hopper_block_cuh[] = {
#embed "linear/hopper_block.cuh" suffix(, 0)
};
static const char hopper_groups_cuh[] = {
#embed "linear/hopper_groups.cuh" suffix(, 0)
};
static const char hopper_inverse_cu[] = {
#embed "linear/hopper_inverse.cu" suffix(, 0)
};
static const char hopper_value_gradients_cu[] = {
#embed "linear/hopper_value_gradients.cu" suffix(, 0)
};
static const char hopper_forward_cu[] = {
#embed "linear/hopper_forward.cu" suffix(, 0)
};
static const char join_pieces_cu[] = {
#embed "linear/join_pieces.cu" suffix(, 0)
};
static const char flow_sums_cu[] = {
#embed "linear/flow_sums.cu" suffix(, 0)
};
static const char step_cu[] = {
#embed "linear/step.cu" suffix(, 0)
};
static const char unit_rows_cu[] = {
#embed "linear/unit_rows.cu" suffix(, 0)
};
static const char sum_slots_cu[] = {
#embed "linear/sum_slots.cu" suffix(, 0)
};

static const struct cuda_source sources[] = {
    SOURCE("linear/chunks.h", chunks_h),
    SOURCE("linear/hopper.h", hopper_h),
    SOURCE("linear/operands.h", operands_h),
    SOURCE("linear/tokens.h", tokens_h),
    SOURCE("linear/tokens.cuh", tokens_cuh),
    SOURCE("linear/product.cuh", product_cuh),
    SOURCE("linear/chunk.cuh", chunk_cuh),
    SOURCE("linear/pairs.cuh", pairs_cuh),
    SOURCE("linear/forward.cu", forward_cu),
    SOURCE("linear/backward.cu", backward_cu),
    SOURCE("linear/operands.cuh", operands_cuh),
    SOURCE("linear/piece.cuh", piece_cuh),
    SOURCE("linear/hopper.cuh", hopper_cuh),
    SOURCE("linear/inverse.cuh", inverse_cuh),
    SOURCE("linear/gates.cuh", gates_cuh),
    SOURCE("linear/scores.cuh", scores_cuh),
    SOURCE("linear/flows.cuh", flows_cuh),
    SOURCE("linear/channels.cuh", channels_cuh),
    SOURCE("linear/channel_gates.cu", channel_gates_cu),
    SOURCE("linear/channel_gradients.cu", channel_gradients_cu),
    SOURCE("linear/hopper_block.cuh", hopper_block_cuh),
    SOURCE("linear/hopper_groups.cuh", hopper_groups_cuh),
    SOURCE("linear/hopper_inverse.cu", hopper_inverse_cu),
    SOURCE("linear/hopper_value_gradients.cu", hopper_value_gradients_cu),
    SOURCE("linear/hopper_forward.cu", hopper_forward_cu),
    SOURCE("linear/join_pieces.cu", join_pieces_cu),
    SOURCE("linear/flow_sums.cu", flow_sums_cu),
    SOURCE("linear/step.cu", step_cu),
    SOURCE("linear/unit_rows.cu", unit_rows_cu),
    SOURCE("linear/sum_slots.cu", sum_slots_cu),
};

const struct cuda_family linear_family = FAMILY(sources);

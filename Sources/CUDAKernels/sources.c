#include "CUDAKernels.h"

// Package builds compile C as the compiler's default standard, in which #embed is an extension.
#pragma clang diagnostic ignored "-Wc23-extensions"

// #embed takes one file. A path of a row is that by which others include the file.
static const struct cuda_source sources[] = {
    {"tile/constants.h", (const char[]){
#embed "include/tile/constants.h" suffix(, 0)
    }},
    {"tile/parameters.h", (const char[]){
#embed "include/tile/parameters.h" suffix(, 0)
    }},
    {"tile/shared_memory.h", (const char[]){
#embed "include/tile/shared_memory.h" suffix(, 0)
    }},
    {"tile/tensor_map.h", (const char[]){
#embed "include/tile/tensor_map.h" suffix(, 0)
    }},
    {"tile/base.cuh", (const char[]){
#embed "tile/base.cuh" suffix(, 0)
    }},
    {"tile/instructions.cuh", (const char[]){
#embed "tile/instructions.cuh" suffix(, 0)
    }},
    {"tile/types.cuh", (const char[]){
#embed "tile/types.cuh" suffix(, 0)
    }},
    {"tile/numbers.cuh", (const char[]){
#embed "tile/numbers.cuh" suffix(, 0)
    }},
    {"tile/team.cuh", (const char[]){
#embed "tile/team.cuh" suffix(, 0)
    }},
    {"tile/memory.cuh", (const char[]){
#embed "tile/memory.cuh" suffix(, 0)
    }},
    {"tile/matrix.cuh", (const char[]){
#embed "tile/matrix.cuh" suffix(, 0)
    }},
    {"tile/wgmma.cuh", (const char[]){
#embed "tile/wgmma.cuh" suffix(, 0)
    }},
    {"tile/warpgroup.cuh", (const char[]){
#embed "tile/warpgroup.cuh" suffix(, 0)
    }},
    {"tile/planes.cuh", (const char[]){
#embed "tile/planes.cuh" suffix(, 0)
    }},
    {"tile/tma.cuh", (const char[]){
#embed "tile/tma.cuh" suffix(, 0)
    }},
    {"tile/ring.cuh", (const char[]){
#embed "tile/ring.cuh" suffix(, 0)
    }},
    {"tile/fragment.cuh", (const char[]){
#embed "tile/fragment.cuh" suffix(, 0)
    }},
    {"tile/blocks.cuh", (const char[]){
#embed "tile/blocks.cuh" suffix(, 0)
    }},
    {"tensors/kernels.h", (const char[]){
#embed "include/tensors/kernels.h" suffix(, 0)
    }},
    {"tensors/layout.h", (const char[]){
#embed "include/tensors/layout.h" suffix(, 0)
    }},
    {"tensors/strided.cuh", (const char[]){
#embed "tensors/strided.cuh" suffix(, 0)
    }},
    {"tensors/elements.cuh", (const char[]){
#embed "tensors/elements.cuh" suffix(, 0)
    }},
    {"tensors/binary.cu", (const char[]){
#embed "tensors/binary.cu" suffix(, 0)
    }},
    {"tensors/cast.cu", (const char[]){
#embed "tensors/cast.cu" suffix(, 0)
    }},
    {"tensors/compare.cu", (const char[]){
#embed "tensors/compare.cu" suffix(, 0)
    }},
    {"tensors/copy.cu", (const char[]){
#embed "tensors/copy.cu" suffix(, 0)
    }},
    {"tensors/gather.cu", (const char[]){
#embed "tensors/gather.cu" suffix(, 0)
    }},
    {"tensors/philox.cu", (const char[]){
#embed "tensors/philox.cu" suffix(, 0)
    }},
    {"tensors/real.cuh", (const char[]){
#embed "tensors/real.cuh" suffix(, 0)
    }},
    {"tensors/reduce.cu", (const char[]){
#embed "tensors/reduce.cu" suffix(, 0)
    }},
    {"tensors/scatter.cu", (const char[]){
#embed "tensors/scatter.cu" suffix(, 0)
    }},
    {"tensors/select.cu", (const char[]){
#embed "tensors/select.cu" suffix(, 0)
    }},
    {"tensors/sort.cu", (const char[]){
#embed "tensors/sort.cu" suffix(, 0)
    }},
    {"tensors/unary.cu", (const char[]){
#embed "tensors/unary.cu" suffix(, 0)
    }},
    {"attention/backward.h", (const char[]){
#embed "include/attention/backward.h" suffix(, 0)
    }},
    {"attention/backward_variants.h", (const char[]){
#embed "include/attention/backward_variants.h" suffix(, 0)
    }},
    {"attention/decay.h", (const char[]){
#embed "include/attention/decay.h" suffix(, 0)
    }},
    {"attention/forward.h", (const char[]){
#embed "include/attention/forward.h" suffix(, 0)
    }},
    {"attention/key_words.h", (const char[]){
#embed "include/attention/key_words.h" suffix(, 0)
    }},
    {"attention/layout.h", (const char[]){
#embed "include/attention/layout.h" suffix(, 0)
    }},
    {"attention/maps.h", (const char[]){
#embed "include/attention/maps.h" suffix(, 0)
    }},
    {"attention/mask.h", (const char[]){
#embed "include/attention/mask.h" suffix(, 0)
    }},
    {"attention/operands.h", (const char[]){
#embed "include/attention/operands.h" suffix(, 0)
    }},
    {"attention/partial_sum.h", (const char[]){
#embed "include/attention/partial_sum.h" suffix(, 0)
    }},
    {"attention/planes.h", (const char[]){
#embed "include/attention/planes.h" suffix(, 0)
    }},
    {"attention/row_kernels.h", (const char[]){
#embed "include/attention/row_kernels.h" suffix(, 0)
    }},
    {"attention/rows.h", (const char[]){
#embed "include/attention/rows.h" suffix(, 0)
    }},
    {"attention/terms.h", (const char[]){
#embed "include/attention/terms.h" suffix(, 0)
    }},
    {"attention/rows.cuh", (const char[]){
#embed "attention/rows.cuh" suffix(, 0)
    }},
    {"attention/mask.cuh", (const char[]){
#embed "attention/mask.cuh" suffix(, 0)
    }},
    {"attention/terms.cuh", (const char[]){
#embed "attention/terms.cuh" suffix(, 0)
    }},
    {"attention/operands.cuh", (const char[]){
#embed "attention/operands.cuh" suffix(, 0)
    }},
    {"attention/sink.h", (const char[]){
#embed "include/attention/sink.h" suffix(, 0)
    }},
    {"attention/sink.cuh", (const char[]){
#embed "attention/sink.cuh" suffix(, 0)
    }},
    {"attention/softmax.cuh", (const char[]){
#embed "attention/softmax.cuh" suffix(, 0)
    }},
    {"attention/large_sums.cuh", (const char[]){
#embed "attention/large_sums.cuh" suffix(, 0)
    }},
    {"attention/backward.cuh", (const char[]){
#embed "attention/backward.cuh" suffix(, 0)
    }},
    {"attention/again.cuh", (const char[]){
#embed "attention/again.cuh" suffix(, 0)
    }},
    {"attention/backward_again.cuh", (const char[]){
#embed "attention/backward_again.cuh" suffix(, 0)
    }},
    {"attention/forward.cuh", (const char[]){
#embed "attention/forward.cuh" suffix(, 0)
    }},
    {"attention/forward.cu", (const char[]){
#embed "attention/forward.cu" suffix(, 0)
    }},
    {"attention/hopper.cuh", (const char[]){
#embed "attention/hopper.cuh" suffix(, 0)
    }},
    {"attention/hopper_terms.cuh", (const char[]){
#embed "attention/hopper_terms.cuh" suffix(, 0)
    }},
    {"attention/key_words.cu", (const char[]){
#embed "attention/key_words.cu" suffix(, 0)
    }},
    {"attention/hopper_forward.cu", (const char[]){
#embed "attention/hopper_forward.cu" suffix(, 0)
    }},
    {"attention/planes.cu", (const char[]){
#embed "attention/planes.cu" suffix(, 0)
    }},
    {"attention/merge.cu", (const char[]){
#embed "attention/merge.cu" suffix(, 0)
    }},
    {"attention/lengths.cu", (const char[]){
#embed "attention/lengths.cu" suffix(, 0)
    }},
    {"attention/unit_gradient.cu", (const char[]){
#embed "attention/unit_gradient.cu" suffix(, 0)
    }},
    {"attention/decay.cu", (const char[]){
#embed "attention/decay.cu" suffix(, 0)
    }},
    {"attention/rows.cu", (const char[]){
#embed "attention/rows.cu" suffix(, 0)
    }},
    {"attention/backward_queries.cu", (const char[]){
#embed "attention/backward_queries.cu" suffix(, 0)
    }},
    {"attention/backward_keys.cu", (const char[]){
#embed "attention/backward_keys.cu" suffix(, 0)
    }},
    {"attention/bias_gradient.cu", (const char[]){
#embed "attention/bias_gradient.cu" suffix(, 0)
    }},
    {"attention/hopper_backward_queries.cu", (const char[]){
#embed "attention/hopper_backward_queries.cu" suffix(, 0)
    }},
    {"attention/hopper_backward_keys.cu", (const char[]){
#embed "attention/hopper_backward_keys.cu" suffix(, 0)
    }},
    {"linear/chunks.h", (const char[]){
#embed "include/linear/chunks.h" suffix(, 0)
    }},
    {"linear/hopper.h", (const char[]){
#embed "include/linear/hopper.h" suffix(, 0)
    }},
    {"linear/operands.h", (const char[]){
#embed "include/linear/operands.h" suffix(, 0)
    }},
    {"linear/tokens.h", (const char[]){
#embed "include/linear/tokens.h" suffix(, 0)
    }},
    {"linear/tokens.cuh", (const char[]){
#embed "linear/tokens.cuh" suffix(, 0)
    }},
    {"linear/product.cuh", (const char[]){
#embed "linear/product.cuh" suffix(, 0)
    }},
    {"linear/chunk.cuh", (const char[]){
#embed "linear/chunk.cuh" suffix(, 0)
    }},
    {"linear/pairs.cuh", (const char[]){
#embed "linear/pairs.cuh" suffix(, 0)
    }},
    {"linear/forward.cu", (const char[]){
#embed "linear/forward.cu" suffix(, 0)
    }},
    {"linear/backward.cu", (const char[]){
#embed "linear/backward.cu" suffix(, 0)
    }},
    {"linear/operands.cuh", (const char[]){
#embed "linear/operands.cuh" suffix(, 0)
    }},
    {"linear/piece.cuh", (const char[]){
#embed "linear/piece.cuh" suffix(, 0)
    }},
    {"linear/hopper.cuh", (const char[]){
#embed "linear/hopper.cuh" suffix(, 0)
    }},
    {"linear/inverse.cuh", (const char[]){
#embed "linear/inverse.cuh" suffix(, 0)
    }},
    {"linear/gates.cuh", (const char[]){
#embed "linear/gates.cuh" suffix(, 0)
    }},
    {"linear/scores.cuh", (const char[]){
#embed "linear/scores.cuh" suffix(, 0)
    }},
    {"linear/flows.cuh", (const char[]){
#embed "linear/flows.cuh" suffix(, 0)
    }},
    {"linear/channels.cuh", (const char[]){
#embed "linear/channels.cuh" suffix(, 0)
    }},
    {"linear/channel_flows.cuh", (const char[]){
#embed "linear/channel_flows.cuh" suffix(, 0)
    }},
    {"linear/low_rank.cuh", (const char[]){
#embed "linear/low_rank.cuh" suffix(, 0)
    }},
    {"linear/low_rank_gates.cu", (const char[]){
#embed "linear/low_rank_gates.cu" suffix(, 0)
    }},
    {"linear/low_rank_gradients.cu", (const char[]){
#embed "linear/low_rank_gradients.cu" suffix(, 0)
    }},
    {"linear/channel_gates.cu", (const char[]){
#embed "linear/channel_gates.cu" suffix(, 0)
    }},
    {"linear/channel_gradients.cu", (const char[]){
#embed "linear/channel_gradients.cu" suffix(, 0)
    }},
    {"linear/hopper_block.cuh", (const char[]){
#embed "linear/hopper_block.cuh" suffix(, 0)
    }},
    {"linear/hopper_groups.cuh", (const char[]){
#embed "linear/hopper_groups.cuh" suffix(, 0)
    }},
    {"linear/hopper_inverse.cu", (const char[]){
#embed "linear/hopper_inverse.cu" suffix(, 0)
    }},
    {"linear/hopper_value_gradients.cu", (const char[]){
#embed "linear/hopper_value_gradients.cu" suffix(, 0)
    }},
    {"linear/hopper_forward.cu", (const char[]){
#embed "linear/hopper_forward.cu" suffix(, 0)
    }},
    {"linear/join_pieces.cu", (const char[]){
#embed "linear/join_pieces.cu" suffix(, 0)
    }},
    {"linear/flow_sums.cu", (const char[]){
#embed "linear/flow_sums.cu" suffix(, 0)
    }},
    {"linear/step.cu", (const char[]){
#embed "linear/step.cu" suffix(, 0)
    }},
    {"linear/unit_rows.cu", (const char[]){
#embed "linear/unit_rows.cu" suffix(, 0)
    }},
    {"linear/sum_slots.cu", (const char[]){
#embed "linear/sum_slots.cu" suffix(, 0)
    }},
    {"scan/convolution.h", (const char[]){
#embed "include/scan/convolution.h" suffix(, 0)
    }},
    {"scan/gated.h", (const char[]){
#embed "include/scan/gated.h" suffix(, 0)
    }},
    {"scan/selective.h", (const char[]){
#embed "include/scan/selective.h" suffix(, 0)
    }},
    {"scan/selective_kernels.h", (const char[]){
#embed "include/scan/selective_kernels.h" suffix(, 0)
    }},
    {"scan/gated.cuh", (const char[]){
#embed "scan/gated.cuh" suffix(, 0)
    }},
    {"scan/selective.cuh", (const char[]){
#embed "scan/selective.cuh" suffix(, 0)
    }},
    {"scan/convolution.cuh", (const char[]){
#embed "scan/convolution.cuh" suffix(, 0)
    }},
    {"scan/gated.cu", (const char[]){
#embed "scan/gated.cu" suffix(, 0)
    }},
    {"scan/gated_backward.cu", (const char[]){
#embed "scan/gated_backward.cu" suffix(, 0)
    }},
    {"scan/selective.cu", (const char[]){
#embed "scan/selective.cu" suffix(, 0)
    }},
    {"scan/selective_backward.cu", (const char[]){
#embed "scan/selective_backward.cu" suffix(, 0)
    }},
    {"scan/convolution.cu", (const char[]){
#embed "scan/convolution.cu" suffix(, 0)
    }},
    {"scan/convolution_backward.cu", (const char[]){
#embed "scan/convolution_backward.cu" suffix(, 0)
    }},
    {"layers/kernels.h", (const char[]){
#embed "include/layers/kernels.h" suffix(, 0)
    }},
    {"layers/cross_entropy.cu", (const char[]){
#embed "layers/cross_entropy.cu" suffix(, 0)
    }},
    {"layers/gates.cu", (const char[]){
#embed "layers/gates.cu" suffix(, 0)
    }},
    {"layers/rms_norm.cu", (const char[]){
#embed "layers/rms_norm.cu" suffix(, 0)
    }},
    {"layers/rms_norm_backward.cu", (const char[]){
#embed "layers/rms_norm_backward.cu" suffix(, 0)
    }},
    {"layers/rotary.cu", (const char[]){
#embed "layers/rotary.cu" suffix(, 0)
    }},
    {"layers/softmax.cu", (const char[]){
#embed "layers/softmax.cu" suffix(, 0)
    }},
    {"layers/softmax_backward.cu", (const char[]){
#embed "layers/softmax_backward.cu" suffix(, 0)
    }},
    {"training/kernels.h", (const char[]){
#embed "include/training/kernels.h" suffix(, 0)
    }},
    {"training/pieces.cuh", (const char[]){
#embed "training/pieces.cuh" suffix(, 0)
    }},
    {"training/adamw.cu", (const char[]){
#embed "training/adamw.cu" suffix(, 0)
    }},
    {"training/clip.cu", (const char[]){
#embed "training/clip.cu" suffix(, 0)
    }},
    {"training/squares.cu", (const char[]){
#embed "training/squares.cu" suffix(, 0)
    }},
    {"decoding/step.h", (const char[]){
#embed "include/decoding/step.h" suffix(, 0)
    }},
    {"decoding/tagged.cuh", (const char[]){
#embed "decoding/tagged.cuh" suffix(, 0)
    }},
    {"decoding/weights.cuh", (const char[]){
#embed "decoding/weights.cuh" suffix(, 0)
    }},
    {"decoding/product.cuh", (const char[]){
#embed "decoding/product.cuh" suffix(, 0)
    }},
    {"decoding/recur.cuh", (const char[]){
#embed "decoding/recur.cuh" suffix(, 0)
    }},
    {"decoding/attend.cuh", (const char[]){
#embed "decoding/attend.cuh" suffix(, 0)
    }},
    {"decoding/step.cu", (const char[]){
#embed "decoding/step.cu" suffix(, 0)
    }},
#ifdef DEBUG
    // The ladder teaches: the tests run it, programs do not carry it.
    {"ladder/product.h", (const char[]){
#embed "include/ladder/product.h" suffix(, 0)
    }},
    {"ladder/product.cuh", (const char[]){
#embed "ladder/product.cuh" suffix(, 0)
    }},
    {"ladder/fragments.cuh", (const char[]){
#embed "ladder/fragments.cuh" suffix(, 0)
    }},
    {"ladder/1_naive.cu", (const char[]){
#embed "ladder/1_naive.cu" suffix(, 0)
    }},
    {"ladder/2_shared.cu", (const char[]){
#embed "ladder/2_shared.cu" suffix(, 0)
    }},
    {"ladder/3_fragments.cu", (const char[]){
#embed "ladder/3_fragments.cu" suffix(, 0)
    }},
    {"ladder/4_pipeline.cu", (const char[]){
#embed "ladder/4_pipeline.cu" suffix(, 0)
    }},
    {"ladder/5_warpgroup.cu", (const char[]){
#embed "ladder/5_warpgroup.cu" suffix(, 0)
    }},
    {"ladder/6_tma.cu", (const char[]){
#embed "ladder/6_tma.cu" suffix(, 0)
    }},
#endif
};

size_t cuda_source_count(void) { return sizeof sources / sizeof *sources; }

struct cuda_source cuda_source_at(size_t index) { return sources[index]; }

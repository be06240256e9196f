// The table of all entries; TABLE is its name.
const cpu_kernels TABLE = {
    .vector_floats = LANES, .tile_columns = TILE_COLUMNS,
    .operations_per_round = 2 * PEAK_CHAINS * LANES,
#if HAS_BFLOAT16_DOT
    .bf16 = {.pack_pairs_of_columns = pack_pairs_of_columns,
             .pack_pairs_of_rows = pack_pairs_of_rows, .product = product_bf16,
             .softmax_online = softmax_online_bf16, .softmax_shifted = softmax_shifted_bf16,
             .softmax_gradient = softmax_gradient_bf16, .narrow_scaled = narrow_scaled,
             .dot_pairs = dot_pairs, .product_pairs = product_pairs, .pair_rows = pair_rows,
             .round_rows = round_rows, .pack_rounded = pack_rounded},
    .has_bf16 = 1,
#endif
#define ENTRY(result, name, ...) .name = name,
#include "../entries/all.h"
#undef ENTRY
};

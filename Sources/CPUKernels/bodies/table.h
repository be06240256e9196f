// Everything above as one table; TABLE is its name.
const cpu_kernels TABLE = {
    .vector_floats = LANES, .tile_rows = TILE_ROWS, .tile_columns = TILE_COLUMNS,
    .widen = widen, .narrow = narrow,
    .unary_f32 = unary_f32, .unary_f64 = unary_f64, .binary_f32 = binary_f32,
    .binary_f64 = binary_f64, .binary_i32 = binary_i32, .binary_i64 = binary_i64, .axpy = axpy,
    .scale = scale,
    .sum = sum, .maximum = maximum, .dot = dot,
    .pack = pack, .product = product, .vector_matrix = vector_matrix, .matmul_f64 = matmul_f64,
    .rms_norm = rms_norm, .rms_norm_backward = rms_norm_backward, .softmax = softmax,
    .softmax_backward = softmax_backward, .cross_entropy = cross_entropy,
    .cross_entropy_backward = cross_entropy_backward,
    .unit_slices = unit_slices, .unit_slices_backward = unit_slices_backward,
    .swiglu = swiglu, .swiglu_backward = swiglu_backward, .silu_backward = silu_backward,
    .log_sigmoid_backward = log_sigmoid_backward, .rotary = rotary, .adamw = adamw,
    .mask_band = mask_band, .mask_keys = mask_keys,
    .add_rows = add_rows, .add_alibi = add_alibi,
    .add_difference = add_difference, .softcap = softcap, .softcap_backward = softcap_backward,
    .scale_tile = scale_tile, .softmax_online = softmax_online, .softmax_shifted = softmax_shifted,
    .softmax_gradient = softmax_gradient,
#if HAS_BFLOAT16_DOT
    .bf16 = {.pack_pairs_of_columns = pack_pairs_of_columns,
             .pack_pairs_of_rows = pack_pairs_of_rows, .product = product_bf16,
             .softmax_online = softmax_online_bf16, .softmax_shifted = softmax_shifted_bf16},
    .has_bf16 = 1,
#endif
    .additive_step = additive_step, .scale_exp = scale_exp, .decay_tril = decay_tril,
    .channel_scores = channel_scores, .channel_scores_backward = channel_scores_backward,
};

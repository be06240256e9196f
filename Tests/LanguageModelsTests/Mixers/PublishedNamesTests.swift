import AttentionLanguageModels
import AttentionLayers
import Testing

/// The names and shapes of mixers' parameters, which are those of published modules at a hidden size of 32: of
/// transformers and flash-linear-attention, listed by PyTorch.
@Suite struct PublishedNamesTests {
  struct Module: Sendable, CustomTestStringConvertible {
    let layer: String
    let parameters: String
    var testDescription: String { layer }
  }

  @Test(arguments: modules) func parametersAreThoseOfTheModule(_ module: Module) throws {
    let layer = try JSONValue(json5: "{ \(module.layer) }").decoded(as: LayerConfiguration.self)
    let scope = ParameterScope(seed: 0)
    _ = try layer.mixer.makeMixer(hidden: 32, outputScale: 1, scope: scope)
    let own = zip(scope.parameters.paths, scope.parameters.tensors).map { path, tensor in
      "\(path) \(tensor.shape.map(String.init).joined(separator: "×"))"
    }
    let published = module.parameters.split(separator: ";").map { entry in
      entry.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }
    #expect(own.sorted() == published.sorted())
  }

  private static let modules: [Module] = [
    Module(
      layer: """
        type: 'gated_linear', heads: 4, key_value_heads: 2, key_expansion: 1, value_expansion: 2,
        convolution_width: 4, convolution_bias: true, feature_map: 'relu', decay_rank: 5,
        decay_divisor: 3, smallest_decay: -0.2, gate: 'sigmoid', norm_epsilon: 1e-05
        """,
      parameters: """
        g_norm.weight 16; g_proj.weight 64×32; gk_proj.0.weight 5×32; gk_proj.1.bias 16;
        gk_proj.1.weight 16×5; k_conv1d.bias 16; k_conv1d.weight 16×1×4; k_proj.weight 16×32;
        o_proj.weight 32×64; q_conv1d.bias 32; q_conv1d.weight 32×1×4; q_proj.weight 32×32;
        v_conv1d.bias 32; v_conv1d.weight 32×1×4; v_proj.weight 32×32
        """),
    Module(
      layer: """
        type: 'gated_linear', heads: 4, key_value_heads: 2, key_expansion: 1, convolution_width:
        4, decay_rank: null, norm_epsilon: 1e-05
        """,
      parameters: """
        g_norm_swish_gate.weight 8; g_proj.weight 32×32; gk_proj.bias 4; gk_proj.weight 4×32;
        k_conv1d.weight 16×1×4; k_proj.weight 16×32; o_proj.weight 32×32;
        q_conv1d.weight 32×1×4; q_proj.weight 32×32; v_conv1d.weight 16×1×4; v_proj.weight 16×32
        """),
    Module(
      layer: """
        type: 'linear', heads: 4, key_value_heads: 2, feature_map: 'hedgehog'
        """,
      parameters: """
        feature_map_k.layer.bias 8; feature_map_k.layer.weight 8×8; feature_map_q.layer.bias 8;
        feature_map_q.layer.weight 8×8; k_proj.weight 16×32; norm.weight 8; o_proj.weight 32×32;
        q_proj.weight 32×32; v_proj.weight 16×32
        """),
    Module(
      layer: """
        type: 'linear', heads: 4, key_value_heads: 2, feature_map: 'elementwise_product',
        key_expansion: 2
        """,
      parameters: """
        feature_map_k.layer1.bias 16; feature_map_k.layer1.weight 16×16;
        feature_map_k.layer2.bias 16; feature_map_k.layer2.weight 16×16;
        feature_map_q.layer1.bias 16; feature_map_q.layer1.weight 16×16;
        feature_map_q.layer2.bias 16; feature_map_q.layer2.weight 16×16; k_proj.weight 32×32;
        norm.weight 8; o_proj.weight 32×32; q_proj.weight 64×32; v_proj.weight 16×32
        """),
    Module(
      layer: """
        type: 'retention', heads: 4
        """,
      parameters: """
        g_norm_swish_gate.weight 16; g_proj.weight 64×32; k_proj.weight 32×32;
        o_proj.weight 32×64; q_proj.weight 32×32; v_proj.weight 64×32
        """),
    Module(
      layer: """
        type: 'lightning', heads: 4, layer: 1, layers: 3, norm_epsilon: 1e-06
        """,
      parameters: """
        norm.weight 32; out_proj.weight 32×32; output_gate.weight 32×32; qkv_proj.weight 96×32
        """),
    Module(
      layer: """
        type: 'mamba', state_dimension: 5
        """,
      parameters: """
        A_log 64×5; D 64; conv1d.bias 64; conv1d.weight 64×1×4; dt_proj.bias 64;
        dt_proj.weight 64×2; in_proj.weight 128×32; out_proj.weight 32×64; x_proj.weight 12×64
        """),
    Module(
      layer: """
        type: 'mamba', state_dimension: 5, step_rank: 3, selection_norm: 'learned'
        """,
      parameters: """
        A_log 64×5; D 64; b_layernorm.weight 5; c_layernorm.weight 5; conv1d.bias 64;
        conv1d.weight 64×1×4; dt_layernorm.weight 3; dt_proj.bias 64; dt_proj.weight 64×3;
        in_proj.weight 128×32; out_proj.weight 32×64; x_proj.weight 13×64
        """),
    Module(
      layer: """
        type: 'mamba2', heads: 8, groups: 2, state_dimension: 6
        """,
      parameters: """
        A_log 8; D 8; conv1d.bias 88; conv1d.weight 88×1×4; dt_bias 8; in_proj.weight 160×32;
        norm.weight 64; out_proj.weight 32×64
        """),
    Module(
      layer: """
        type: 'mamba2', heads: 4, state_dimension: 5, norm: 'none'
        """,
      parameters: """
        A_log 4; D 4; conv1d.bias 74; conv1d.weight 74×1×4; dt_bias 4; in_proj.weight 142×32;
        out_proj.weight 32×64
        """),
    Module(
      layer: """
        type: 'hgrn', expansion: 2, convolution_width: 4, convolution_bias: true, lower_bound: 0.3
        """,
      parameters: """
        f_conv1d.bias 64; f_conv1d.weight 64×1×4; f_proj.weight 64×32; g_norm.weight 64;
        g_proj.weight 64×32; i_conv1d.bias 64; i_conv1d.weight 64×1×4; i_proj.weight 64×32;
        o_proj.weight 32×64
        """),
    Module(
      layer: """
        type: 'hgrn2', heads: 4, key_dimension: 8, convolution_width: 4, lower_bound: 0.3
        """,
      parameters: """
        f_conv1d.weight 32×1×4; f_proj.weight 32×32; g_norm.weight 32; i_conv1d.weight 32×1×4;
        i_proj.weight 32×32; o_proj.weight 32×32; q_conv1d.weight 32×1×4; q_proj.weight 32×32
        """),
    Module(
      layer: """
        type: 'rwkv6', heads: 4, shift_rank: 5, decay_rank: 7
        """,
      parameters: """
        bonus 4×4; g_norm.bias 32; g_norm.weight 32; g_proj.linear.weight 32×32;
        k_proj.linear.weight 16×32; o_proj.weight 32×32; r_proj.linear.weight 16×32;
        v_proj.linear.weight 32×32; w_proj.linear.lora.0.weight 7×32;
        w_proj.linear.lora.2.bias 16; w_proj.linear.lora.2.weight 16×7; x_bias 5×32;
        x_proj.0.linear.weight 25×32; x_proj.0.mu 32; x_proj.2.weight 32×25
        """),
    Module(
      layer: """
        type: 'rwkv7', heads: 4, layers: 3, decay_rank: 5, rate_rank: 6, value_rank: 7, gate_rank:
        8
        """,
      parameters: """
        a_lora.lora.0.weight 6×32; a_lora.lora.2.bias 32; a_lora.lora.2.weight 32×6;
        g_lora.lora.0.weight 8×32; g_lora.lora.2.weight 32×8; g_norm.bias 32; g_norm.weight 32;
        k_a 32; k_k 32; k_proj.weight 32×32; o_proj.weight 32×32; r_k 4×8; r_proj.weight 32×32;
        v_proj.weight 32×32; w_lora.lora.0.weight 5×32; w_lora.lora.2.bias 32;
        w_lora.lora.2.weight 32×5; x_a 1×1×32; x_g 1×1×32; x_k 1×1×32; x_r 1×1×32; x_v 1×1×32;
        x_w 1×1×32
        """),
    Module(
      layer: """
        type: 'rwkv7', heads: 4, layer: 1, layers: 3, decay_rank: 5, rate_rank: 6, value_rank: 7,
        gate_rank: 8
        """,
      parameters: """
        a_lora.lora.0.weight 6×32; a_lora.lora.2.bias 32; a_lora.lora.2.weight 32×6;
        g_lora.lora.0.weight 8×32; g_lora.lora.2.weight 32×8; g_norm.bias 32; g_norm.weight 32;
        k_a 32; k_k 32; k_proj.weight 32×32; o_proj.weight 32×32; r_k 4×8; r_proj.weight 32×32;
        v_lora.lora.0.weight 7×32; v_lora.lora.2.bias 32; v_lora.lora.2.weight 32×7;
        v_proj.weight 32×32; w_lora.lora.0.weight 5×32; w_lora.lora.2.bias 32;
        w_lora.lora.2.weight 32×5; x_a 1×1×32; x_g 1×1×32; x_k 1×1×32; x_r 1×1×32; x_v 1×1×32;
        x_w 1×1×32
        """),
    Module(
      layer: """
        type: 'delta_net', heads: 2, key_expansion: 0.5, value_expansion: 2, convolution_width: 3,
        convolution_bias: true, feature_map: 'elu', norm: 'sum', negative_eigenvalues: true, gate:
        true
        """,
      parameters: """
        b_proj.weight 2×32; g_proj.weight 64×32; k_conv1d.bias 16; k_conv1d.weight 16×1×3;
        k_proj.weight 16×32; o_norm.weight 32; o_proj.weight 32×64; q_conv1d.bias 16;
        q_conv1d.weight 16×1×3; q_proj.weight 16×32; v_conv1d.bias 64; v_conv1d.weight 64×1×3;
        v_proj.weight 64×32
        """),
    Module(
      layer: """
        type: 'gated_delta_net', heads: 2, value_heads: 4, key_dimension: 8, value_dimension: 16,
        norm_epsilon: 1e-05
        """,
      parameters: """
        A_log 4; a_proj.weight 4×32; b_proj.weight 4×32; dt_bias 4; g_proj.weight 64×32;
        k_conv1d.weight 16×1×4; k_proj.weight 16×32; o_norm.weight 16; o_proj.weight 32×64;
        q_conv1d.weight 16×1×4; q_proj.weight 16×32; v_conv1d.weight 64×1×4; v_proj.weight 64×32
        """),
    Module(
      layer: """
        type: 'gated_delta_net', heads: 2, value_heads: 4, key_dimension: 8, value_dimension: 6,
        layout: 'qwen3_next'
        """,
      parameters: """
        A_log 4; conv1d.weight 56×1×4; dt_bias 4; in_proj_ba.weight 8×32;
        in_proj_qkvz.weight 80×32; norm.weight 6; out_proj.weight 32×24
        """),
    Module(
      layer: """
        type: 'gated_delta_net', heads: 2, value_heads: 4, key_dimension: 8, value_dimension: 6,
        layout: 'qwen3_5'
        """,
      parameters: """
        A_log 4; conv1d.weight 56×1×4; dt_bias 4; in_proj_a.weight 4×32; in_proj_b.weight 4×32;
        in_proj_qkv.weight 56×32; in_proj_z.weight 24×32; norm.weight 6; out_proj.weight 32×24
        """),
    Module(
      layer: """
        type: 'gated_delta_net_2', heads: 2, value_heads: 4, key_dimension: 8,
        negative_eigenvalues: true
        """,
      parameters: """
        A_log 2; b_proj.weight 16×32; dt_bias 16; f_proj.0.weight 8×32; f_proj.1.weight 16×8;
        g_proj.0.weight 8×32; g_proj.1.bias 32; g_proj.1.weight 32×8; k_conv1d.weight 16×1×4;
        k_proj.weight 16×32; o_norm.weight 8; o_proj.weight 32×32; q_conv1d.weight 16×1×4;
        q_proj.weight 16×32; v_conv1d.weight 32×1×4; v_proj.weight 32×32; w_proj.weight 32×32
        """),
    Module(
      layer: """
        type: 'kimi_delta', heads: 2, key_dimension: 8
        """,
      parameters: """
        A_log 2; b_proj.weight 2×32; dt_bias 16; f_proj.0.weight 8×32; f_proj.1.weight 16×8;
        g_proj.0.weight 8×32; g_proj.1.bias 16; g_proj.1.weight 16×8; k_conv1d.weight 16×1×4;
        k_proj.weight 16×32; o_norm.weight 8; o_proj.weight 32×16; q_conv1d.weight 16×1×4;
        q_proj.weight 16×32; v_conv1d.weight 16×1×4; v_proj.weight 16×32
        """),
    Module(
      layer: """
        type: 'kimi_delta', heads: 2, key_dimension: 8, layout: 'kimi', norm_epsilon: 1e-06
        """,
      parameters: """
        A_log 1×1×2×1; b_proj.weight 2×32; dt_bias 16; f_a_proj.weight 8×32;
        f_b_proj.weight 16×8; g_a_proj.weight 8×32; g_b_proj.weight 16×8;
        k_conv1d.weight 16×1×4; k_proj.weight 16×32; o_norm.weight 8; o_proj.weight 32×16;
        q_conv1d.weight 16×1×4; q_proj.weight 16×32; v_conv1d.weight 16×1×4; v_proj.weight 16×32
        """),
    Module(
      layer: """
        type: 'kimi_delta', heads: 2, key_dimension: 8, layout: 'bailing', norm_epsilon: 1e-06
        """,
      parameters: """
        A_log 2; b_proj.weight 2×32; dt_bias 16; f_proj.weight 16×32; g_proj.weight 16×32;
        k_conv1d.weight 16×1×4; k_proj.weight 16×32; o_norm.weight 8; o_proj.weight 32×16;
        q_conv1d.weight 16×1×4; q_proj.weight 16×32; v_conv1d.weight 16×1×4; v_proj.weight 16×32
        """),
    Module(
      layer: """
        type: 'gated_delta_product', heads: 2, key_dimension: 8, value_dimension: 16
        """,
      parameters: """
        A_log 2; a_proj.weight 2×32; b_proj.weight 4×32; dt_bias 2; g_proj.weight 32×32;
        k_conv1d.weight 32×1×4; k_proj.weight 32×32; o_norm.weight 16; o_proj.weight 32×32;
        q_conv1d.weight 16×1×4; q_proj.weight 16×32; v_conv1d.weight 64×1×4; v_proj.weight 64×32
        """),
    Module(
      layer: """
        type: 'comba', heads: 2, value_heads: 4, key_dimension: 8, value_dimension: 16
        """,
      parameters: """
        A_log 4; D 2; a_proj.weight 4×32; b_proj.weight 4×32; decay 2; dt_bias 4;
        g_proj.weight 64×32; k_conv1d.weight 16×1×4; k_proj.weight 16×32; o_norm.weight 16;
        o_proj.weight 32×64; q_conv1d.weight 16×1×4; q_proj.weight 16×32;
        v_conv1d.weight 64×1×4; v_proj.weight 64×32
        """),
    Module(
      layer: """
        type: 'gated_slot', heads: 4, key_value_heads: 2, slots: 5, convolution_width: 4,
        feature_map: 't2r', decay_divisor: 2
        """,
      parameters: """
        f_proj.weight 10×32; feature_map.layer.weight 8×8; g_norm.weight 32;
        k_conv1d.weight 16×1×4; k_proj.weight 16×32; o_proj.weight 32×32;
        q_conv1d.weight 32×1×4; q_proj.weight 32×32; v_conv1d.weight 16×1×4; v_proj.weight 16×32
        """),
    Module(
      layer: """
        type: 'rg_lru', width: 48, heads: 3
        """,
      parameters: """
        conv_1d.bias 48; conv_1d.weight 48×1×4; linear_out.bias 32; linear_out.weight 32×48;
        linear_x.bias 48; linear_x.weight 48×32; linear_y.bias 48; linear_y.weight 48×32;
        rg_lru.input_gate_bias 3×16; rg_lru.input_gate_weight 3×16×16;
        rg_lru.recurrent_gate_bias 3×16; rg_lru.recurrent_gate_weight 3×16×16;
        rg_lru.recurrent_param 48
        """),
    Module(
      layer: """
        type: 'mlstm', heads: 4
        """,
      parameters: """
        fgate_preact.bias 4; fgate_preact.weight 4×32; igate_preact.bias 4;
        igate_preact.weight 4×32; k.weight 16×32; multihead_norm.weight 32;
        ogate_preact.weight 32×32; out_proj.weight 32×32; q.weight 16×32; v.weight 32×32
        """),
    Module(
      layer: """
        type: 'forgetting', heads: 4, key_value_heads: 2, bias: true, query_key_norm: true, gate:
        true
        """,
      parameters: """
        f_proj.bias 4; f_proj.weight 4×32; g_proj.weight 32×32; k_norm.weight 16;
        k_proj.bias 16; k_proj.weight 16×32; o_proj.weight 32×32; q_norm.weight 32;
        q_proj.bias 32; q_proj.weight 32×32; v_proj.bias 16; v_proj.weight 16×32
        """),
    Module(
      layer: """
        type: 'gated_convolution', width: 3
        """,
      parameters: """
        conv.weight 32×1×3; in_proj.weight 96×32; out_proj.weight 32×32
        """),
  ]
}

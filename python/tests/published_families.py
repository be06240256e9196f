"""Tiny random models of published families, as transformers makes them."""

import dataclasses

SIZES = dict(
    vocab_size=128,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
)
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 16,
}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}

RECURRENT = dict(vocab_size=128, hidden_size=64, num_hidden_layers=3)
DELTA = dict(
    linear_num_value_heads=4,
    linear_num_key_heads=2,
    linear_key_head_dim=16,
    linear_value_head_dim=24,
)
FLA = dict(vocab_size=128, hidden_size=64, num_hidden_layers=2, intermediate_size=96)
# Multi-head latent attention with experts in groups, but for the first layer.
LATENT = dict(
    num_key_value_heads=4,
    q_lora_rank=40,
    kv_lora_rank=24,
    qk_nope_head_dim=12,
    qk_rope_head_dim=8,
    v_head_dim=16,
    first_k_dense_replace=1,
    n_routed_experts=8,
    n_shared_experts=2,
    n_group=4,
    topk_group=2,
    num_experts_per_tok=3,
    moe_intermediate_size=32,
)
MAMBA2 = dict(mamba_n_heads=8, mamba_d_head=16, mamba_n_groups=2, mamba_d_state=16)


@dataclasses.dataclass(frozen=True)
class Family:
    """A tiny model: the name of its configuration's class in transformers, or of flash-linear-attention's
    family, and its options."""

    configuration: str
    options: dict

    def build(self, seed=0):
        """A model with random weights, float32."""
        import torch
        import transformers

        torch.manual_seed(seed)
        if self.configuration.startswith("fla:"):
            import triton.runtime.autotuner

            # In the interpreter there is nothing to measure: the first configuration of a kernel is as good as any.
            triton.runtime.autotuner.Autotuner._bench = lambda *_, **__: [0.0, 0.0, 0.0]
            import fla.models  # registers its families

            configuration = transformers.AutoConfig.for_model(
                self.configuration.removeprefix("fla:"), **self.options
            )
        else:
            configuration = getattr(transformers, self.configuration)(**self.options)
        model = transformers.AutoModelForCausalLM.from_config(
            configuration, dtype=torch.float32, attn_implementation="eager"
        ).eval()
        with torch.no_grad():
            # What starts at a constant, such as norms and biases, must count too.
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.05)
            for name, buffer in model.named_buffers():
                if name.endswith("e_score_correction_bias"):
                    buffer.add_(torch.randn_like(buffer) * 0.05)
        return model


FAMILIES = {
    "llama": Family("LlamaConfig", {**SIZES, "rope_parameters": LLAMA3}),
    "llama_yarn": Family(
        "LlamaConfig",
        {**SIZES, "rope_parameters": YARN, "attention_bias": True, "mlp_bias": True},
    ),
    "llama_linear": Family(
        "LlamaConfig", {**SIZES, "rope_parameters": LINEAR, "tie_word_embeddings": True}
    ),
    "mistral": Family("MistralConfig", {**SIZES, "sliding_window": 5}),
    "qwen2": Family("Qwen2Config", SIZES),
    "qwen3": Family("Qwen3Config", {**SIZES, "head_dim": 24}),
    "qwen3_moe": Family(
        "Qwen3MoeConfig",
        {
            **SIZES,
            "head_dim": 16,
            "num_experts": 8,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
            "mlp_only_layers": [1],
        },
    ),
    "mixtral": Family("MixtralConfig", {**SIZES, "num_local_experts": 4}),
    "gemma2": Family("Gemma2Config", {**SIZES, "head_dim": 16, "sliding_window": 5}),
    "gemma3_text": Family(
        "Gemma3TextConfig",
        {**SIZES, "head_dim": 16, "sliding_window": 5, "sliding_window_pattern": 2},
    ),
    "gpt_oss": Family(
        "GptOssConfig",
        {**SIZES, "head_dim": 16, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 5},
    ),
    "olmo2": Family("Olmo2Config", SIZES),
    "phi3": Family("Phi3Config", {**SIZES, "pad_token_id": 0}),
    "granite": Family(
        "GraniteConfig",
        {
            **SIZES,
            "embedding_multiplier": 2.0,
            "residual_multiplier": 0.5,
            "logits_scaling": 3.0,
            "attention_multiplier": 0.1,
        },
    ),
    "qwen3_next": Family(
        "Qwen3NextConfig",
        {
            **SIZES,
            **DELTA,
            "num_hidden_layers": 4,
            "head_dim": 16,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
            "shared_expert_intermediate_size": 32,
        },
    ),
    "qwen3_5_text": Family(
        "Qwen3_5TextConfig", {**SIZES, **DELTA, "num_hidden_layers": 4, "head_dim": 16}
    ),
    "mamba": Family("MambaConfig", {**RECURRENT, "state_size": 8}),
    "falcon_mamba": Family("FalconMambaConfig", {**RECURRENT, "state_size": 8}),
    "mamba2": Family(
        "Mamba2Config",
        {**RECURRENT, "num_heads": 8, "head_dim": 16, "n_groups": 2, "state_size": 16},
    ),
    "bamba": Family("BambaConfig", {**SIZES, **MAMBA2, "attn_layer_indices": [1]}),
    "falcon_h1": Family(
        "FalconH1Config",
        {
            **SIZES,
            **MAMBA2,
            "mamba_d_ssm": 128,
            "mamba_rms_norm": True,
            "embedding_multiplier": 1.5,
            "lm_head_multiplier": 0.5,
            "key_multiplier": 0.7,
            "attention_in_multiplier": 0.9,
            "attention_out_multiplier": 0.8,
            "ssm_in_multiplier": 1.2,
            "ssm_out_multiplier": 0.6,
            "ssm_multipliers": [0.9, 0.8, 0.7, 1.1, 1.2],
            "mlp_multipliers": [0.7, 1.3],
        },
    ),
    "granitemoehybrid": Family(
        "GraniteMoeHybridConfig",
        {
            **SIZES,
            **MAMBA2,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "shared_intermediate_size": 48,
            "layer_types": ["linear_attention", "full_attention", "linear_attention"],
            "embedding_multiplier": 2.0,
            "residual_multiplier": 0.5,
            "logits_scaling": 3.0,
            "attention_multiplier": 0.1,
        },
    ),
    "jamba": Family(
        "JambaConfig",
        {
            **SIZES,
            "num_hidden_layers": 4,
            "num_experts": 4,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "expert_layer_period": 2,
            "expert_layer_offset": 1,
            "mamba_d_state": 8,
            "use_mamba_kernels": False,
        },
    ),
    "nemotron_h": Family(
        "NemotronHConfig",
        {
            **SIZES,
            "num_hidden_layers": 4,
            "layers_block_type": ["linear_attention", "mlp", "full_attention", "moe"],
            "head_dim": 16,
            "ssm_state_size": 16,
            "mamba_num_heads": 8,
            "mamba_head_dim": 16,
            "n_groups": 2,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
            "moe_shared_expert_intermediate_size": 48,
            "routed_scaling_factor": 1.5,
            "use_mamba_kernels": False,
        },
    ),
    "minimax": Family(
        "MiniMaxConfig",
        {
            **SIZES,
            "num_hidden_layers": 4,
            "num_local_experts": 4,
            "full_attn_alpha_factor": 0.9,
            "full_attn_beta_factor": 0.8,
            "linear_attn_alpha_factor": 0.7,
            "linear_attn_beta_factor": 1.1,
            "mlp_alpha_factor": 1.2,
            "mlp_beta_factor": 0.6,
        },
    ),
    "recurrent_gemma": Family(
        "RecurrentGemmaConfig", {**SIZES, "num_hidden_layers": 3, "attention_window_size": 5}
    ),
    "deepseek_v2": Family(
        "DeepseekV2Config",
        {
            **SIZES,
            **LATENT,
            "topk_method": "group_limited_greedy",
            "routed_scaling_factor": 2.0,
            "attention_bias": True,
        },
    ),
    "deepseek_v2_lite": Family("DeepseekV2Config", {**SIZES, **LATENT, "q_lora_rank": None}),
    "deepseek_v3": Family("DeepseekV3Config", {**SIZES, **LATENT}),
    "deepseek_v3_yarn": Family(
        "DeepseekV3Config",
        {
            **SIZES,
            **LATENT,
            "rope_parameters": {**YARN, "mscale": 1.0, "mscale_all_dim": 0.7},
            "rope_interleave": False,
        },
    ),
    "glm4_moe_lite": Family(
        "Glm4MoeLiteConfig", {**SIZES, **LATENT, "n_group": 1, "topk_group": 1}
    ),
    "kimi_linear": Family(
        "KimiLinearConfig",
        {
            **SIZES,
            **LATENT,
            "q_lora_rank": None,
            "layer_types": ["linear_attention", "full_attention", "linear_attention"],
            "linear_head_dim": 16,
            "linear_num_heads": 4,
            "num_local_experts": 4,
            "n_group": 1,
            "topk_group": 1,
            "pad_token_id": 0,
        },
    ),
    **{
        name: Family("fla:" + name, {**FLA, **options})
        for name, options in {
            "gla": {"num_heads": 2, "use_short_conv": True},
            "retnet": {"num_heads": 2},
            "delta_net": {"num_heads": 2},
            "gated_deltanet": {"num_heads": 2, "head_dim": 16, "num_v_heads": 4},
            "gated_deltaproduct": {
                "num_heads": 2,
                "head_dim": 16,
                "num_householder": 2,
                "use_forget_gate": True,
            },
            "comba": {"num_heads": 2, "head_dim": 16},
            "kda": {"num_heads": 2, "head_dim": 16},
            "forgetting_transformer": {"num_heads": 4, "use_output_gate": True, "qk_norm": True},
            "gsa": {"num_heads": 2, "num_slots": 16},
            "hgrn": {},
            "hgrn2": {"expand_ratio": 32},
            "rwkv6": {"num_heads": 2, "proj_low_rank_dim": 8, "gate_low_rank_dim": 12},
            "rwkv7": {
                "head_dim": 32,
                "decay_low_rank_dim": 8,
                "a_low_rank_dim": 8,
                "v_low_rank_dim": 8,
                "gate_low_rank_dim": 16,
            },
        }.items()
    },
}

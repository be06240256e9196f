"""Gated linear attention as a language model of 🤗 Transformers.

    from swift_attention.fla.models import GLAConfig
    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_config(GLAConfig())

Importing this module registers the model with the Auto classes under the type "gla"; it needs the
package `transformers`, which nothing else here does. Configuration and parameters have
flash-linear-attention's names, so its checkpoints can be read.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as functional
from torch import Tensor, nn

try:
    import transformers as _transformers  # noqa: F401
except ModuleNotFoundError as missing:
    if missing.name != "transformers":
        raise
    raise ImportError(
        "swift_attention.fla.models has models of the package transformers, which is not installed: "
        "pip install transformers") from missing
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.utils import logging

from ._generation import CACHE_NAMES, OUTPUT_CACHE, StateGenerationMixin, given_cache
from ._losses import loss_in_chunks, next_labels, penalty_of_largest
from .layers import Cache, GatedLinearAttention
from .layers._parts import RMSNorm

_TYPE = "gla"
# The inner width of the feed-forward is rounded up to a multiple of this.
_WIDTH_MULTIPLE = 256
_log = logging.get_logger(__name__)


class GLAConfig(PretrainedConfig):
    """The configuration of a GLA model.

    `fuse_norm`, `fuse_swiglu`, `fuse_cross_entropy`, `use_gk` and `use_gv` have no effect. With
    `fuse_linear_cross_entropy` the loss is computed from some logits at a time, and no logits are
    returned; `use_l2warp` adds the gradient of a penalty on the largest logits.

    Raises NotImplementedError for hybrid models (`attn`) and attention over residuals
    (`attnres_block_size`), ValueError if both fused losses are requested.
    """

    model_type = _TYPE
    keys_to_ignore_at_inference = list(CACHE_NAMES)

    def __init__(
        self,
        hidden_size: int = 2048,
        expand_k: float = 0.5,
        expand_v: float = 1,
        hidden_ratio: int | None = 4,
        intermediate_size: int | None = None,
        num_hidden_layers: int = 24,
        num_heads: int = 4,
        num_kv_heads: int | None = None,
        feature_map: str | None = None,
        attn_mode: str = "chunk",
        use_short_conv: bool = False,
        conv_size: int = 4,
        use_output_gate: bool = True,
        clamp_min: float | None = None,
        hidden_act: str = "swish",
        max_position_embeddings: int = 2048,
        elementwise_affine: bool | None = True,
        norm_eps: float = 1e-6,
        use_gk: bool = True,
        use_gv: bool = False,
        attn: dict | None = None,
        use_cache: bool = True,
        pad_token_id: int | None = None,
        bos_token_id: int = 1,
        eos_token_id: int = 2,
        tie_word_embeddings: bool = False,
        initializer_range: float = 0.02,
        fuse_norm: bool = True,
        fuse_swiglu: bool = True,
        fuse_cross_entropy: bool = True,
        fuse_linear_cross_entropy: bool = False,
        use_l2warp: bool = False,
        vocab_size: int = 32000,
        attnres_block_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        if attn is not None:
            raise NotImplementedError("attn must be None: hybrid models are not there")
        if attnres_block_size is not None:
            raise NotImplementedError(
                f"attnres_block_size was {attnres_block_size}, must be None: attention over"
                " residuals is not there")
        if fuse_cross_entropy and fuse_linear_cross_entropy:
            raise ValueError(
                "fuse_cross_entropy was True, must be False with fuse_linear_cross_entropy=True")
        own = dict(locals())
        for name in ("self", "kwargs", "__class__", "pad_token_id", "bos_token_id",
                     "eos_token_id", "tie_word_embeddings"):
            own.pop(name, None)
        for name, value in own.items():
            setattr(self, name, value)
        super().__init__(
            pad_token_id=pad_token_id, bos_token_id=bos_token_id, eos_token_id=eos_token_id,
            tie_word_embeddings=tie_word_embeddings, **kwargs)


class GatedMLP(nn.Module):
    """down(silu(gate x) ⊙ up x)"""

    def __init__(self, config: GLAConfig) -> None:
        super().__init__()
        width = config.intermediate_size
        if width is None:
            width = int(config.hidden_size * (config.hidden_ratio or 4) * 2 / 3)
            width = _WIDTH_MULTIPLE * -(-width // _WIDTH_MULTIPLE)
        self.gate_proj = nn.Linear(config.hidden_size, width, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, width, bias=False)
        self.down_proj = nn.Linear(width, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class GLABlock(nn.Module):
    """Gated linear attention and a feed-forward, each pre-normalised and added to its input."""

    def __init__(self, config: GLAConfig, layer_idx: int) -> None:
        super().__init__()
        self.attn_norm = RMSNorm(config.hidden_size, eps=config.norm_eps)
        self.attn = GatedLinearAttention(
            mode=config.attn_mode, hidden_size=config.hidden_size, expand_k=config.expand_k,
            expand_v=config.expand_v, num_heads=config.num_heads,
            num_kv_heads=config.num_kv_heads, feature_map=config.feature_map,
            use_short_conv=config.use_short_conv, conv_size=config.conv_size,
            use_output_gate=config.use_output_gate, gate_fn=config.hidden_act,
            elementwise_affine=config.elementwise_affine, norm_eps=config.norm_eps,
            clamp_min=config.clamp_min, fuse_norm=config.fuse_norm, layer_idx=layer_idx)
        self.mlp_norm = RMSNorm(config.hidden_size, eps=config.norm_eps)
        self.mlp = GatedMLP(config)

    def forward(
        self, x: Tensor, mask: Tensor | None, cache: Cache | None, cu_seqlens: Tensor | None
    ) -> Tensor:
        mixed, _, _ = self.attn(
            self.attn_norm(x), mask, cache, use_cache=cache is not None, cu_seqlens=cu_seqlens)
        x = x + mixed
        return x + self.mlp(self.mlp_norm(x))


class GLAPreTrainedModel(PreTrainedModel):
    """The common part of GLA models for Transformers."""

    config_class = GLAConfig
    base_model_prefix = "model"
    _no_split_modules = ["GLABlock"]
    supports_gradient_checkpointing = True

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)


class GLAModel(GLAPreTrainedModel):
    """Embeddings, blocks and a last normalisation."""

    def __init__(self, config: GLAConfig) -> None:
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = nn.ModuleList(
            GLABlock(config, index) for index in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, eps=config.norm_eps)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.embeddings = value

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        cu_seqlens: Tensor | None = None,
        cache: Cache | None = None,
        cache_params: Cache | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """The usual forward of Transformers, with any of its names for the cache.

        `cu_seqlens` packs sequences. Training with activation checkpointing uses no cache.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("one of input_ids and inputs_embeds must be given")
        cache = given_cache(
            past_key_values=past_key_values, cache=cache, cache_params=cache_params)
        is_checkpointed = self.gradient_checkpointing and self.training
        if use_cache is None:
            use_cache = self.config.use_cache and not self.training
        if use_cache and is_checkpointed:
            _log.warning_once("use_cache is False here: activations are checkpointed")
            use_cache = False
        if not use_cache:
            cache = None
        elif cache is None:
            cache = Cache()
        if attention_mask is not None and bool(attention_mask.all()):
            attention_mask = None
        x = self.embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        states = [x]
        for layer in self.layers:
            arguments = (x, attention_mask, cache, cu_seqlens)
            if is_checkpointed:
                x = self._gradient_checkpointing_func(layer.__call__, *arguments)
            else:
                x = layer(*arguments)
            states.append(x)
        x = self.norm(x)
        return BaseModelOutputWithPast(
            last_hidden_state=x, hidden_states=(*states[:-1], x) if output_hidden_states else None,
            **{OUTPUT_CACHE: cache})


class GLAForCausalLM(StateGenerationMixin, GLAPreTrainedModel):
    """A GLA model that predicts the next token."""

    _tied_weights_keys = {"lm_head.weight": "model.embeddings.weight"}

    def __init__(self, config: GLAConfig) -> None:
        super().__init__(config)
        self.model = GLAModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.model.embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.embeddings = value

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def set_output_embeddings(self, value: nn.Module) -> None:
        self.lm_head = value

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: Cache | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        logits_to_keep: int = 0,
        cache: Cache | None = None,
        cache_params: Cache | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits of the last `logits_to_keep` tokens, 0 for all, and the loss of the `labels`.

        With `fuse_linear_cross_entropy` and labels there are no logits.
        """
        outputs = self.model(
            input_ids, attention_mask, inputs_embeds, past_key_values, use_cache,
            output_hidden_states, cache=cache, cache_params=cache_params, **kwargs)
        states, config = outputs.last_hidden_state, self.config
        loss = logits = None
        if labels is None:
            logits = self.lm_head(states[:, -logits_to_keep:])
        elif config.fuse_linear_cross_entropy:
            labels = next_labels(labels).to(states.device)
            loss = loss_in_chunks(states, labels, self.lm_head, config.use_l2warp)
        else:
            logits = self.lm_head(states)
            loss = functional.cross_entropy(
                logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten().to(logits.device))
            if config.use_l2warp:
                loss = loss + penalty_of_largest(logits, labels.numel())
        return CausalLMOutputWithPast(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states,
            **{OUTPUT_CACHE: getattr(outputs, OUTPUT_CACHE)})


AutoConfig.register(_TYPE, GLAConfig, exist_ok=True)
AutoModel.register(GLAConfig, GLAModel, exist_ok=True)
AutoModelForCausalLM.register(GLAConfig, GLAForCausalLM, exist_ok=True)

"""Gated linear attention as a layer."""

from __future__ import annotations

import torch.nn.functional as functional
from torch import Tensor, nn

from ..gla import chunk_gla
from ._mixer import Mixer


class GatedLinearAttention(Mixer):
    """Linear attention with a decay per channel, computed by a low-rank projection.

    Arguments, parameters and results are those of flash-linear-attention's layer; `mode` has no
    effect, since all forms are the same computation here.

    Reference: Yang, Wang, Shen, Panda, Kim, Gated linear attention transformers with
    hardware-efficient training (https://arxiv.org/abs/2312.06635), 2023.
    """

    modes = ("chunk", "fused_recurrent", "fused_chunk")

    def __init__(
        self,
        mode: str = "chunk",
        hidden_size: int = 1024,
        expand_k: float = 0.5,
        expand_v: float = 1.0,
        num_heads: int = 4,
        num_kv_heads: int | None = None,
        feature_map: str | None = None,
        use_short_conv: bool = False,
        conv_size: int = 4,
        conv_bias: bool = False,
        use_output_gate: bool = True,
        gate_fn: str = "swish",
        elementwise_affine: bool | None = True,
        norm_eps: float = 1e-5,
        gate_logit_normalizer: int = 16,
        gate_low_rank_dim: int = 16,
        clamp_min: float | None = None,
        fuse_norm: bool = True,
        layer_idx: int | None = None,
    ) -> None:
        super().__init__(
            mode, hidden_size, expand_k, expand_v, num_heads, num_kv_heads, feature_map,
            use_short_conv, conv_size, conv_bias, use_output_gate, gate_fn, elementwise_affine,
            norm_eps, fuse_norm, layer_idx)
        self.gate_logit_normalizer, self.clamp_min = gate_logit_normalizer, clamp_min
        width = self.num_kv_heads * self.head_k_dim
        self.gk_proj = nn.Sequential(
            nn.Linear(hidden_size, gate_low_rank_dim, bias=False),
            nn.Linear(gate_low_rank_dim, width, bias=True))

    def _mixed(
        self, hidden_states: Tensor, q: Tensor, k: Tensor, v: Tensor, *, state: Tensor | None,
        seen: int | Tensor, needs_state: bool, cu_seqlens: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        decay = self._heads(self.gk_proj(hidden_states), self.head_k_dim)
        decay = functional.logsigmoid(decay) / self.gate_logit_normalizer
        if self.clamp_min is not None:
            decay = decay.clamp(min=self.clamp_min)
        return chunk_gla(
            q, k, v, decay, initial_state=state, output_final_state=needs_state,
            state_v_first=True, cu_seqlens=cu_seqlens)

"""Multi-scale retention as a layer."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..retention import chunk_retention
from ._mixer import Mixer
from ._parts import RotaryEmbedding

_MAX_HEAD_DIMENSION = 256


class MultiScaleRetention(Mixer):
    """Retention of rotated queries and keys, normalised per head and gated.

    Arguments, parameters and results are those of flash-linear-attention's layer; `mode` has no
    effect, since all forms are the same computation here.

    Reference: Sun et al., Retentive network: a successor to transformer for large language models
    (https://arxiv.org/abs/2307.08621), 2023.
    """

    modes = ("chunk", "fused_chunk", "parallel", "fused_recurrent")

    def __init__(
        self,
        mode: str = "chunk",
        hidden_size: int = 1024,
        expand_k: float = 1.0,
        expand_v: float = 2.0,
        num_heads: int = 8,
        num_kv_heads: int | None = None,
        feature_map: str | None = None,
        use_short_conv: bool = False,
        conv_size: int = 4,
        conv_bias: bool = False,
        use_output_gate: bool = True,
        gate_fn: str = "swish",
        elementwise_affine: bool | None = True,
        norm_eps: float = 1e-5,
        fuse_norm: bool = True,
        layer_idx: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Further keyword arguments, those of a model's other layers, have no effect."""
        super().__init__(
            mode, hidden_size, expand_k, expand_v, num_heads, num_kv_heads, feature_map,
            use_short_conv, conv_size, conv_bias, use_output_gate, gate_fn, elementwise_affine,
            norm_eps, fuse_norm, layer_idx)
        if self.head_k_dim > _MAX_HEAD_DIMENSION:
            raise ValueError(
                f"a head had {self.head_k_dim} channels, must have at most {_MAX_HEAD_DIMENSION}")
        self.rotary = RotaryEmbedding(self.head_k_dim)

    def _mixed(
        self, hidden_states: Tensor, q: Tensor, k: Tensor, v: Tensor, *, state: Tensor | None,
        seen: int | Tensor, needs_state: bool, cu_seqlens: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        q, k = self.rotary(q, k, seen, cu_seqlens)
        return chunk_retention(
            q, k, v, initial_state=state, output_final_state=needs_state, cu_seqlens=cu_seqlens)

"""Lightning attention: a decay per head that weakens from layer to layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._shapes import Shapes
from .simple_gla import chunk_simple_gla, fused_recurrent_simple_gla

_QUERIES = Shapes("q [B, T, H, K]")


def chunk_lightning_attn(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layer_idx: int,
    num_layers: int,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """S = e^(−8h/H · (1 − layer/layers)) S + k vᵀ, o = scale Sᵀ q, for head h of H.

    q, k [B, T, H, K]; v [B, T, H, V]; states [N, H, K, V]. Returns the output [B, T, H, V] and the
    final state, None unless `output_final_state`.
    """
    return chunk_simple_gla(
        q, k, v, g_gamma=_decay(q, layer_idx, num_layers), scale=scale,
        initial_state=initial_state, output_final_state=output_final_state,
        cu_seqlens=cu_seqlens, **kwargs,
    )


def fused_recurrent_lightning_attn(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layer_idx: int,
    num_layers: int,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Like `chunk_lightning_attn`; with `reverse` from the last token to the first."""
    return fused_recurrent_simple_gla(
        q, k, v, None, _decay(q, layer_idx, num_layers), scale, initial_state,
        output_final_state, reverse, cu_seqlens=cu_seqlens,
    )


def _decay(q: Tensor, layer: int, layers: int) -> Tensor:
    """[H]: the natural logarithms."""
    _QUERIES.check(q=q)
    heads = q.shape[2]
    slope = 8 / max(heads, 1) * (1 - layer / layers)
    return -slope * torch.arange(heads, dtype=torch.float32, device=q.device)

"""Retention: a decay per head, 1 − 2^(−5 − h) for head h."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._shapes import Shapes
from .simple_gla import (
    chunk_simple_gla,
    fused_chunk_simple_gla,
    fused_recurrent_simple_gla,
    parallel_simple_gla,
)

_QUERIES = Shapes("q [B, T, H, K]")


def chunk_retention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """S = γ S + k vᵀ, o = scale Sᵀ q, with γ = 1 − 2^(−5 − h) for head h.

    q, k [B, T, H, K]; v [B, T, H, V]; states [N, H, K, V]. Returns the output [B, T, H, V] and the
    final state, None unless `output_final_state`.
    """
    return chunk_simple_gla(
        q, k, v, g_gamma=_decay(q), scale=scale, initial_state=initial_state,
        output_final_state=output_final_state, cu_seqlens=cu_seqlens, **kwargs,
    )


def fused_chunk_retention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Like `chunk_retention`."""
    return fused_chunk_simple_gla(
        q, k, v, None, _decay(q), scale, initial_state, output_final_state, cu_seqlens
    )


def fused_recurrent_retention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Like `chunk_retention`; with `reverse` from the last token to the first."""
    return fused_recurrent_simple_gla(
        q, k, v, None, _decay(q), scale, initial_state, output_final_state, reverse,
        state_v_first, cu_seqlens, **kwargs,
    )


def parallel_retention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float | None = None,
    output_attentions: bool = False,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Like `chunk_retention`, without states; see `parallel_simple_gla` for the second result."""
    decay = _decay(q).expand(q.shape[:3])
    return parallel_simple_gla(q, k, v, decay, scale, output_attentions, cu_seqlens)


def _decay(q: Tensor) -> Tensor:
    """[H]: the natural logarithms."""
    _QUERIES.check(q=q)
    heads = torch.arange(q.shape[2], dtype=torch.float32, device=q.device)
    return torch.log1p(-torch.exp2(-5 - heads))

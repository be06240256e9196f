"""RWKV-6: additive, read before the write, with a bonus for the token itself."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ._arguments import refuse_head_first, refuse_others, take_chunk_size
from ._recurrence import recurrence
from ._shapes import Shapes

_SHAPES = Shapes(
    "r, k, w [B, T, H, K]; v [B, T, H, V]; u [H, K]; initial_state? [N, H, K, V]")


def chunk_rwkv6(
    r: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor,
    u: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_cpu: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """o = scale (S₋ + diag(u) k vᵀ)ᵀ r, then S = diag(e^w) S₋ + k vᵀ.

    r, k [B, T, H, K]; v [B, T, H, V]; w [B, T, H, K], a natural logarithm, at most 0; u [H, K];
    states [N, H, K, V]. Returns the output [B, T, H, V] and the final state, None unless
    `output_final_state`.
    """
    refuse_head_first(kwargs)
    take_chunk_size(kwargs)
    refuse_others("chunk_rwkv6", kwargs)
    cu_seqlens = _SHAPES.check(
        cu_seqlens, cu_seqlens_cpu, r=r, k=k, v=v, w=w, u=u, initial_state=initial_state)
    return recurrence(
        r, k, v, decay=w, bonus=u, scale=scale, initial_state=initial_state,
        output_final_state=output_final_state, cu_seqlens=cu_seqlens,
    )


def fused_recurrent_rwkv6(
    r: Tensor,
    k: Tensor,
    v: Tensor,
    w: Tensor,
    u: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Like `chunk_rwkv6`; with `reverse` from the last token to the first."""
    cu_seqlens = _SHAPES.check(
        cu_seqlens, r=r, k=k, v=v, w=w, u=u, initial_state=initial_state)
    return recurrence(
        r, k, v, decay=w, bonus=u, scale=scale, initial_state=initial_state,
        output_final_state=output_final_state, reverse=reverse, cu_seqlens=cu_seqlens,
    )

"""Transitions of a diagonal, or the identity, plus low rank."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ._arguments import (
    refuse_context_parallel,
    refuse_head_first,
    refuse_others,
    take_chunk_size,
)
from ._recurrence import recurrence
from ._shapes import Shapes

_SHAPES = Shapes(
    "q, k, a, b, gk [B, T, H, K]; v [B, T, H, V]; initial_state? [N, H, K, V]")


def chunk_dplr_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor,
    b: Tensor,
    gk: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_cpu: Tensor | None = None,
    safe_gate: bool = False,
    chunk_size: int | None = None,
    disable_recompute: bool = False,
    cp_context: Any = None,
    lower_bound: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """S = diag(e^gk) S₋ + b (S₋ᵀ a)ᵀ + k vᵀ, o = scale Sᵀ q, S₋ being the state before the token.

    q, k, a, b [B, T, H, K]; v [B, T, H, V]; gk [B, T, H, K], a natural logarithm, at most 0; states
    [N, H, K, V]. Returns the output [B, T, H, V] and the final state, None unless
    `output_final_state`.
    """
    refuse_head_first(kwargs)
    take_chunk_size({"chunk_size": chunk_size})
    refuse_context_parallel(cp_context)
    refuse_others("chunk_dplr_delta_rule", kwargs)
    if lower_bound is not None and lower_bound >= 0:
        raise ValueError(f"lower_bound was {lower_bound}, must be negative")
    cu_seqlens = _SHAPES.check(
        cu_seqlens, cu_seqlens_cpu, q=q, k=k, v=v, a=a, b=b, gk=gk, initial_state=initial_state)
    return recurrence(
        q, k, v, decay=gk, low_rank=(a, b), scale=scale, initial_state=initial_state,
        output_final_state=output_final_state, cu_seqlens=cu_seqlens,
    )


def fused_recurrent_dplr_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor,
    b: Tensor,
    gk: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Like `chunk_dplr_delta_rule`; with `reverse` from the last token to the first."""
    cu_seqlens = _SHAPES.check(
        cu_seqlens, q=q, k=k, v=v, a=a, b=b, gk=gk, initial_state=initial_state)
    return recurrence(
        q, k, v, decay=gk, low_rank=(a, b), scale=scale, initial_state=initial_state,
        output_final_state=output_final_state, reverse=reverse, cu_seqlens=cu_seqlens,
    )


def chunk_iplr_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor,
    b: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_cpu: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """S = S₋ + b (S₋ᵀ a)ᵀ + k vᵀ, o = scale Sᵀ q: `chunk_dplr_delta_rule` without a decay."""
    refuse_head_first(kwargs)
    take_chunk_size(kwargs)
    refuse_others("chunk_iplr_delta_rule", kwargs)
    cu_seqlens = _SHAPES.check(
        cu_seqlens, cu_seqlens_cpu, q=q, k=k, v=v, a=a, b=b, initial_state=initial_state)
    return recurrence(
        q, k, v, low_rank=(a, b), scale=scale, initial_state=initial_state,
        output_final_state=output_final_state, cu_seqlens=cu_seqlens,
    )


def fused_recurrent_iplr_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor,
    b: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Like `chunk_iplr_delta_rule`."""
    cu_seqlens = _SHAPES.check(
        cu_seqlens, q=q, k=k, v=v, a=a, b=b, initial_state=initial_state)
    return recurrence(
        q, k, v, low_rank=(a, b), scale=scale, initial_state=initial_state,
        output_final_state=output_final_state, cu_seqlens=cu_seqlens,
    )

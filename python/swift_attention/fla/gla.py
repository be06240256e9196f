"""Gated linear attention: a decay per channel of the keys."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ._arguments import check_float32, refuse_others, take_layout
from ._columns import recurrence_decaying_columns, recurrence_of_columns
from ._recurrence import recurrence
from ._shapes import Shapes

_SHAPES = Shapes(
    "q, k, g, gk? [B, T, H, K]; v, gv? [B, T, H, V]; initial_state? [N, H, K, V]")


def chunk_gla(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_cpu: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """S = diag(exp(g)) S + k vᵀ, o = scale Sᵀ q.

    q, k [B, T, H, K]; v [B, T, H, V]; g [B, T, H, K], a natural logarithm, at most 0. States are
    float32 [N, H, K, V], or [N, H, V, K] with `state_v_first`. Returns the output [B, T, H, V] and
    the final state, None unless `output_final_state`.
    """
    cu_seqlens = _SHAPES.check(
        cu_seqlens, cu_seqlens_cpu, values_first=state_v_first, q=q, k=k, v=v, g=g,
        initial_state=initial_state)
    check_float32(initial_state=initial_state)
    return recurrence(
        q, k, v, decay=g, scale=scale, initial_state=initial_state,
        output_final_state=output_final_state, state_v_first=state_v_first, cu_seqlens=cu_seqlens,
    )


def fused_chunk_gla(**kwargs: Any) -> None:
    """Removed by flash-linear-attention in favour of `chunk_gla`."""
    raise NotImplementedError("fused_chunk_gla was removed: use chunk_gla")


def fused_recurrent_gla(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gk: Tensor | None = None,
    gv: Tensor | None = None,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """S = diag(exp(gk)) S diag(exp(gv)) + k vᵀ, o = scale Sᵀ q, otherwise like `chunk_gla`.

    gk [B, T, H, K] and gv [B, T, H, V] may each be None; with `reverse` from the last token to
    the first.
    """
    state_v_first = take_layout(state_v_first, kwargs)
    refuse_others("fused_recurrent_gla", kwargs)
    cu_seqlens = _SHAPES.check(
        cu_seqlens, values_first=state_v_first, q=q, k=k, v=v, gk=gk, gv=gv,
        initial_state=initial_state)
    options = dict(
        scale=scale, initial_state=initial_state, output_final_state=output_final_state,
        reverse=reverse, state_v_first=state_v_first, cu_seqlens=cu_seqlens,
    )
    if gv is None:
        return recurrence(q, k, v, decay=gk, **options)
    if gk is None:
        return recurrence_decaying_columns(q, k, v, gv, **options)
    return recurrence_of_columns(q, k, v, decay=gk, column_decay=gv, **options)

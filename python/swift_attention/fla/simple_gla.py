"""Simple gated linear attention: a decay per token and head, as in Mamba-2."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._arguments import refuse_head_first, refuse_others, take_chunk_size, take_layout
from ._recurrence import default_scale, recurrence, widened
from ._shapes import Shapes

_SHAPES = Shapes(
    "q, k [B, T, H, K]; v [B, T, H, V]; g? [B, T, H]; g_gamma? [H]; initial_state? [N, H, K, V]")


def chunk_simple_gla(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None = None,
    g_gamma: Tensor | None = None,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_cpu: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """S = exp(g) S + k vᵀ, o = scale Sᵀ q.

    q, k [B, T, H, K]; v [B, T, H, V]; g [B, T, H] and g_gamma [H] are natural logarithms, at most
    0, and are added. States are [N, H, K, V], or [N, H, V, K] with `state_v_first`.
    Returns the output [B, T, H, V] and the final state, None unless `output_final_state`.
    """
    refuse_head_first(kwargs)
    take_chunk_size(kwargs)
    refuse_others("chunk_simple_gla", kwargs)
    cu_seqlens = _SHAPES.check(
        cu_seqlens, cu_seqlens_cpu, values_first=state_v_first, q=q, k=k, v=v, g=g,
        g_gamma=g_gamma, initial_state=initial_state)
    return recurrence(
        q, k, v, decay=_decay(g, g_gamma), scale=scale, initial_state=initial_state,
        output_final_state=output_final_state, state_v_first=state_v_first, cu_seqlens=cu_seqlens,
    )


def fused_chunk_simple_gla(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None = None,
    g_gamma: Tensor | None = None,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Like `chunk_simple_gla`."""
    return chunk_simple_gla(
        q, k, v, g, g_gamma, scale, initial_state, output_final_state, cu_seqlens=cu_seqlens
    )


def fused_recurrent_simple_gla(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None = None,
    g_gamma: Tensor | None = None,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Like `chunk_simple_gla`; with `reverse` from the last token to the first."""
    state_v_first = take_layout(state_v_first, kwargs)
    refuse_others("fused_recurrent_simple_gla", kwargs)
    cu_seqlens = _SHAPES.check(
        cu_seqlens, values_first=state_v_first, q=q, k=k, v=v, g=g, g_gamma=g_gamma,
        initial_state=initial_state)
    return recurrence(
        q, k, v, decay=_decay(g, g_gamma), scale=scale, initial_state=initial_state,
        output_final_state=output_final_state, reverse=reverse, state_v_first=state_v_first,
        cu_seqlens=cu_seqlens,
    )


def parallel_simple_gla(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None = None,
    scale: float | None = None,
    output_attentions: bool = False,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_cpu: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Like `chunk_simple_gla`, without states.

    With `output_attentions` the second result is the matrix of weights, [B, H, T, T]:
    scale · q_i·k_j · exp(g_{j+1} + … + g_i) for j ≤ i.
    """
    cu_seqlens = _SHAPES.check(cu_seqlens, cu_seqlens_cpu, q=q, k=k, v=v, g=g)
    if output_attentions and cu_seqlens is not None:
        raise ValueError("output_attentions was True, must be False with cu_seqlens")
    output, _ = recurrence(q, k, v, decay=g, scale=scale, cu_seqlens=cu_seqlens)
    if not output_attentions:
        return output, None
    scores = torch.einsum("bihk,bjhk->bhij", widened(q), widened(k)) * default_scale(scale, k)
    if g is not None:
        # Separate sums: differences of cumulative sums lose their digits after strong gates.
        places = torch.arange(q.shape[1], device=q.device)
        steps = widened(g).transpose(1, 2).unsqueeze(-1)
        steps = steps.expand(*steps.shape[:-1], q.shape[1])
        between = steps.masked_fill(places.unsqueeze(1) <= places, 0).cumsum(-2)
        scores = scores * between.exp()
    return output, scores.tril().to(q.dtype)


def _decay(g: Tensor | None, g_gamma: Tensor | None) -> Tensor | None:
    if g is None or g_gamma is None:
        return g_gamma if g is None else g
    return widened(g) + g_gamma

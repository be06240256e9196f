"""Gated slot attention: softmax attention over slots with decays."""

from __future__ import annotations

from typing import Any, Optional, Tuple

from torch import Tensor

from ._arguments import refuse_head_first, refuse_others, take_chunk_size
from ._columns import recurrence_decaying_columns
from ._recurrence import recurrence, repeated_heads, widened
from ._shapes import Shapes
from .gates import additive_gate

SlotStates = Tuple[Optional[Tensor], Optional[Tensor]]
_SHAPES = Shapes(
    "q [B, T, HQ, K]; k [B, T, H, K]; v [B, T, H, V]; s, g? [B, T, H, M];"
    " initial_state[0]? [N, H, K, M]; initial_state[1]? [N, H, M, V]")
_UNGROUPED = Shapes(
    "q, k [B, T, H, K]; v [B, T, H, V]; s, g? [B, T, H, M];"
    " initial_state[0]? [N, H, K, M]; initial_state[1]? [N, H, M, V]")


def chunk_gsa(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    s: Tensor,
    g: Tensor | None = None,
    scale: float | None = None,
    initial_state: SlotStates | None = None,
    output_final_state: bool = False,
    checkpoint_level: int = 2,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_cpu: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, SlotStates]:
    """A = A diag(e^g) + k sᵀ, C = diag(e^g) C + s vᵀ, o = Cᵀ softmax(scale Aᵀ q).

    q [B, T, HQ, K]; k [B, T, H, K]; v [B, T, H, V]; s [B, T, H, M]; g [B, T, H, M], a natural
    logarithm, at most 0; H divides HQ. Without g, s are logits from which `fused_additive_gate`
    makes both. States are pairs of [N, H, K, M] and [N, H, M, V]. Returns the output [B, T, HQ, V]
    and the final states, both None unless `output_final_state`.
    """
    refuse_head_first(kwargs)
    take_chunk_size(kwargs)
    refuse_others("chunk_gsa", kwargs)
    if checkpoint_level not in (0, 1, 2):
        raise ValueError(f"checkpoint_level was {checkpoint_level}, must be 0, 1 or 2")
    return _gsa(
        q, k, v, s, g, scale, initial_state, output_final_state, False,
        _checked(_SHAPES, q, k, v, s, g, initial_state, cu_seqlens, cu_seqlens_cpu))


def fused_recurrent_gsa(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    s: Tensor,
    g: Tensor | None = None,
    scale: float | None = None,
    initial_state: SlotStates | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, SlotStates]:
    """Like `chunk_gsa`; with `reverse` from the last token to the first."""
    return _gsa(
        q, k, v, s, g, scale, initial_state, output_final_state, reverse,
        _checked(_SHAPES, q, k, v, s, g, initial_state, cu_seqlens, None))


def chunk_abc(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    s: Tensor,
    initial_state: SlotStates | None = None,
    output_final_state: bool = False,
) -> tuple[Tensor, SlotStates | None]:
    """Attention with bounded memory: `chunk_gsa` of logits s without a gate.

    The final states are a single None unless `output_final_state`.
    """
    _checked(_UNGROUPED, q, k, v, s, None, initial_state, None, None)
    output, states = _gsa(
        q, k, v, s, None, None, initial_state, output_final_state, False, None)
    return output, states if output_final_state else None


def _checked(
    shapes: Shapes, q: Tensor, k: Tensor, v: Tensor, s: Tensor, g: Tensor | None,
    states: SlotStates | None, cu_seqlens: Tensor | None, cu_seqlens_cpu: Tensor | None,
) -> Tensor | None:
    keys, values = (None, None) if states is None else states
    return shapes.check(
        cu_seqlens, cu_seqlens_cpu, q=q, k=k, v=v, s=s, g=g,
        **{"initial_state[0]": keys, "initial_state[1]": values})


def _gsa(
    q: Tensor, k: Tensor, v: Tensor, s: Tensor, g: Tensor | None, scale: float | None,
    initial_state: SlotStates | None, output_final_state: bool, reverse: bool,
    cu_seqlens: Tensor | None,
) -> tuple[Tensor, SlotStates]:
    key_state, value_state = (None, None) if initial_state is None else initial_state
    heads, own = q.shape[2], k.shape[2]
    if g is None:
        s, g, _ = additive_gate(s, None, cu_seqlens)
        s = s.to(k.dtype)
    k, v, s, g = (repeated_heads(x, heads) for x in (k, v, s, g))
    key_state, value_state = (
        None if x is None else repeated_heads(x, heads, axis=1) for x in (key_state, value_state)
    )
    options = dict(
        output_final_state=output_final_state, reverse=reverse, cu_seqlens=cu_seqlens
    )
    scores, keys = recurrence_decaying_columns(
        q, k, s, g, scale=scale, initial_state=key_state, **options
    )
    weights = widened(scores).softmax(-1).to(q.dtype)
    output, values = recurrence(
        weights, s, v, decay=g, scale=1, initial_state=value_state, **options
    )
    if not output_final_state:
        return output, (None, None)
    group = heads // own
    if group > 1:
        keys, values = (x[:, ::group].contiguous() for x in (keys, values))
    return output, (keys, values)

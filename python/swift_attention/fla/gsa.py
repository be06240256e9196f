"""Gated slot attention: softmax attention over slots, each of which forgets."""

from __future__ import annotations

from typing import Any, Optional, Tuple

from torch import Tensor

from ._arguments import check_packing, refuse_head_first, refuse_others, take_chunk_size
from ._columns import recurrence_decaying_columns
from ._recurrence import on_host, recurrence, repeated_heads, widened
from .gates import fused_additive_gate

SlotStates = Tuple[Optional[Tensor], Optional[Tensor]]


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
    logarithm, at most 0; H divides HQ. Without g, s are logits of which `fused_additive_gate` makes
    both. States are pairs of [N, H, K, M] and [N, H, M, V]. Returns the output [B, T, HQ, V] and
    the final states, both None unless `output_final_state`.
    """
    cu_seqlens = on_host(cu_seqlens, cu_seqlens_cpu)
    refuse_head_first(kwargs)
    take_chunk_size(kwargs)
    refuse_others("chunk_gsa", kwargs)
    if checkpoint_level not in (0, 1, 2):
        raise ValueError(f"checkpoint_level was {checkpoint_level}, must be 0, 1 or 2")
    return fused_recurrent_gsa(
        q, k, v, s, g, scale, initial_state, output_final_state, cu_seqlens=cu_seqlens
    )


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
    """As `chunk_gsa`; with `reverse` from the last token to the first."""
    key_state, value_state = (None, None) if initial_state is None else initial_state
    check_packing(q, cu_seqlens, key_state)
    heads, own = q.shape[2], k.shape[2]
    if own == 0 or heads % own:
        raise ValueError(f"q had {heads} heads, must have a multiple of the {own} of k")
    if g is None:
        s, g, _ = fused_additive_gate(
            s, cu_seqlens=cu_seqlens, output_dtype=k.dtype, gate_dtype=widened(s).dtype
        )
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


def chunk_abc(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    s: Tensor,
    initial_state: SlotStates | None = None,
    output_final_state: bool = False,
) -> tuple[Tensor, SlotStates | None]:
    """Attention with bounded memory: `chunk_gsa` of logits s without a gate.

    The final states are one None unless `output_final_state`.
    """
    output, states = fused_recurrent_gsa(
        q, k, v, s, None, None, initial_state, output_final_state
    )
    return output, states if output_final_state else None

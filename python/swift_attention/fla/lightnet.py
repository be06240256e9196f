"""LightNet: keys that are a cumulative softmax over the sequence."""

from __future__ import annotations

from typing import Optional, Tuple

from torch import Tensor

from ._shapes import Shapes
from .gates import fused_additive_gate
from .gla import fused_recurrent_gla

LightNetState = Tuple[Optional[Tensor], Optional[Tensor]]
_SHAPES = Shapes(
    "q, k [B, T, H, K]; v [B, T, H, V];"
    " initial_state[0]? [N, H, K, V]; initial_state[1]? [N, 1, H, K]")


def chunk_lightnet(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float | None = None,
    initial_state: LightNetState | None = None,
    output_final_state: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, LightNetState]:
    """Gated linear attention with the keys and the decay that `fused_additive_gate` makes from k.

    q and the logits k [B, T, H, K]; v [B, T, H, V]. States are pairs of [N, H, K, V], or
    [N, H, V, K] with `state_v_first`, and the logarithm of the sum [N, 1, H, K], whose final value
    is always returned.
    """
    state, sums = (None, None) if initial_state is None else initial_state
    cu_seqlens = _SHAPES.check(
        cu_seqlens, values_first=state_v_first, q=q, k=k, v=v,
        **{"initial_state[0]": state, "initial_state[1]": sums})
    k, g, last = fused_additive_gate(k, sums, cu_seqlens)
    output, state = fused_recurrent_gla(
        q, k, v, g, scale=scale, initial_state=state, output_final_state=output_final_state,
        state_v_first=state_v_first, cu_seqlens=cu_seqlens,
    )
    return output, (state, last)


def fused_recurrent_lightnet(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float | None = None,
    initial_state: LightNetState | None = None,
    output_final_state: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, LightNetState]:
    """Like `chunk_lightnet`."""
    return chunk_lightnet(
        q, k, v, scale, initial_state, output_final_state, state_v_first, cu_seqlens
    )

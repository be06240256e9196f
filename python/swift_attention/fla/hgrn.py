"""HGRN: a gated scan with one state per channel."""

from __future__ import annotations

from torch import Tensor

from .._operators.gated_scan import gated_scan
from ._shapes import Shapes

_SHAPES = Shapes("x, g [B, T, D]; initial_state? [N, D]")


def chunk_hgrn(
    x: Tensor,
    g: Tensor,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """h = e^g ⊙ h + x: all h [B, T, D], and the last [B, D], None unless `output_final_state`.

    x [B, T, D]; g [B, T, D], a natural logarithm, at most 0; initial_state [B, D].
    """
    return fused_recurrent_hgrn(x, g, initial_state, output_final_state)


def fused_recurrent_hgrn(
    x: Tensor,
    g: Tensor,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Like `chunk_hgrn`, for packed sequences too, with states [N, D]."""
    cu_seqlens = _SHAPES.check(cu_seqlens, x=x, g=g, initial_state=initial_state)
    output, state = gated_scan(x, g, initial_state, cu_seqlens)
    return output, state if output_final_state else None

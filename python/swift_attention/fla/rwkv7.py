"""RWKV-7: a diagonal-plus-low-rank transition."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ._recurrence import widened
from ._shapes import Shapes
from .generalized_delta_rule import chunk_dplr_delta_rule, fused_recurrent_dplr_delta_rule

_SHAPES = Shapes(
    "r, w, k, a, b, kk [B, T, H, K]; v [B, T, H, V]; initial_state? [N, H, K, V]")


def chunk_rwkv7(
    r: Tensor,
    w: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor,
    b: Tensor,
    scale: float = 1.0,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_cpu: Tensor | None = None,
    safe_gate: bool = False,
    chunk_size: int | None = None,
    disable_recompute: bool = False,
    cp_context: Any = None,
    lower_bound: float | None = None,
) -> tuple[Tensor, Tensor | None]:
    """S = diag(e^w) S₋ + b (S₋ᵀ a)ᵀ + k vᵀ, o = scale Sᵀ r, as `chunk_dplr_delta_rule`."""
    cu_seqlens = _SHAPES.check(
        cu_seqlens, cu_seqlens_cpu, r=r, w=w, k=k, v=v, a=a, b=b, initial_state=initial_state)
    return chunk_dplr_delta_rule(
        r, k, v, a, b, w, scale, initial_state, output_final_state, cu_seqlens, None,
        safe_gate, chunk_size, disable_recompute, cp_context, lower_bound,
    )


def fused_recurrent_rwkv7(
    r: Tensor,
    w: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor,
    b: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = True,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Like `chunk_rwkv7`, with a scale of 1/√K and the final state by default."""
    cu_seqlens = _SHAPES.check(
        cu_seqlens, r=r, w=w, k=k, v=v, a=a, b=b, initial_state=initial_state)
    return fused_recurrent_dplr_delta_rule(
        r, k, v, a, b, w, scale, initial_state, output_final_state, cu_seqlens=cu_seqlens
    )


def fused_mul_recurrent_rwkv7(
    r: Tensor,
    w: Tensor,
    k: Tensor,
    v: Tensor,
    kk: Tensor,
    a: Tensor,
    scale: float | None = 1.0,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Like `fused_recurrent_rwkv7` with −kk as a and kk ⊙ a as b. It has gradients too."""
    cu_seqlens = _SHAPES.check(
        cu_seqlens, r=r, w=w, k=k, v=v, kk=kk, a=a, initial_state=initial_state)
    return fused_recurrent_dplr_delta_rule(
        r, k, v, -kk, widened(kk) * a, w, scale, initial_state, output_final_state, reverse,
        cu_seqlens,
    )

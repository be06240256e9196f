"""The delta rule: a token replaces a fraction of what the state holds for its key."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._arguments import refuse_head_first, refuse_others, take_chunk_size
from ._columns import recurrence_of_columns
from ._recurrence import default_scale, recurrence, widened
from ._shapes import Shapes

_SHAPES = Shapes("q, k [B, T, H, K]; v [B, T, H, V]; beta [B, T, H]; initial_state? [N, H, K, V]")
_BY_COLUMN = Shapes(
    "q, k [B, T, H, K]; v [B, T, H, V]; beta? [B, T, H] or [B, T, H, V];"
    " initial_state? [N, H, K, V]")
_CHUNKS = (16, 32, 64)


def chunk_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_cpu: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """S = S + β k (v − Sᵀ k)ᵀ, o = scale Sᵀ q.

    q, k [B, T, H, K]; v [B, T, H, V]; beta [B, T, H]; states [N, H, K, V]. With
    `use_qk_l2norm_in_kernel` queries and keys are normalised first. float32 is supported too, which
    flash-linear-attention rejects. Returns the output [B, T, H, V] and the final state, None
    unless `output_final_state`.
    """
    refuse_head_first(kwargs)
    take_chunk_size(kwargs, _CHUNKS)
    refuse_others("chunk_delta_rule", kwargs)
    cu_seqlens = _SHAPES.check(
        cu_seqlens, cu_seqlens_cpu, q=q, k=k, v=v, beta=beta, initial_state=initial_state)
    return recurrence(
        q, k, v, beta=beta, scale=scale, initial_state=initial_state,
        output_final_state=output_final_state, normalizes=use_qk_l2norm_in_kernel,
        cu_seqlens=cu_seqlens,
    )


def fused_chunk_delta_rule(**kwargs: Any) -> None:
    """Removed by flash-linear-attention in favour of `chunk_delta_rule`."""
    raise NotImplementedError("fused_chunk_delta_rule was removed: use chunk_delta_rule")


def fused_recurrent_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor | None = None,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Like `chunk_delta_rule`; beta may be None, for 1, or [B, T, H, V], one per column of S."""
    if scale is not None and scale <= 0:
        raise ValueError(f"scale was {scale}, must be positive")
    cu_seqlens = _BY_COLUMN.check(
        cu_seqlens, q=q, k=k, v=v, beta=beta, initial_state=initial_state)
    if beta is None:
        beta = torch.ones_like(v[..., 0])
    apply = recurrence_of_columns if beta.ndim == v.ndim else recurrence
    return apply(
        q, k, v, beta=beta, scale=scale, initial_state=initial_state,
        output_final_state=output_final_state, normalizes=use_qk_l2norm_in_kernel,
        cu_seqlens=cu_seqlens,
    )


def parallel_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    scale: float | None = None,
    output_attentions: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Like `chunk_delta_rule`, without states.

    With `output_attentions` the second result is the matrix that multiplies β v, [B, H, T, T]:
    tril(scale Q Kᵀ) (1 + strict_tril(β K Kᵀ))⁻¹.
    """
    _SHAPES.check(q=q, k=k, v=v, beta=beta)
    output, _ = recurrence(q, k, v, beta=beta, scale=scale)
    if not output_attentions:
        return output, None
    q, keys, gate = (widened(x).transpose(1, 2) for x in (q, k, beta))
    between = keys @ keys.transpose(-1, -2)
    scores = (q @ keys.transpose(-1, -2)).tril() * default_scale(scale, k)
    weights = torch.linalg.solve_triangular(
        (gate.unsqueeze(-1) * between).tril(-1), scores, upper=False, left=False,
        unitriangular=True,
    )
    return output, weights.to(k.dtype)

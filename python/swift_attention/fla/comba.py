"""Comba: the state is read by a key of its own before it decays."""

from __future__ import annotations

import torch
from torch import Tensor

from ._recurrence import recurrence, repeated_heads, unit_vectors, widened
from ._shapes import Shapes

_SHAPES = Shapes(
    "q, k, p? [B, T, H, K]; v [B, T, HV, V]; g, beta? [B, T, HV]; initial_state? [N, HV, K, V]")


def chunk_comba(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    p: Tensor | None,
    g: Tensor,
    beta: Tensor | None = None,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_cpu: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """S = e^g S₋ + β k (v − S₋ᵀ p)ᵀ, o = scale Sᵀ q, S₋ being the state before the token.

    q, k, p [B, T, H, K], p absent for k; v [B, T, HV, V], H dividing HV; g, a natural logarithm, at
    most 0, and beta, absent for 1, [B, T, HV]; states [N, HV, K, V]. With
    `use_qk_l2norm_in_kernel` q, k and p become unit vectors first. Returns the output
    [B, T, HV, V] and the final state, None unless `output_final_state`.
    """
    cu_seqlens = _SHAPES.check(
        cu_seqlens, cu_seqlens_cpu, q=q, k=k, v=v, p=p, g=g, beta=beta,
        initial_state=initial_state)
    if p is None:
        p = k
    if use_qk_l2norm_in_kernel:
        q, k, p = unit_vectors(q), unit_vectors(k), unit_vectors(p)
    if beta is None:
        beta = torch.ones_like(v[..., 0])
    heads = v.shape[2]
    share = widened(beta).unsqueeze(-1)
    return recurrence(
        q, k, (share * v).to(v.dtype), decay=g,
        low_rank=(repeated_heads(p, heads), -share * repeated_heads(k, heads)), scale=scale,
        initial_state=initial_state, output_final_state=output_final_state, cu_seqlens=cu_seqlens,
    )


def fused_recurrent_comba(
    q: Tensor,
    k: Tensor,
    p: Tensor | None,
    v: Tensor,
    g: Tensor,
    beta: Tensor | None = None,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """As `chunk_comba`, with p before v as flash-linear-attention has it here."""
    return chunk_comba(
        q, k, v, p, g, beta, scale, initial_state, output_final_state, use_qk_l2norm_in_kernel,
        cu_seqlens,
    )

"""Gated DeltaProduct: several steps of the delta rule a token."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._arguments import check_packing, check_shape, refuse_context_parallel
from ._recurrence import on_host, recurrence, widened


def chunk_gated_delta_product(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor,
    num_householder: int,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_cpu: Tensor | None = None,
    cp_context: Any = None,
) -> tuple[Tensor, Tensor | None]:
    """S = e^g S, then n times S = S + β k (v − Sᵀ k)ᵀ, and o = scale Sᵀ q.

    q [B, T, H, K]; k [B, T·n, H, K], v [B, T·n, H, V] and beta [B, T·n, H] with the n =
    `num_householder` steps of a token one behind the other; g [B, T, H], a natural logarithm, at
    most 0, or None; states [N, H, K, V]; `cu_seqlens` counts tokens. Returns the output
    [B, T, H, V] and the final state, None unless `output_final_state`.
    """
    cu_seqlens = on_host(cu_seqlens, cu_seqlens_cpu)
    refuse_context_parallel(cp_context)
    check_packing(q, cu_seqlens, initial_state)
    batch, length, heads, width = q.shape
    steps = num_householder
    if steps < 1:
        raise ValueError(f"num_householder was {steps}, must be at least 1")
    check_shape("k", k, (batch, length * steps, heads, width))
    check_shape("v", v, (batch, length * steps, heads, v.shape[-1]))
    check_shape("beta", beta, v.shape[:3])
    # A token decays the state before its first step, and reads it after its last.
    decay = None
    if g is not None:
        check_shape("g", g, q.shape[:3])
        rest = widened(g).new_zeros(batch, length, steps - 1, heads)
        decay = torch.cat([widened(g).unsqueeze(2), rest], 2).reshape(v.shape[:3])
    rest = q.new_zeros(batch, length, steps - 1, heads, width)
    queries = torch.cat([rest, q.unsqueeze(2)], 2).reshape(k.shape)
    output, state = recurrence(
        queries, k, v, decay=decay, beta=beta, scale=scale, initial_state=initial_state,
        output_final_state=output_final_state, normalizes=use_qk_l2norm_in_kernel,
        cu_seqlens=None if cu_seqlens is None else cu_seqlens * steps,
    )
    return output.reshape(batch, length, steps, heads, -1)[:, :, -1].contiguous(), state

"""Gated DeltaProduct: several steps of the delta rule per token."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._arguments import refuse_context_parallel
from ._recurrence import recurrence, widened
from ._shapes import Shapes

_SHAPES = Shapes(
    "q [B, T, H, K]; k [B, T·n, H, K]; v [B, T·n, H, V]; beta [B, T·n, H]; g? [B, T, H];"
    " initial_state? [N, H, K, V]")


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
    `num_householder` steps of a token adjacent; g? [B, T, H], a natural logarithm, at
    most 0, or None; states [N, H, K, V]; `cu_seqlens` counts tokens. Returns the output
    [B, T, H, V] and the final state, None unless `output_final_state`.
    """
    refuse_context_parallel(cp_context)
    steps = num_householder
    if steps < 1:
        raise ValueError(f"num_householder was {steps}, must be at least 1")
    cu_seqlens = _SHAPES.check(
        cu_seqlens, cu_seqlens_cpu, sizes={"n": steps}, q=q, k=k, v=v, beta=beta, g=g,
        initial_state=initial_state)
    batch, length, heads, width = q.shape
    # A token decays the state before its first step, and reads it after its last.
    decay = None
    if g is not None:
        rest = widened(g).new_zeros(batch, length, steps - 1, heads)
        decay = torch.cat([widened(g).unsqueeze(2), rest], 2).reshape(v.shape[:3])
    rest = q.new_zeros(batch, length, steps - 1, heads, width)
    queries = torch.cat([rest, q.unsqueeze(2)], 2).reshape(k.shape)
    output, state = recurrence(
        queries, k, v, decay=decay, beta=beta, scale=scale, initial_state=initial_state,
        output_final_state=output_final_state, normalizes=use_qk_l2norm_in_kernel,
        cu_seqlens=None if cu_seqlens is None else cu_seqlens * steps,
    )
    output = output.reshape(batch, length, steps, heads, v.shape[-1])
    return output[:, :, -1].contiguous(), state

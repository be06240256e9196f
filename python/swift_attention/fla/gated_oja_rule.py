"""The gated Oja rule: the delta rule with keys and values exchanged."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .._operators.eager import check_tensors
from ._arguments import refuse_head_first, refuse_others, take_chunk_size
from ._columns import recurrence_decaying_columns
from ._recurrence import unit_vectors
from ._shapes import Shapes

_SHAPES = Shapes(
    "q, k [B, T, H, K]; v, gv? [B, T, HV, V]; beta? [B, T, HV]; initial_state? [N, HV, K, V]")
_CHUNKS = (16, 32, 64)


def chunk_gated_oja_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gv: Tensor,
    beta: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_q_l2norm: bool = False,
    use_k_l2norm: bool = False,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_cpu: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """S' = S diag(e^gv), S = S' + β (k − S' v) vᵀ, o = scale Sᵀ q.

    q, k [B, T, H, K]; v [B, T, HV, V], H dividing HV; gv [B, T, HV, V], a natural logarithm, at
    most 0; beta [B, T, HV]; states [N, HV, K, V]. Returns the output [B, T, HV, V] and the final
    state, None unless `output_final_state`.
    """
    refuse_head_first(kwargs)
    take_chunk_size(kwargs, _CHUNKS)
    check_tensors(gv=gv, beta=beta)
    cu_seqlens = _SHAPES.check(
        cu_seqlens, cu_seqlens_cpu, q=q, k=k, v=v, gv=gv, beta=beta, initial_state=initial_state)
    return fused_recurrent_gated_oja_rule(
        q, k, v, gv, beta, scale, initial_state, output_final_state, use_q_l2norm, use_k_l2norm,
        cu_seqlens, **kwargs,
    )


def fused_recurrent_gated_oja_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gv: Tensor | None = None,
    beta: Tensor | None = None,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_q_l2norm: bool = False,
    use_k_l2norm: bool = False,
    cu_seqlens: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Like `chunk_gated_oja_rule`; gv may be None, and beta, for 1. It has gradients too.

    The keyword argument `use_qk_l2norm_in_kernel` stands for both of the others.
    """
    uses_both = kwargs.pop("use_qk_l2norm_in_kernel", False)
    refuse_others("gated_oja_rule", kwargs)
    cu_seqlens = _SHAPES.check(
        cu_seqlens, q=q, k=k, v=v, gv=gv, beta=beta, initial_state=initial_state)
    if beta is None:
        beta = torch.ones_like(v[..., 0])
    return recurrence_decaying_columns(
        unit_vectors(q) if use_q_l2norm or uses_both else q,
        unit_vectors(k) if use_k_l2norm or uses_both else k,
        v, gv, beta=beta, scale=scale, initial_state=initial_state,
        output_final_state=output_final_state, cu_seqlens=cu_seqlens,
    )

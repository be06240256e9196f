"""Gated DeltaNet: the delta rule on a state that decays."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._arguments import (
    check_eigenvalues,
    refuse_context_parallel,
    refuse_head_first,
    refuse_others,
    take_chunk_size,
    take_layout,
)
from ._columns import recurrence_of_columns
from ._recurrence import recurrence, widened
from ._shapes import Shapes
from .gates import gdn_gate, write_strength

_SHAPES = Shapes(
    "q, k [B, T, H, K]; v [B, T, HV, V]; g, beta [B, T, HV]; A_log?, dt_bias? (HV);"
    " initial_state? [N, HV, K, V]")
_FURTHER_SHAPES = Shapes(
    "q, k [B, T, H, K]; v [B, T, HV, V]; g? [B, T, HV]; gk? [B, T, HV, K]; gv? [B, T, HV, V];"
    " beta? [B, T, HV] or [B, T, HV, V]; A_log?, dt_bias? (HV); initial_state? [N, HV, K, V]")

_CHUNKS = (16, 32, 64)


def chunk_gated_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    beta: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_beta_sigmoid_in_kernel: bool = False,
    allow_neg_eigval: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_cpu: Tensor | None = None,
    chunk_indices: Tensor | None = None,
    cp_context: Any = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """S = e^g S + β k (v − e^g Sᵀ k)ᵀ, o = scale Sᵀ q.

    q, k [B, T, H, K]; v [B, T, HV, V], H dividing HV; g, a natural logarithm, at most 0, and beta
    [B, T, HV]; states [N, HV, K, V], or [N, HV, V, K] with `state_v_first`. With
    `use_gate_in_kernel` the decay is that of `fused_gdn_gate` with `A_log` and `dt_bias`; with
    `use_beta_sigmoid_in_kernel` β is its sigmoid, twice that with `allow_neg_eigval`. Returns the
    output [B, T, HV, V] and the final state, None unless `output_final_state`.
    """
    state_v_first = take_layout(state_v_first, kwargs)
    refuse_head_first(kwargs)
    take_chunk_size(kwargs, _CHUNKS)
    refuse_context_parallel(cp_context)
    gate = {name: kwargs.pop(name, None) for name in ("use_gate_in_kernel", "A_log", "dt_bias")}
    refuse_others("chunk_gated_delta_rule", kwargs)
    cu_seqlens = _SHAPES.check(
        cu_seqlens, cu_seqlens_cpu, values_first=state_v_first, q=q, k=k, v=v, g=g, beta=beta,
        A_log=gate["A_log"], dt_bias=gate["dt_bias"], initial_state=initial_state)
    return _gated_delta_rule(
        q, k, v, _decay(g, **gate), None, None,
        _write_strength(v, beta, use_beta_sigmoid_in_kernel, allow_neg_eigval), scale=scale,
        initial_state=initial_state, output_final_state=output_final_state,
        normalizes=use_qk_l2norm_in_kernel, state_v_first=state_v_first, cu_seqlens=cu_seqlens,
    )


def fused_recurrent_gated_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None = None,
    gk: Tensor | None = None,
    gv: Tensor | None = None,
    beta: Tensor | None = None,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_gate_in_kernel: bool = False,
    A_log: Tensor | None = None,
    dt_bias: Tensor | None = None,
    use_beta_sigmoid_in_kernel: bool = False,
    allow_neg_eigval: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Like `chunk_gated_delta_rule`, with further decays.

    Those given are multiplied: g [B, T, HV], gk [B, T, HV, K] of the rows of S, gv [B, T, HV, V] of
    its columns. beta may be None, for 1, or [B, T, HV, V], one per column.
    """
    state_v_first = take_layout(state_v_first, kwargs)
    refuse_others("fused_recurrent_gated_delta_rule", kwargs)
    cu_seqlens = _FURTHER_SHAPES.check(
        cu_seqlens, values_first=state_v_first, q=q, k=k, v=v, g=g, gk=gk, gv=gv, beta=beta,
        A_log=A_log, dt_bias=dt_bias, initial_state=initial_state)
    return _gated_delta_rule(
        q, k, v, _decay(g, use_gate_in_kernel, A_log, dt_bias), gk, gv,
        _write_strength(v, beta, use_beta_sigmoid_in_kernel, allow_neg_eigval), scale=scale,
        initial_state=initial_state, output_final_state=output_final_state,
        normalizes=use_qk_l2norm_in_kernel, state_v_first=state_v_first, cu_seqlens=cu_seqlens,
    )


def _gated_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    gk: Tensor | None,
    gv: Tensor | None,
    beta: Tensor,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    decay = gk if g is None else g
    if g is not None and gk is not None:
        decay = widened(gk) + widened(g).unsqueeze(-1)
    if gv is None and beta.ndim == 3:
        return recurrence(q, k, v, decay=decay, beta=beta, **options)
    return recurrence_of_columns(q, k, v, decay=decay, column_decay=gv, beta=beta, **options)


def _decay(
    g: Tensor | None, use_gate_in_kernel: bool | None, A_log: Tensor | None,
    dt_bias: Tensor | None,
) -> Tensor | None:
    if not use_gate_in_kernel:
        return g
    if g is None or A_log is None:
        missing = "g" if g is None else "A_log"
        raise ValueError(f"{missing} was None, must be given with use_gate_in_kernel=True")
    return gdn_gate(g, A_log, dt_bias)


def _write_strength(
    v: Tensor, beta: Tensor | None, use_sigmoid: bool, allow_neg_eigval: bool
) -> Tensor:
    check_eigenvalues(allow_neg_eigval, use_sigmoid)
    if beta is None:
        beta = torch.ones_like(v[..., 0])
    return write_strength(beta, use_sigmoid, allow_neg_eigval)


chunk_gdn = chunk_gated_delta_rule
fused_recurrent_gdn = fused_recurrent_gated_delta_rule

"""Gated DeltaNet: the delta rule on a state that decays."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._arguments import (
    check_eigenvalues,
    check_value_heads,
    refuse_context_parallel,
    refuse_head_first,
    refuse_others,
    take_chunk_size,
    take_layout,
)
from ._columns import recurrence_of_columns
from ._recurrence import on_host, recurrence, widened
from .gates import fused_gdn_gate, write_strength

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
    cu_seqlens = on_host(cu_seqlens, cu_seqlens_cpu)
    state_v_first = take_layout(state_v_first, kwargs)
    refuse_head_first(kwargs)
    take_chunk_size(kwargs, _CHUNKS)
    refuse_context_parallel(cp_context)
    gate = {name: kwargs.pop(name, None) for name in ("use_gate_in_kernel", "A_log", "dt_bias")}
    refuse_others("chunk_gated_delta_rule", kwargs)
    return fused_recurrent_gated_delta_rule(
        q, k, v, g, beta=beta, scale=scale, initial_state=initial_state,
        output_final_state=output_final_state, use_qk_l2norm_in_kernel=use_qk_l2norm_in_kernel,
        use_gate_in_kernel=bool(gate["use_gate_in_kernel"]), A_log=gate["A_log"],
        dt_bias=gate["dt_bias"], use_beta_sigmoid_in_kernel=use_beta_sigmoid_in_kernel,
        allow_neg_eigval=allow_neg_eigval, state_v_first=state_v_first, cu_seqlens=cu_seqlens,
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
    """As `chunk_gated_delta_rule`, with further decays.

    Those present multiply: g [B, T, HV], gk [B, T, HV, K] of the rows of S, gv [B, T, HV, V] of its
    columns. beta may be absent, for 1, or [B, T, HV, V], one a column.
    """
    state_v_first = take_layout(state_v_first, kwargs)
    refuse_others("fused_recurrent_gated_delta_rule", kwargs)
    check_value_heads(k, v)
    check_eigenvalues(allow_neg_eigval, use_beta_sigmoid_in_kernel)
    if use_gate_in_kernel:
        if g is None or A_log is None:
            missing = "g" if g is None else "A_log"
            raise ValueError(f"{missing} was None, must be given with use_gate_in_kernel=True")
        g = fused_gdn_gate(g, A_log, dt_bias, widened(g).dtype)
    if beta is None:
        beta = torch.ones_like(v[..., 0])
    options = dict(
        decay=_decay_of_rows(g, gk),
        beta=write_strength(beta, use_beta_sigmoid_in_kernel, allow_neg_eigval), scale=scale,
        initial_state=initial_state, output_final_state=output_final_state,
        normalizes=use_qk_l2norm_in_kernel, state_v_first=state_v_first, cu_seqlens=cu_seqlens,
    )
    if gv is None and beta.ndim == 3:
        return recurrence(q, k, v, **options)
    return recurrence_of_columns(q, k, v, column_decay=gv, **options)


def _decay_of_rows(g: Tensor | None, gk: Tensor | None) -> Tensor | None:
    if g is None or gk is None:
        return gk if g is None else g
    return widened(gk) + widened(g).unsqueeze(-1)


chunk_gdn = chunk_gated_delta_rule
fused_recurrent_gdn = fused_recurrent_gated_delta_rule

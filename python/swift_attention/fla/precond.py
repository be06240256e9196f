"""Delta rules whose written keys are preconditioned by the history of keys."""

from __future__ import annotations

import math
from typing import Any, Optional, Tuple

import torch
from torch import Tensor

from .._operators.gated_scan import gated_scan
from ._arguments import check_float32, refuse_context_parallel, refuse_others
from ._columns import recurrence_of_columns
from ._recurrence import recurrence, repeated_heads, unit_vectors, widened
from ._shapes import Shapes
from .gates import kda_gate
from .kda import check_safe_gate

_CENTER = -0.2
Results = Tuple[Tensor, Optional[Tensor], Optional[Tensor]]
_COMMON = (
    "g_atk, beta_atk [B, T, H]; log_atk_scale? [H]; initial_A_state? [N, H, K]")
_SHAPES = Shapes(
    "q, k [B, T, H, K]; v [B, T, HV, V]; g, beta [B, T, HV]; initial_state? [N, HV, K, V];"
    + _COMMON)
_FURTHER_SHAPES = Shapes(
    "q, k [B, T, H, K]; v [B, T, HV, V]; g? [B, T, HV]; gk? [B, T, HV, K]; gv? [B, T, HV, V];"
    " beta? [B, T, HV] or [B, T, HV, V]; initial_state? [N, HV, K, V];" + _COMMON)
_KDA_SHAPES = Shapes(
    "q, k, g [B, T, H, K]; v [B, T, H, V]; beta [B, T, H]; A_log? (H); dt_bias? (H·K);"
    " initial_state? [N, H, K, V];" + _COMMON)
_GROUPED_KDA_SHAPES = Shapes(
    "q, k [B, T, H, K]; v [B, T, HV, V]; g [B, T, HV, K]; beta [B, T, HV] or [B, T, HV, V];"
    " A_log? (HV); dt_bias? (HV·K); initial_state? [N, HV, K, V];" + _COMMON)


def chunk_precond_gated_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g_atk: Tensor,
    g: Tensor,
    beta_atk: Tensor,
    beta: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    initial_A_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = True,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_cpu: Tensor | None = None,
    cp_context: Any = None,
    transpose_state_layout: bool = False,
    x: float = 1.5,
    eps: float = 1e-6,
    log_atk_scale: Tensor | float | None = None,
) -> Results:
    """S' = e^g S, S = S' + β k̃ (v − S'ᵀ k)ᵀ, o = scale Sᵀ q, k̃ = k ⊙ x^(−r / (1 + |r|)).

    r = log(A + eps) − c with A = e^g_atk A + β_atk k²; c is `log_atk_scale` [H], −0.2 unless given.
    q, k [B, T, H, K]; v [B, T, HV, V], H dividing HV; g and beta [B, T, HV]; g_atk and beta_atk
    [B, T, H]; the gates natural logarithms, at most 0; states [N, HV, K, V], or [N, HV, V, K] with
    `transpose_state_layout`, and of A [N, H, K]. Returns the output [B, T, HV, V] and both final
    states, None unless `output_final_state`.
    """
    refuse_context_parallel(cp_context)
    cu_seqlens = _SHAPES.check(
        cu_seqlens, cu_seqlens_cpu, values_first=transpose_state_layout, q=q, k=k, v=v,
        g_atk=g_atk, g=g, beta_atk=beta_atk, beta=beta, initial_state=initial_state,
        initial_A_state=initial_A_state, log_atk_scale=_tensor(log_atk_scale))
    return _preconditioned_rule(
        q, k, v, g, None, None, beta, g_atk, beta_atk, scale, initial_state, initial_A_state,
        output_final_state, use_qk_l2norm_in_kernel, cu_seqlens, transpose_state_layout, x, eps,
        log_atk_scale,
    )


def fused_recurrent_precond_gated_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None = None,
    gk: Tensor | None = None,
    gv: Tensor | None = None,
    beta: Tensor | None = None,
    g_atk: Tensor | None = None,
    beta_atk: Tensor | None = None,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    initial_A_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = True,
    cu_seqlens: Tensor | None = None,
    transpose_state_layout: bool = False,
    x: float = 1.5,
    eps: float = 1e-6,
    log_atk_scale: Tensor | float | None = None,
) -> Results:
    """Like `chunk_precond_gated_delta_rule`, with further decays.

    Those given are multiplied: g [B, T, HV], gk [B, T, HV, K] of the rows of S, gv [B, T, HV, V] of
    its columns. beta may be None, for 1, or [B, T, HV, V], one per column.
    """
    for name, tensor in (("g_atk", g_atk), ("beta_atk", beta_atk)):
        if tensor is None:
            raise ValueError(f"{name} was None, must be given")
    cu_seqlens = _FURTHER_SHAPES.check(
        cu_seqlens, values_first=transpose_state_layout, q=q, k=k, v=v, g=g, gk=gk, gv=gv,
        beta=beta, g_atk=g_atk, beta_atk=beta_atk, initial_state=initial_state,
        initial_A_state=initial_A_state, log_atk_scale=_tensor(log_atk_scale))
    return _preconditioned_rule(
        q, k, v, g, gk, gv, beta, g_atk, beta_atk, scale, initial_state, initial_A_state,
        output_final_state, use_qk_l2norm_in_kernel, cu_seqlens, transpose_state_layout, x, eps,
        log_atk_scale,
    )


def _preconditioned_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    gk: Tensor | None,
    gv: Tensor | None,
    beta: Tensor | None,
    g_atk: Tensor,
    beta_atk: Tensor,
    scale: float | None,
    initial_state: Tensor | None,
    initial_A_state: Tensor | None,
    output_final_state: bool,
    use_qk_l2norm_in_kernel: bool,
    cu_seqlens: Tensor | None,
    transpose_state_layout: bool,
    x: float,
    eps: float,
    log_atk_scale: Tensor | float | None,
) -> Results:
    if use_qk_l2norm_in_kernel:
        q, k = unit_vectors(q), unit_vectors(k)
    if beta is None:
        beta = torch.ones_like(v[..., 0])
    written, sums = _preconditioned(
        k, g_atk, beta_atk, initial_A_state, cu_seqlens, x, eps, log_atk_scale)
    decay = gk if g is None else g
    if g is not None and gk is not None:
        decay = widened(gk) + widened(g).unsqueeze(-1)
    share, reads = widened(beta), repeated_heads(k, v.shape[2])
    if beta.ndim == 3:
        values = v * share.unsqueeze(-1)
    else:
        values, reads = v * share, reads.unsqueeze(3)
    options = dict(
        decay=decay, read_keys=share.unsqueeze(-1) * reads, scale=scale,
        initial_state=initial_state, output_final_state=output_final_state,
        state_v_first=transpose_state_layout, cu_seqlens=cu_seqlens,
    )
    if gv is None and beta.ndim == 3:
        output, state = recurrence(q, written, values.to(v.dtype), **options)
    else:
        output, state = recurrence_of_columns(
            q, written, values.to(v.dtype), column_decay=gv, **options)
    return output, state, sums if output_final_state else None


def chunk_precond_kda(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    g_atk: Tensor,
    beta_atk: Tensor,
    beta: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    initial_A_state: Tensor | None = None,
    output_final_state: bool = False,
    use_gate_in_kernel: bool = False,
    safe_gate: bool = False,
    lower_bound: float | None = None,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_cpu: Tensor | None = None,
    chunk_indices: Tensor | None = None,
    cp_context: Any = None,
    transpose_state_layout: bool = False,
    x: float = 1.5,
    eps: float = 1e-6,
    log_atk_scale: Tensor | float | None = None,
    solve_tril_precision: str | None = None,
    disable_recompute: bool = False,
    return_intermediate_states: bool = False,
    **kwargs: Any,
) -> Results:
    """Like `chunk_precond_gated_delta_rule`, with a decay g [B, T, H, K] and unit vectors.

    With `use_gate_in_kernel` the decay is that of `fused_kda_gate` with the keyword arguments
    `A_log` and `dt_bias`, and `lower_bound`. All tensors have H heads. The keyword argument
    `use_qk_l2norm_in_kernel` may say that vectors are unit vectors.
    """
    refuse_context_parallel(cp_context)
    if return_intermediate_states:
        raise NotImplementedError("return_intermediate_states must be False for chunk_precond_kda")
    A_log, dt_bias = kwargs.pop("A_log", None), kwargs.pop("dt_bias", None)
    if not kwargs.pop("use_qk_l2norm_in_kernel", True):
        raise ValueError(
            "use_qk_l2norm_in_kernel was False, must be True: chunk_precond_kda always normalises")
    refuse_others("chunk_precond_kda", kwargs)
    check_safe_gate(safe_gate and use_gate_in_kernel, lower_bound)
    cu_seqlens = _KDA_SHAPES.check(
        cu_seqlens, cu_seqlens_cpu, values_first=transpose_state_layout, q=q, k=k, v=v, g=g,
        g_atk=g_atk, beta_atk=beta_atk, beta=beta, A_log=A_log, dt_bias=dt_bias,
        initial_state=initial_state, initial_A_state=initial_A_state,
        log_atk_scale=_tensor(log_atk_scale))
    check_float32(initial_state=initial_state)
    if use_gate_in_kernel:
        g = kda_gate(g, A_log, dt_bias, lower_bound)
    return _preconditioned_rule(
        q, k, v, None, g, None, beta, g_atk, beta_atk, scale, initial_state, initial_A_state,
        output_final_state, True, cu_seqlens, transpose_state_layout, x, eps, log_atk_scale,
    )


def fused_recurrent_precond_kda(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    g_atk: Tensor,
    beta_atk: Tensor,
    beta: Tensor,
    A_log: Tensor | None = None,
    dt_bias: Tensor | None = None,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    initial_A_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = True,
    use_gate_in_kernel: bool = False,
    lower_bound: float | None = None,
    cu_seqlens: Tensor | None = None,
    transpose_state_layout: bool = False,
    x: float = 1.5,
    eps: float = 1e-6,
    log_atk_scale: Tensor | float | None = None,
    **kwargs: Any,
) -> Results:
    """Like `chunk_precond_kda`; it has gradients too."""
    refuse_others("fused_recurrent_precond_kda", kwargs)
    cu_seqlens = _GROUPED_KDA_SHAPES.check(
        cu_seqlens, values_first=transpose_state_layout, q=q, k=k, v=v, g=g, g_atk=g_atk,
        beta_atk=beta_atk, beta=beta, A_log=A_log, dt_bias=dt_bias, initial_state=initial_state,
        initial_A_state=initial_A_state, log_atk_scale=_tensor(log_atk_scale))
    if use_gate_in_kernel:
        g = kda_gate(g, A_log, dt_bias, lower_bound)
    return _preconditioned_rule(
        q, k, v, None, g, None, beta, g_atk, beta_atk, scale, initial_state, initial_A_state,
        output_final_state, use_qk_l2norm_in_kernel, cu_seqlens, transpose_state_layout, x, eps,
        log_atk_scale,
    )


def _tensor(number: Tensor | float | None) -> Tensor | None:
    return number if isinstance(number, Tensor) else None


def _preconditioned(
    k: Tensor,
    decay: Tensor,
    share: Tensor,
    initial: Tensor | None,
    cu_seqlens: Tensor | None,
    x: float,
    eps: float,
    center: Tensor | float | None,
) -> tuple[Tensor, Tensor]:
    """k̃ [B, T, H, K] in the dtype of k, and the last A of each sequence [N, H, K]."""
    batch, length, heads, width = k.shape
    keys = widened(k)
    added = keys.square() * share.unsqueeze(-1)
    rate = widened(decay).unsqueeze(-1).expand(k.shape)
    if initial is not None:
        initial = initial.reshape(-1, heads * width)
    sums, last = gated_scan(
        *(each.reshape(batch, length, heads * width) for each in (added, rate)), initial,
        cu_seqlens)
    if center is None:
        center = _CENTER
    if isinstance(center, Tensor):
        center = widened(center).unsqueeze(-1)
    distance = (sums.reshape(k.shape) + eps).log() - center
    factor = torch.exp(-math.log(x) * distance / (1 + distance.abs()))
    return (keys * factor).to(k.dtype), last.reshape(-1, heads, width)

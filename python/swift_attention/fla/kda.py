"""Kimi Delta Attention: the delta rule on a state that decays by channel."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ._arguments import (
    check_eigenvalues,
    check_float32,
    refuse_context_parallel,
    refuse_others,
    take_chunk_size,
    take_layout,
)
from ._columns import recurrence_of_columns
from ._recurrence import recurrence
from ._shapes import Shapes
from ._snapshots import states_before_chunks
from .gates import kda_gate, write_strength

_SHAPES = Shapes(
    "q, k [B, T, H, K]; v [B, T, HV, V]; g [B, T, HV, K]; beta [B, T, HV]; A_log? (HV);"
    " dt_bias? (HV·K); initial_state? [N, HV, K, V]")
_BY_COLUMN = Shapes(
    "q, k [B, T, H, K]; v [B, T, HV, V]; g [B, T, HV, K]; beta [B, T, HV] or [B, T, HV, V];"
    " A_log? (HV); dt_bias? (HV·K); initial_state? [N, HV, K, V]")
_CHUNK = 64
_CHUNKS = (32, _CHUNK)


def chunk_kda(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    beta: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_gate_in_kernel: bool = False,
    use_beta_sigmoid_in_kernel: bool = False,
    allow_neg_eigval: bool = False,
    safe_gate: bool = False,
    lower_bound: float | None = None,
    disable_recompute: bool = False,
    return_intermediate_states: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_cpu: Tensor | None = None,
    cp_context: Any = None,
    use_graph: bool = False,
    max_num_seqs: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, ...]:
    """S' = diag(e^g) S, S = S' + β k (v − S'ᵀ k)ᵀ, o = scale Sᵀ q.

    q, k [B, T, H, K]; v [B, T, HV, V], H dividing HV; g [B, T, HV, K], a natural logarithm, at most
    0; beta [B, T, HV]; states float32 [N, HV, K, V], or [N, HV, V, K] with `state_v_first`. With
    `use_gate_in_kernel` the decay is that of `fused_kda_gate` with the keyword arguments `A_log`
    and `dt_bias`, and `lower_bound`. With `use_beta_sigmoid_in_kernel` β is its sigmoid, twice that
    with `allow_neg_eigval`. Returns the output [B, T, HV, V] and the final state, None unless
    `output_final_state`; with `return_intermediate_states` also the states before each chunk of
    64 tokens (or `chunk_size`) [B, chunks, HV, K, V] in bfloat16, without gradients.
    """
    state_v_first = take_layout(state_v_first, kwargs)
    refuse_context_parallel(cp_context)
    chunk = kwargs.get("chunk_size", _CHUNK)
    take_chunk_size(kwargs, _CHUNKS)
    A_log, dt_bias = kwargs.pop("A_log", None), kwargs.pop("dt_bias", None)
    refuse_others("chunk_kda", kwargs)
    check_safe_gate(safe_gate and use_gate_in_kernel, lower_bound)
    check_eigenvalues(allow_neg_eigval, use_beta_sigmoid_in_kernel)
    cu_seqlens = _SHAPES.check(
        cu_seqlens, cu_seqlens_cpu, values_first=state_v_first, q=q, k=k, v=v, g=g, beta=beta,
        A_log=A_log, dt_bias=dt_bias, initial_state=initial_state)
    check_float32(initial_state=initial_state)
    if use_gate_in_kernel:
        g = kda_gate(g, A_log, dt_bias, lower_bound)
    beta = write_strength(beta, use_beta_sigmoid_in_kernel, allow_neg_eigval)
    options = dict(
        scale=scale, initial_state=initial_state, output_final_state=output_final_state,
        normalizes=use_qk_l2norm_in_kernel, state_v_first=state_v_first, cu_seqlens=cu_seqlens,
    )
    if return_intermediate_states:
        return states_before_chunks(_kda, chunk, (q, k, v, g, beta), options)
    return _kda(q, k, v, g, beta, **options)


def fused_recurrent_kda(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    beta: Tensor,
    A_log: Tensor | None = None,
    dt_bias: Tensor | None = None,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_gate_in_kernel: bool = False,
    use_beta_sigmoid_in_kernel: bool = False,
    allow_neg_eigval: bool = False,
    lower_bound: float | None = None,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Like `chunk_kda`; beta may be [B, T, HV, V], one per column of S. It has gradients too."""
    state_v_first = take_layout(state_v_first, kwargs)
    refuse_others("fused_recurrent_kda", kwargs)
    check_eigenvalues(allow_neg_eigval, use_beta_sigmoid_in_kernel)
    cu_seqlens = _BY_COLUMN.check(
        cu_seqlens, values_first=state_v_first, q=q, k=k, v=v, g=g, beta=beta, A_log=A_log,
        dt_bias=dt_bias, initial_state=initial_state)
    if use_gate_in_kernel:
        g = kda_gate(g, A_log, dt_bias, lower_bound)
    return _kda(
        q, k, v, g, write_strength(beta, use_beta_sigmoid_in_kernel, allow_neg_eigval),
        scale=scale, initial_state=initial_state, output_final_state=output_final_state,
        normalizes=use_qk_l2norm_in_kernel, state_v_first=state_v_first, cu_seqlens=cu_seqlens,
    )


def _kda(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, **options: Any
) -> tuple[Tensor, Tensor | None]:
    apply = recurrence_of_columns if beta.ndim == v.ndim else recurrence
    return apply(q, k, v, decay=g, beta=beta, **options)


def check_safe_gate(is_safe: bool, lower_bound: float | None) -> None:
    """Raises ValueError if a safe gate has no bound in [−5, 0)."""
    if is_safe and (lower_bound is None or not -5 <= lower_bound < 0):
        raise ValueError(
            f"lower_bound was {lower_bound}, must be at least -5 and below 0 with safe_gate=True"
        )

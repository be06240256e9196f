"""Gated DeltaNet 2: separate gates for erasing and writing."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ._arguments import (
    check_float32,
    refuse_context_parallel,
    refuse_others,
    take_chunk_size,
    take_layout,
)
from ._recurrence import recurrence, repeated_heads, unit_vectors, widened
from ._shapes import Shapes
from ._snapshots import states_before_chunks
from .gates import kda_gate
from .kda import check_safe_gate

_SHAPES = Shapes(
    "q, k, g, b [B, T, H, K]; v, w [B, T, H, V]; A_log? (H); dt_bias? (H·K);"
    " initial_state? [N, H, K, V]")
_GROUPED = Shapes(
    "q, k [B, T, H, K]; v, w [B, T, HV, V]; g, b [B, T, HV, K]; A_log? (HV); dt_bias? (HV·K);"
    " initial_state? [N, HV, K, V]")

_CHUNK = 64


def chunk_gdn2(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    b: Tensor,
    w: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_gate_in_kernel: bool = False,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_cpu: Tensor | None = None,
    safe_gate: bool = False,
    lower_bound: float | None = None,
    disable_recompute: bool = False,
    return_intermediate_states: bool = False,
    state_v_first: bool = False,
    cp_context: Any = None,
    **kwargs: Any,
) -> tuple[Tensor, ...]:
    """S' = diag(e^g) S, S = S' + k (w ⊙ v − S'ᵀ (b ⊙ k))ᵀ, o = scale Sᵀ q.

    q, k [B, T, H, K]; v [B, T, H, V]; g, a natural logarithm, at most 0, and b [B, T, H, K];
    w [B, T, H, V]; states float32 [N, H, K, V], or [N, H, V, K] with `state_v_first`. Gates in the
    kernel and intermediate states are as in `chunk_kda`.
    """
    state_v_first = take_layout(state_v_first, kwargs)
    refuse_context_parallel(cp_context)
    take_chunk_size(kwargs, (_CHUNK,))
    A_log, dt_bias = kwargs.pop("A_log", None), kwargs.pop("dt_bias", None)
    refuse_others("chunk_gdn2", kwargs)
    check_safe_gate(safe_gate and use_gate_in_kernel, lower_bound)
    cu_seqlens = _SHAPES.check(
        cu_seqlens, cu_seqlens_cpu, values_first=state_v_first, q=q, k=k, v=v, g=g, b=b, w=w,
        A_log=A_log, dt_bias=dt_bias, initial_state=initial_state)
    check_float32(initial_state=initial_state)
    if use_gate_in_kernel:
        g = kda_gate(g, A_log, dt_bias, lower_bound)
    options = dict(
        normalizes=use_qk_l2norm_in_kernel, scale=scale, initial_state=initial_state,
        output_final_state=output_final_state, state_v_first=state_v_first, cu_seqlens=cu_seqlens,
    )
    if return_intermediate_states:
        return states_before_chunks(_gdn2, _CHUNK, (q, k, v, g, b, w), options)
    return _gdn2(q, k, v, g, b, w, **options)


def fused_recurrent_gdn2(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    b: Tensor,
    w: Tensor,
    A_log: Tensor | None = None,
    dt_bias: Tensor | None = None,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_gate_in_kernel: bool = False,
    lower_bound: float | None = None,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Like `chunk_gdn2`, for v, g, b and w of HV heads that H divides. It has gradients too."""
    state_v_first = take_layout(state_v_first, kwargs)
    refuse_others("fused_recurrent_gdn2", kwargs)
    cu_seqlens = _GROUPED.check(
        cu_seqlens, values_first=state_v_first, q=q, k=k, v=v, g=g, b=b, w=w, A_log=A_log,
        dt_bias=dt_bias, initial_state=initial_state)
    if use_gate_in_kernel:
        g = kda_gate(g, A_log, dt_bias, lower_bound)
    return _gdn2(
        q, k, v, g, b, w, normalizes=use_qk_l2norm_in_kernel, scale=scale,
        initial_state=initial_state, output_final_state=output_final_state,
        state_v_first=state_v_first, cu_seqlens=cu_seqlens,
    )


def _gdn2(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, b: Tensor, w: Tensor, *, normalizes: bool,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    if normalizes:
        q, k = unit_vectors(q), unit_vectors(k)
    return recurrence(
        q, k, (widened(v) * w).to(v.dtype), decay=g,
        read_keys=widened(b) * repeated_heads(k, v.shape[2]), **options,
    )

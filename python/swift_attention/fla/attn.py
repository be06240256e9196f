"""Exact causal attention, with a window, a forget gate and sinks."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from .._operators.eager import check_tensors
from ..exact import attention
from ._recurrence import default_scale, in_one_dtype
from ._shapes import Shapes

_SHAPES = Shapes(
    "q [B, T, HQ, K]; k [B, T, H, K]; v [B, T, H, V]; g? [B, T, HQ]; sink_bias? [HQ]")
_STEP_SHAPES = Shapes(
    "q [1, N, HQ, K]; k [1, T, H, K]; v [1, T, H, V]; g? [1, T, HQ]; sink_bias? [HQ]")


def parallel_attn(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None = None,
    scale: float | None = None,
    window_size: int | None = None,
    cu_seqlens: Tensor | None = None,
    chunk_indices: Tensor | None = None,
    *,
    sink_bias: Tensor | None = None,
) -> Tensor:
    """o_i = Σ_j softmax_j(scale · q_i·k_j + g_{j+1} + … + g_i) v_j over j ≤ i.

    q [B, T, HQ, K]; k [B, T, H, K]; v [B, T, H, V], H dividing HQ; g [B, T, HQ], logarithms. With
    `window_size` only that many last keys count, including the token's own: with 0 none does, and
    the output is zero. `sink_bias` [HQ] is one additional score in the softmax's sum. Returns the
    output [B, T, HQ, V].
    """
    cu_seqlens = _SHAPES.check(cu_seqlens, q=q, k=k, v=v, g=g, sink_bias=sink_bias)
    _check_window(window_size)
    options = dict(scale=default_scale(scale, k), is_causal=True, logit_decay=g, sinks=sink_bias)
    if window_size == 0:
        # No key counts, in any sequence.
        options["key_mask"] = torch.zeros(k.shape[:2], dtype=torch.bool, device=k.device)
    else:
        options["cumulative_lengths"] = cu_seqlens
        options["window"] = None if window_size is None else (window_size - 1, None)
    wide = in_one_dtype(q, k, v)
    output = attention(*wide, **options)
    return output if wide[0] is q else output.to(q.dtype)


def parallel_forgetting_attn(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    scale: float | None = None,
    window_size: int | None = None,
    cu_seqlens: Tensor | None = None,
) -> Tensor:
    """As `parallel_attn`, with the forget gate g [B, T, HQ]."""
    check_tensors(g=g)
    return parallel_attn(q, k, v, g, scale, window_size, cu_seqlens)


def attn_decoding_one_step(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None = None,
    scale: float | None = None,
    cu_seqlens: Tensor | None = None,
    do_gate_scale: bool = False,
    *,
    window_size: int | None = None,
    sink_bias: Tensor | None = None,
) -> Tensor:
    """`parallel_attn` of one query at the end of each sequence of keys.

    q [1, N, HQ, K]; k [1, T, H, K]; v [1, T, H, V] and g [1, T, HQ] of the N sequences that
    `cu_seqlens` packs. With `do_gate_scale` the scale multiplies the gates too. A query without
    keys gives zeros. Returns the output [1, N, HQ, V].
    """
    if cu_seqlens is None:
        raise ValueError("cu_seqlens was None, must be given")
    _check_window(window_size)
    cu_seqlens = _STEP_SHAPES.check(cu_seqlens, q=q, k=k, v=v, g=g, sink_bias=sink_bias)
    scale = default_scale(scale, k)
    # Sums of gates are not rounded to half precision: the bias may be float32 all the same.
    queries, k, v = in_one_dtype(q, k, v)
    wide = torch.promote_types(queries.dtype, torch.float32)
    ends = cu_seqlens.tolist()
    outputs = []
    for index, (first, end) in enumerate(zip(ends[:-1], ends[1:])):
        if window_size is not None:
            first = max(first, end - window_size)
        bias = None
        if g is not None:
            # The decay of each key since it was written: the gates after it.
            gates = g[:, first:end].to(wide).transpose(1, 2)
            behind = functional.pad(gates, (0, 1))[..., 1:].flip(-1).cumsum(-1).flip(-1)
            bias = (behind * scale if do_gate_scale else behind).unsqueeze(2)
        outputs.append(attention(
            queries[:, index:index + 1], k[:, first:end], v[:, first:end], scale=scale,
            bias=bias, sinks=sink_bias))
    if not outputs:
        return q.new_empty(1, 0, q.shape[2], v.shape[-1])
    output = torch.cat(outputs, 1)
    return output if queries is q else output.to(q.dtype)


def _check_window(window_size: int | None) -> None:
    if window_size is not None and window_size < 0:
        raise ValueError(f"window_size was {window_size}, must be at least 0")

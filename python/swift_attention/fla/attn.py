"""Exact causal attention, with a window, a forget gate and sinks."""

from __future__ import annotations

import torch
from torch import Tensor

from ..exact import attention
from ._arguments import check_packing, check_shape
from ._recurrence import default_scale, lengths


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
    `window_size` only the last so many keys count, the token's own among them; `sink_bias` [HQ] is
    one more logit in the softmax's sum. Returns the output [B, T, HQ, V].
    """
    check_packing(q, cu_seqlens)
    check_shape("k", k, (*q.shape[:2], *k.shape[2:]))
    if window_size is not None and window_size < 1:
        raise ValueError(f"window_size was {window_size}, must be at least 1")
    return attention(
        q, k, v, scale=default_scale(scale, k), is_causal=True,
        window=None if window_size is None else (window_size - 1, None),
        cumulative_lengths=lengths(cu_seqlens), logit_decay=g, sinks=sink_bias)


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
    if window_size is not None and window_size < 0:
        raise ValueError(f"window_size was {window_size}, must be at least 0")
    check_packing(k, cu_seqlens, q[0])
    scale = default_scale(scale, k)
    # The sums of gates are not rounded to half precision: beside it a bias may be float32.
    wide = torch.promote_types(q.dtype, torch.float32)
    ends = cu_seqlens.tolist()
    outputs = []
    for index, (first, end) in enumerate(zip(ends[:-1], ends[1:])):
        if window_size is not None:
            first = max(first, end - window_size)
        bias = None
        if g is not None:
            gates = g[:, first:end].to(wide).transpose(1, 2)
            # What each key has lost since: the gates behind it.
            behind = gates.flip(-1).cumsum(-1).flip(-1) - gates
            bias = (behind * scale if do_gate_scale else behind).unsqueeze(2)
        outputs.append(attention(
            q[:, index:index + 1], k[:, first:end], v[:, first:end], scale=scale,
            bias=bias, sinks=sink_bias))
    return torch.cat(outputs, 1) if outputs else q.new_empty(1, 0, q.shape[2], v.shape[-1])

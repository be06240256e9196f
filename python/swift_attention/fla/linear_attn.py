"""Linear attention without a decay, with or without normalised weights."""

from __future__ import annotations

from typing import Tuple, Union

import torch
from torch import Tensor

from .._operators.gated_scan import gated_scan
from ._recurrence import default_scale, recurrence, reversed_tokens, widened
from ._shapes import Shapes

LinearState = Union[Tensor, Tuple[Tensor, Tensor], None]
_EPSILON = 1e-10
_SHAPES = Shapes("q, k [B, T, H, K]; v [B, T, H, V]; initial_state? [N, H, K, V]")
_PAIR = Shapes(
    "q, k [B, T, H, K]; v [B, T, H, V];"
    " initial_state[0]? [N, H, K, V]; initial_state[1]? [N, 1, H, K]")


def chunk_linear_attn(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float | None = None,
    initial_state: LinearState = None,
    output_final_state: bool = False,
    normalize: bool = True,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, LinearState]:
    """S = S + k vᵀ, o = scale Sᵀ q, divided by scale · q·z + 10⁻¹⁰, z = z + k, with `normalize`.

    q, k [B, T, H, K]; v [B, T, H, V]. Without `normalize` states are [N, H, K, V]; with it they
    are pairs of that and z [N, 1, H, K]; the final z is always returned, the final S only with
    `output_final_state`.
    """
    return _linear_attention(
        q, k, v, scale, initial_state, output_final_state, False, normalize, cu_seqlens
    )


def fused_chunk_linear_attn(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float | None = None,
    initial_state: LinearState = None,
    output_final_state: bool = False,
    normalize: bool = True,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, LinearState]:
    """Like `chunk_linear_attn`."""
    return _linear_attention(
        q, k, v, scale, initial_state, output_final_state, False, normalize, cu_seqlens
    )


def fused_recurrent_linear_attn(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float | None = None,
    initial_state: LinearState = None,
    output_final_state: bool = False,
    reverse: bool = False,
    normalize: bool = False,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, LinearState]:
    """Like `chunk_linear_attn`, by default not normalised; with `reverse` from the last token."""
    return _linear_attention(
        q, k, v, scale, initial_state, output_final_state, reverse, normalize, cu_seqlens
    )


def _linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float | None,
    initial_state: LinearState,
    output_final_state: bool,
    reverse: bool,
    normalize: bool,
    cu_seqlens: Tensor | None,
) -> tuple[Tensor, LinearState]:
    first_sum = None
    if isinstance(initial_state, (tuple, list)):
        if not normalize:
            raise ValueError("initial_state was a pair, must be a tensor without normalize")
        initial_state, first_sum = initial_state
        cu_seqlens = _PAIR.check(
            cu_seqlens, q=q, k=k, v=v,
            **{"initial_state[0]": initial_state, "initial_state[1]": first_sum})
    else:
        cu_seqlens = _SHAPES.check(cu_seqlens, q=q, k=k, v=v, initial_state=initial_state)
    scale = default_scale(scale, q)
    output, state = recurrence(
        q, k, v, scale=scale, initial_state=initial_state,
        output_final_state=output_final_state, reverse=reverse, cu_seqlens=cu_seqlens,
    )
    if not normalize:
        return output, state
    sums, last_sum = _sums_of_keys(k, first_sum, reverse, cu_seqlens)
    total = (widened(q) * scale * sums).sum(-1, keepdim=True) + _EPSILON
    return (output / total).to(output.dtype), (state, last_sum)


def _sums_of_keys(
    k: Tensor, first: Tensor | None, reverse: bool, cu_seqlens: Tensor | None
) -> tuple[Tensor, Tensor]:
    """z [B, T, H, K] in float32, and the last of each sequence [N, 1, H, K].

    A scan without decay sums each packed sequence from its initial value.
    """
    batch, length, heads, width = k.shape
    rows = widened(k).reshape(batch, length, heads * width)
    if reverse:
        rows = reversed_tokens(rows, cu_seqlens)
    if first is not None:
        first = widened(first).reshape(-1, heads * width)
    sums, last = gated_scan(rows, torch.zeros_like(rows), first, cu_seqlens)
    if reverse:
        sums = reversed_tokens(sums, cu_seqlens)
    return sums.reshape(k.shape), last.reshape(-1, 1, heads, width)

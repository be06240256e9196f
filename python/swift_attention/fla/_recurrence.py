"""The state equation behind all functions with a matrix state, in their conventions."""

from __future__ import annotations

import torch
from torch import Tensor

from .._operators.eager import number
from .._operators.linear_attention import linear_attention


def recurrence(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    decay: Tensor | None = None,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    normalizes: bool = False,
    reverse: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    beta: Tensor | None = None,
    read_keys: Tensor | None = None,
    low_rank: tuple[Tensor, Tensor] | None = None,
    bonus: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """S = exp(decay) S + k vᵀ and its relatives, o = scale Sᵀ q.

    Like `swift_attention::linear_attention`, with additional options: tokens in reverse order,
    states [V, K], the final state only on request, and queries, keys and values of different
    dtypes, computed in the widest; the output has the queries' dtype. Arguments have been
    validated, `cu_seqlens` by `Shapes`.
    """
    narrow = None
    if not q.dtype == k.dtype == v.dtype:
        narrow = q.dtype
        q, k, v = in_one_dtype(q, k, v)
    a, b = (None, None) if low_rank is None else low_rank
    if reverse:
        q, k, v = (reversed_tokens(x, cu_seqlens) for x in (q, k, v))
        if decay is not None and decay.ndim > 1:
            decay = reversed_tokens(decay, cu_seqlens)
        beta, read_keys, a, b = (
            None if x is None else reversed_tokens(x, cu_seqlens)
            for x in (beta, read_keys, a, b)
        )
    if state_v_first and initial_state is not None:
        initial_state = initial_state.transpose(-1, -2)
    output, final_state = linear_attention(
        q, k, v, decay, beta, read_keys, a, b, bonus, initial_state, cu_seqlens,
        scale=scale, normalizes=normalizes,
    )
    if reverse:
        output = reversed_tokens(output, cu_seqlens)
    if narrow is not None:
        output = output.to(narrow)
    if not output_final_state:
        return output, None
    return output, final_state.transpose(-1, -2).contiguous() if state_v_first else final_state


def in_one_dtype(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in a dtype that holds all their numbers; unchanged if they have one dtype."""
    dtype = tensors[0].dtype
    if all(x.dtype == dtype for x in tensors):
        return tensors
    for x in tensors[1:]:
        dtype = torch.promote_types(dtype, x.dtype)
    return tuple(x.to(dtype) for x in tensors)


def reversed_tokens(x: Tensor, cu_seqlens: Tensor | None) -> Tensor:
    """[batch, length, …] with the tokens of each sequence in reverse order."""
    if cu_seqlens is None:
        return x.flip(1)
    ends = cu_seqlens.to(device=x.device, dtype=torch.long)
    sequence = sequence_of_tokens(ends, x.shape[1])
    places = ends[sequence] + ends[sequence + 1] - 1
    return x[:, places - torch.arange(x.shape[1], device=x.device)]


def sequence_of_tokens(ends: Tensor, length: int) -> Tensor:
    """[length]: the number of the packed sequence that a token belongs to."""
    return torch.repeat_interleave(
        torch.arange(ends.shape[0] - 1, device=ends.device), ends.diff(), output_size=length
    )


def unit_vectors(x: Tensor) -> Tensor:
    """x / √(Σ x² + 10⁻⁶) over the last axis, computed in float32 and rounded to the dtype of x."""
    wide = widened(x)
    return (wide * torch.rsqrt(wide.square().sum(-1, keepdim=True) + 1e-6)).to(x.dtype)


def widened(x: Tensor) -> Tensor:
    """x in float32, or float64 if it is."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def repeated_heads(x: Tensor, heads: int, axis: int = 2) -> Tensor:
    """x with each head repeated for the heads that share it."""
    own = x.shape[axis]
    return x if own == heads else x.repeat_interleave(heads // own, dim=axis)


def default_scale(scale: float | None, rows: Tensor) -> float:
    """`scale`, or 1/√K."""
    return rows.shape[-1] ** -0.5 if scale is None else number("scale", scale)

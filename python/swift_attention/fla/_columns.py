"""Gates of the value dimension: the recurrence is read, or split, along its other axis."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .._operators.batching import Batching, mapped
from .._operators.linear_attention import linear_attention, linear_attention_backward
from ._recurrence import (
    default_scale,
    in_one_dtype,
    recurrence,
    repeated_heads,
    reversed_tokens,
)


def recurrence_of_columns(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    decay: Tensor | None = None,
    column_decay: Tensor | None = None,
    beta: Tensor | None = None,
    read_keys: Tensor | None = None,
    initial_state: Tensor | None = None,
    state_v_first: bool = False,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:
    """The recurrence with a decay or β [B, T, HV, V], one number per column of the state.

    Columns are independent, so each is a value head of dimension 1 with the same queries and keys.
    The read keys may be per head, or [B, T, HV, V, K].
    """
    batch, length, heads, width = v.shape
    count = heads * width

    def columns(x: Tensor | None) -> Tensor | None:
        """[B, T, HV] or [B, T, HV, V] as [B, T, HV·V]."""
        if x is None:
            return None
        x = x if x.ndim == 4 else x.unsqueeze(-1).expand(-1, -1, -1, width)
        return x.reshape(batch, length, count)

    if decay is not None and decay.ndim == 4:
        decay = decay.repeat_interleave(width, dim=2)
        if column_decay is not None:
            decay = decay + columns(column_decay).unsqueeze(-1)
    else:
        decay = _sum(columns(decay), columns(column_decay))
    if read_keys is not None:
        if read_keys.ndim == 4:
            read_keys = read_keys.unsqueeze(3).expand(-1, -1, -1, width, -1)
        read_keys = read_keys.reshape(batch, length, count, read_keys.shape[-1])
    if initial_state is not None:
        if state_v_first:
            initial_state = initial_state.transpose(-1, -2)
        rows = initial_state.shape[2]
        initial_state = initial_state.permute(0, 1, 3, 2).reshape(-1, count, rows, 1)
    output, state = recurrence(
        q, k, v.reshape(batch, length, count, 1), decay=decay, beta=columns(beta),
        read_keys=read_keys, initial_state=initial_state, **options,
    )
    if state is not None:
        state = state.reshape(state.shape[0], heads, width, state.shape[2])
        state = state if state_v_first else state.transpose(-1, -2).contiguous()
    return output.reshape(batch, length, heads, width), state


def recurrence_decaying_columns(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Tensor | None,
    *,
    beta: Tensor | None = None,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """S = S diag(exp(decay)) + k vᵀ, o = scale Sᵀ q, with the decay [B, T, H, V].

    With beta [B, T, H] the token writes β (k − S v) vᵀ, S decayed. Sᵀ is the state of linear
    attention with v as keys and k as values. Its output along the decaying axis is the gradient of
    the queries if q is the gradient of the output.
    """
    scale = default_scale(scale, q)
    heads = max(q.shape[2], k.shape[2], v.shape[2])
    narrow = None
    if not q.dtype == k.dtype == v.dtype:
        narrow = q.dtype
        q, k, v = in_one_dtype(q, k, v)
    tensors = [None if x is None else repeated_heads(x, heads) for x in (q, k, v, decay, beta)]
    if reverse:
        tensors = [None if x is None else reversed_tokens(x, cu_seqlens) for x in tensors]
    if initial_state is not None and not state_v_first:
        initial_state = initial_state.transpose(-1, -2)
    output, state = _ColumnReading.apply(
        *tensors, initial_state, cu_seqlens, scale, output_final_state
    )
    if reverse:
        output = reversed_tokens(output, cu_seqlens)
    if narrow is not None:
        output = output.to(narrow)
    if not output_final_state:
        return output, None
    return output, state if state_v_first else state.transpose(-1, -2).contiguous()


_TENSORS = ("q", "k", "v", "decay", "beta", "initial_state", "cumulative_lengths")
_BATCHING = Batching("q", has_batch=lambda name, shape, batch: True)


class _ColumnReading(torch.autograd.Function):
    """o_t = scale · T_t q_t, T = Sᵀ [V, K] being the state with v as keys and k as values."""

    @staticmethod
    def forward(q, k, v, decay, beta, initial_state, ends, scale, needs_state):
        options = dict(initial_state=initial_state, cumulative_lengths=ends, scale=scale)
        # The gradient of the queries does not depend on them: any tensor of their shape will do.
        (output,) = linear_attention_backward(
            q, None, v, v, k, decay, beta, needs=("queries",), **options)
        if needs_state:
            return output, linear_attention(v, v, k, decay, beta, **options)[1]
        return output, q.new_empty(0)

    @staticmethod
    def setup_context(ctx, inputs, output):
        *tensors, ctx.scale, ctx.has_state = inputs
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        if not ctx.has_state:
            ctx.mark_non_differentiable(output[1])

    @staticmethod
    def vmap(info, in_dims, *arguments):
        return mapped(
            _ColumnReading.apply, _BATCHING, _TENSORS, (), info.batch_size, in_dims, arguments), 0

    @staticmethod
    def backward(ctx, output_gradient, state_gradient):
        q, k, v, decay, beta, initial_state, ends = ctx.saved_tensors
        options = dict(initial_state=initial_state, cumulative_lengths=ends, scale=ctx.scale)
        if output_gradient is None:
            output_gradient = torch.zeros_like(v)
        arguments = (output_gradient, v, k, decay, beta)
        others = {
            "keys": v, "values": k, "decay": decay, "beta": beta, "initial_state": initial_state
        }
        names = [name for name, x in others.items() if x is not None]
        gradients = dict.fromkeys(others)
        gradients.update(
            zip(names, linear_attention_backward(
                q, state_gradient if ctx.has_state else None, *arguments, needs=names,
                **options)))
        q_gradient = linear_attention(*arguments, **options)[0]
        keys_gradient, values_gradient, *rest = gradients.values()
        return (q_gradient, values_gradient, keys_gradient, *rest, None, None, None)


def _sum(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    if first is None or second is None:
        return second if first is None else first
    return first + second

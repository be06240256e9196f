"""causal-conv1d's functions: a convolution along time for each channel, on CPUs too.

    from swift_attention.causal_conv1d import causal_conv1d_fn, causal_conv1d_update

They are computed by PyTorch's operations.
"""

from __future__ import annotations

from typing import Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["causal_conv1d_fn", "causal_conv1d_update"]


def causal_conv1d_fn(
    x: Tensor,
    weight: Tensor,
    bias: Optional[Tensor] = None,
    seq_idx: Optional[Tensor] = None,
    initial_states: Optional[Tensor] = None,
    return_final_states: bool = False,
    final_states_out: Optional[Tensor] = None,
    activation: Optional[str] = None,
) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    """out_t = activation(bias + Σ weight_w x_{t − width + 1 + w}).

    Args:
        x: [batch, channels, length].
        weight: [channels, width].
        bias: [channels].
        seq_idx: [batch, length]: tokens of different numbers do not see each other.
        initial_states: [batch, channels, width − 1]: the tokens before the first.
        return_final_states: Whether the last width − 1 tokens are returned too.
        final_states_out: Memory for them.
        activation: None, "silu" or "swish", which are the same.

    Raises:
        ValueError: An invalid argument; the message names it.
    """
    _check(x, weight, activation)
    batch, channels, length = x.shape
    width = weight.shape[1]
    past = (batch, channels, width - 1)
    if initial_states is not None and initial_states.shape != past:
        raise ValueError(
            f"initial_states is {list(initial_states.shape)}; it must be {list(past)}")
    if seq_idx is not None:
        for name, value in (
            ("initial_states", initial_states), ("return_final_states", return_final_states or None)
        ):
            if value is not None:
                raise ValueError(f"{name} is given with seq_idx; it must not be")
        if seq_idx.shape != (batch, length):
            raise ValueError(f"seq_idx is {list(seq_idx.shape)}; it must be {[batch, length]}")
    inputs = x.to(weight.dtype)
    before = inputs.new_zeros(past) if initial_states is None else initial_states.to(weight.dtype)
    inputs = torch.cat([before, inputs], -1)
    if seq_idx is None:
        out = F.conv1d(inputs, weight[:, None], bias, groups=channels)
    else:
        out = _convolved_apart(inputs, weight, bias, seq_idx)
    out = _activated(out, activation).to(x.dtype)
    if not return_final_states:
        return out
    final = inputs[..., inputs.shape[-1] - (width - 1):].to(x.dtype)
    if final_states_out is None:
        return out, final
    return out, final_states_out.copy_(final)


def causal_conv1d_update(
    x: Tensor,
    conv_state: Tensor,
    weight: Tensor,
    bias: Optional[Tensor] = None,
    activation: Optional[str] = None,
    cache_seqlens: Optional[Tensor] = None,
    conv_state_indices: Optional[Tensor] = None,
) -> Tensor:
    """`causal_conv1d_fn` of the tokens after those in `conv_state`, which is updated in place.

    Args:
        x: [batch, channels] or [batch, channels, length].
        conv_state: [states, channels, capacity]: the last tokens, at least width − 1.
        weight: [channels, width].
        bias: [channels].
        activation: None, "silu" or "swish".
        cache_seqlens: int32 [batch]: the state is a ring, and x is written from
            cache_seqlens % capacity on; by default the state is moved along.
        conv_state_indices: int32 [batch]: the state of each row; by default the same row. A row
            with a negative index is padding: its output is zero, and no state is changed.

    Raises:
        ValueError: An invalid argument; the message names it.
    """
    is_step = x.dim() == 2
    tokens = x[..., None] if is_step else x
    _check(tokens, weight, activation)
    (batch, channels, length), width = tokens.shape, weight.shape[1]
    capacity = conv_state.shape[-1]
    if conv_state.dim() != 3 or conv_state.shape[1] != channels or capacity < width - 1:
        raise ValueError(
            f"conv_state is {list(conv_state.shape)}; it must be [states, {channels}, capacity],"
            f" the capacity at least {width - 1}")
    rows = None if conv_state_indices is None else conv_state_indices.long()
    is_real = None if rows is None else rows >= 0
    state = conv_state if rows is None else conv_state[rows.clamp(min=0)]
    if state.shape[0] != batch:
        raise ValueError(
            f"conv_state has {state.shape[0]} states; it must have {batch}, as x has rows")
    if cache_seqlens is None:
        everything = torch.cat([state.to(tokens.dtype), tokens], -1)
        kept = everything[..., everything.shape[-1] - capacity:]
    else:
        ring = cache_seqlens.long()[:, None]
        steps = torch.arange(1 - width, 0, device=x.device)
        past = ((ring + steps) % capacity)[:, None].expand(-1, channels, -1)
        everything = torch.cat([state.gather(2, past).to(tokens.dtype), tokens], -1)
        places = (ring + torch.arange(length, device=x.device)) % capacity
        kept = state.scatter(2, places[:, None].expand(-1, channels, -1), tokens.to(state.dtype))
    with torch.no_grad():
        if rows is None:
            conv_state.copy_(kept)
        else:
            conv_state[rows[is_real]] = kept[is_real].to(conv_state.dtype)
    out = F.conv1d(everything.to(weight.dtype), weight[:, None], bias, groups=channels)
    out = _activated(out[..., out.shape[-1] - length:], activation).to(x.dtype)
    if is_real is not None:
        out = torch.where(is_real[:, None, None], out, 0)
    return out[..., 0] if is_step else out


def _check(x: Tensor, weight: Tensor, activation: Optional[str]) -> None:
    if activation not in (None, "silu", "swish"):
        raise ValueError(f"activation is {activation!r}; it must be None, 'silu' or 'swish'")
    if x.dim() != 3:
        raise ValueError(f"x is {list(x.shape)}; it must be [batch, channels, length]")
    if weight.dim() != 2 or weight.shape[0] != x.shape[1]:
        raise ValueError(f"weight is {list(weight.shape)}; it must be [{x.shape[1]}, width]")


def _activated(out: Tensor, activation: Optional[str]) -> Tensor:
    return out if activation is None else F.silu(out)


def _convolved_apart(
    inputs: Tensor, weight: Tensor, bias: Optional[Tensor], seq_idx: Tensor
) -> Tensor:
    """The convolution of inputs [batch, channels, width − 1 + length] within each sequence."""
    width, length = weight.shape[1], seq_idx.shape[1]
    out = inputs.new_zeros((*inputs.shape[:2], length))
    for distance in range(width):
        first = width - 1 - distance
        # Before the first token there are zeros: what they are compared with is all the same.
        other = F.pad(seq_idx, (distance, 0), value=-1)[:, :length]
        seen = (other == seq_idx)[:, None]
        tokens = inputs[..., first:first + length]
        out = out + torch.where(seen, tokens, 0) * weight[:, first, None]
    if bias is not None:
        out = out + bias[:, None]
    # Negative numbers are padding.
    return torch.where((seq_idx >= 0)[:, None], out, 0)

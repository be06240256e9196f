"""`torch.nn.functional.scaled_dot_product_attention` by this package's kernels."""

from __future__ import annotations

from typing import Optional, Tuple

import torch
from torch import Tensor
from torch.compiler import is_compiling

from ._errors import InvalidArgument, InvalidType, renamed
from ._operators.attention import attend, attend_again
from ._operators.attention_calls import OptionValues
from ._operators.eager import (
    NUMBER_TYPES, check_axis, check_floating, check_tensors, is_causal_bias, number)

# Calls of this function have rules of their own and are cached separately.
_RULE = "scaled_dot_product_attention"
# The names of the operator's arguments in this module's function.
_NAMES = {
    "queries": "query", "keys": "key", "values": "value", "bias": "attn_mask",
    "key_mask": "attn_mask"}


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Optional[Tensor] = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: Optional[float] = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(query keyᵀ · scale + mask) value, as in `torch.nn.functional`.

    A query that may attend to no key gets zeros. Gradients reach query, key, value and a
    floating-point mask.

    Args:
        query: [..., heads, length, dimension], float32, bfloat16, float16, or on the CPU float64.
        key: [..., heads, keys, dimension]. Dimensions before the last two broadcast.
        value: [..., heads, keys, value dimension].
        attn_mask: Broadcasts to [..., heads, length, keys]: bool, true where a key may be attended
            to, or numbers added to the scores; or a `torch.nn.attention.bias.CausalBias`. Read in
            place, without a copy.
        dropout_p: 0; the kernels have no dropout.
        is_causal: Query i attends to keys 0 to i, whatever the lengths. Not together with
            `attn_mask`.
        scale: Multiplies the scores; by default 1/√dimension.
        enable_gqa: Key and value may have fewer heads, in a number that divides the query's, each
            shared by several query heads.

    Raises:
        ValueError: An invalid argument; the message names it.
        TypeError: An unsupported dtype or kind of tensor.

    Both are RuntimeErrors too, as in `torch.nn.functional`.
    """
    try:
        return _attended(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)
    except ValueError as error:
        raise renamed(error, _NAMES, InvalidArgument) from None
    except TypeError as error:
        raise renamed(error, _NAMES, InvalidType) from None


def _attended(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Optional[Tensor],
    dropout_p: float,
    is_causal: bool,
    scale: Optional[float],
    enable_gqa: bool,
) -> Tensor:
    if type(scale) not in NUMBER_TYPES:
        scale = number("scale", scale)
    is_causal, enable_gqa = bool(is_causal), bool(enable_gqa)
    rule = (_RULE, is_causal, scale, enable_gqa)
    if attn_mask is None and not dropout_p and not is_compiling():
        output = attend_again(query, key, value, rule)
        if output is not None:
            return output
    check_tensors(query=query, key=key, value=value)
    if dropout_p:
        raise ValueError(f"dropout_p is {dropout_p}; it must be 0: the kernels have no dropout")
    if attn_mask is not None and is_causal:
        raise ValueError("is_causal is True; it must be False where attn_mask is given")
    rank = max(query.dim(), key.dim(), value.dim())
    query, key, value, batch = _of_rank_four(query, key, value, enable_gqa)
    is_top_left, bias, key_mask = True, None, None
    if is_causal_bias(attn_mask):
        is_causal, is_top_left = True, _is_top_left(attn_mask, query, key)
        rule = (*rule, is_causal, is_top_left)
    elif attn_mask is not None:
        bias, key_mask = _mask(attn_mask, query, key, batch)
    output = attend(
        (query, key, value, bias, None, None, None, key_mask, None),
        OptionValues(
            scale=None if scale is None else float(scale), is_causal=is_causal,
            is_top_left=is_top_left, heads_first=True),
        rule)[0]
    return output if rank == 4 else output.reshape(*batch, *output.shape[4 - min(rank, 3):])


def _of_rank_four(
    query: Tensor, key: Tensor, value: Tensor, enable_gqa: bool
) -> Tuple[Tensor, Tensor, Tensor, Tuple[int, ...]]:
    """Query, key and value as [batch, heads, length, dimension], and the shape of the batch."""
    named = {"query": query, "key": key, "value": value}
    for name, tensor in named.items():
        if tensor.dim() < 2:
            raise ValueError(f"{name} is {list(tensor.shape)}; it must be of rank 2 or more")
        check_floating(name, tensor)
    check_axis("key", key, -1, query.shape[-1])
    check_axis("value", value, -2, key.shape[-2])
    tensors = [t[(None,) * (3 - t.dim())] if t.dim() < 3 else t for t in named.values()]
    heads = [t.shape[-3] for t in tensors]
    most = max(heads)
    if enable_gqa:
        if heads[1] != heads[2] or heads[1] == 0 or heads[0] % heads[1]:
            raise ValueError(
                f"enable_gqa is True with {heads[0]} heads of query, {heads[1]} of key and"
                f" {heads[2]} of value; key and value must have one number that divides"
                " the query's")
    elif any(count not in (1, most) for count in heads):
        raise ValueError(
            f"heads are {heads[0]} of query, {heads[1]} of key and {heads[2]} of value; they"
            " must be the same (or enable_gqa=True)")
    elif heads[0] != most or heads[1] != heads[2]:
        # Tensors with one head are expanded, without a copy.
        tensors = [t.expand(*t.shape[:-3], most, -1, -1) for t in tensors]
    try:
        batch = torch.broadcast_shapes(*(t.shape[:-3] for t in tensors))
    except RuntimeError:
        shapes = ", ".join(f"{name} {list(t.shape)}" for name, t in named.items())
        raise ValueError(f"batch is of {shapes}; it must broadcast") from None
    if len(batch) == 1:
        tensors = [
            t if t.dim() == 4 and t.shape[0] == batch[0] else t.expand(*batch, *t.shape[-3:])
            for t in tensors]
    else:
        tensors = [
            t.expand(*batch, *t.shape[-3:]).reshape(-1, *t.shape[-3:]) if batch else t[None]
            for t in tensors]
    query, key, value = tensors
    return query, key, value, tuple(batch)


def _is_top_left(bias: Tensor, query: Tensor, key: Tensor) -> bool:
    """The alignment of a `CausalBias`; the tensor itself has no contents."""
    lengths, own = [query.shape[2], key.shape[2]], [bias.seq_len_q, bias.seq_len_kv]
    if own != lengths:
        raise ValueError(f"attn_mask is a CausalBias of {own}; it must be of {lengths}")
    return bias.variant.name == "UPPER_LEFT"


def _mask(
    mask: Tensor, query: Tensor, key: Tensor, batch: Tuple[int, ...]
) -> Tuple[Optional[Tensor], Optional[Tensor]]:
    """The mask as a bias, or as a key mask if it is the same for all heads and queries."""
    check_tensors(attn_mask=mask)
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise TypeError(f"attn_mask is of {mask.dtype}; it must be bool or floating-point")
    full = (*batch, query.shape[1], query.shape[2], key.shape[2])
    try:
        torch.broadcast_shapes(mask.shape, full)
        fits = mask.dim() <= len(full)
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(
            f"attn_mask is {list(mask.shape)}; it must broadcast to {list(full)}")
    mask = mask[(None,) * (max(len(full), 4) - mask.dim())]
    if len(full) > 4:
        mask = mask.expand(*batch, *mask.shape[-3:]).reshape(-1, *mask.shape[-3:])
    if mask.dtype == torch.bool and mask.shape[1] == mask.shape[2] == 1:
        return None, mask[:, 0, 0].expand(query.shape[0], key.shape[2])
    return mask, None

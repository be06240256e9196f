"""Cosine similarity attention under the names of flash-cosine-sim-attention 0.1.40."""

from __future__ import annotations

from typing import Optional, Tuple

import torch
from torch import Tensor
from torch.compiler import is_compiling

from ._errors import renamed
from ._operators.attention import attend, attend_again
from ._operators.attention_calls import OptionValues
from ._operators.eager import (
    NUMBER_TYPES, check_axis, check_floating, check_optional_tensors, check_tensors, number)

# Slices with a norm below this are zero vectors.
_SHORTEST = 1e-12
# Calls of this function have rules of their own and are cached separately.
_RULE = "flash_cosine_sim_attention"
# The names of the operator's arguments in this module's functions.
_NAMES = {"queries": "q", "keys": "k", "values": "v", "bias": "attn_bias", "key_mask": "mask"}


def flash_cosine_sim_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Optional[Tensor] = None,
    attn_bias: Optional[Tensor] = None,
    scale: float = 8,
    groups: int = 1,
    causal: bool = False,
    l2norm_qk: bool = True,
    attn_bias_batch_dim: bool = False,
) -> Tensor:
    """softmax(scale · q̂ k̂ᵀ + bias) v, with q̂ and k̂ of unit norm in each group of columns.

    A query that may attend to no key gets zeros. Gradients reach q, k, v and the bias.

    Args:
        q: [batch, heads, length, dimension], or [batch, length, dimension] with batch and heads
            merged.
        k: [batch, heads, keys, dimension], or [batch, keys, dimension]: one head for all of q's, or
            merged as q is.
        v: Like k, with a dimension of its own.
        mask: bool [batch, keys], true where a key may be attended to; also with `causal`.
        attn_bias: [heads, length, keys]; [batch, length, keys] with `attn_bias_batch_dim` or if q
            is merged; or [batch, heads, length, keys].
        scale: Multiplies the similarity.
        groups: The number of equal slices in which q and k are normalised.
        causal: Masks keys after the query's position; the last query is at the last key.
        l2norm_qk: False if the caller has normalised q and k already.
        attn_bias_batch_dim: Whether the first dimension of a bias of rank 3 is the batch.

    Raises:
        ValueError: An invalid argument; the message names it.
        TypeError: An unsupported dtype or kind of tensor.
    """
    try:
        return _attended(q, k, v, mask, attn_bias, scale, groups, causal, l2norm_qk,
                         attn_bias_batch_dim)
    except (TypeError, ValueError) as error:
        raise renamed(error, _NAMES, type(error)) from None


def _attended(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Optional[Tensor],
    attn_bias: Optional[Tensor],
    scale: float,
    groups: int,
    causal: bool,
    l2norm_qk: bool,
    attn_bias_batch_dim: bool,
) -> Tensor:
    if type(scale) not in NUMBER_TYPES:
        scale = number("scale", scale)
    causal, l2norm_qk = bool(causal), bool(l2norm_qk)
    rule = (_RULE, scale, groups, causal, l2norm_qk)
    if mask is None and attn_bias is None and not is_compiling():
        output = attend_again(q, k, v, rule)
        if output is not None:
            return output
    check_tensors(q=q, k=k, v=v)
    is_merged = q.dim() == 3
    q, k, v = _with_heads(q, k, v)
    check_axis("k", k, -1, q.shape[-1])
    check_axis("v", v, -2, k.shape[-2])
    check_optional_tensors(mask=mask)
    if attn_bias is not None:
        attn_bias = _bias_of_rank_four(attn_bias, attn_bias_batch_dim or is_merged)
    output = attend(
        (q, k, v, attn_bias, None, None, None, mask, None),
        # What the caller normalised may have been changed since, so it is treated as a dot product.
        OptionValues(
            scale=float(scale), is_cosine=l2norm_qk, groups=groups if l2norm_qk else 1,
            is_causal=causal, heads_first=True),
        rule)[0]
    return output.squeeze(1) if is_merged else output


def plain_cosine_sim_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Optional[Tensor] = None,
    attn_bias: Optional[Tensor] = None,
    scale: float = 8,
    groups: int = 1,
    causal: bool = False,
    l2norm_qk: bool = True,
    attn_bias_batch_dim: bool = False,
) -> Tensor:
    """The definition of `flash_cosine_sim_attention` in PyTorch's operations.

    The one difference: a query that may attend to no key gets the mean of all values.
    """
    check_tensors(q=q, k=k, v=v)
    is_merged = q.dim() == 3
    q, k, v = _with_heads(q, k, v)
    if l2norm_qk:
        q, k = l2norm_tensors(q, k, groups=groups)
    scores = q @ k.transpose(-1, -2) * scale
    if attn_bias is not None:
        scores = scores + _bias_of_rank_four(attn_bias, attn_bias_batch_dim or is_merged)
    lowest = torch.finfo(scores.dtype).min
    if causal:
        queries, keys = scores.shape[-2:]
        every = torch.ones(queries, keys, dtype=torch.bool, device=q.device)
        scores = scores.masked_fill(every.triu(keys - queries + 1), lowest)
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, None], lowest)
    output = scores.softmax(dim=-1) @ v
    return output.squeeze(1) if is_merged else output


def l2norm_tensors(*tensors: Tensor, groups: int = 1) -> Tuple[Tensor, ...]:
    """Each tensor with its last dimension normalised in `groups` equal slices.

    The results have the first tensor's dtype. Zero vectors stay zero.
    """
    if not tensors:
        raise ValueError("tensors are none; they must be at least one")
    for tensor in tensors:
        check_tensors(tensors=tensor)
        if groups < 1 or tensor.shape[-1] % groups:
            raise ValueError(
                f"groups is {groups}; it must be at least 1 and a divisor of the dimension"
                f" {tensor.shape[-1]}")
    return tuple(_normalized(tensor, groups).to(tensors[0].dtype) for tensor in tensors)


def _normalized(tensor: Tensor, groups: int) -> Tensor:
    slices = tensor.unflatten(-1, (groups, -1))
    # In float32 the norm of half-precision numbers neither overflows nor underflows.
    lengths = torch.linalg.vector_norm(
        slices, dim=-1, keepdim=True,
        dtype=torch.float32 if tensor.dtype in (torch.float16, torch.bfloat16) else None)
    return (slices / lengths.clamp_min(_SHORTEST)).flatten(-2).to(tensor.dtype)


def _with_heads(q: Tensor, k: Tensor, v: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
    """Merged or single-head tensors as [batch, heads, length, dimension]."""
    for name, tensor, ranks in (("q", q, (3, 4)), ("k", k, (3, 4)), ("v", v, (k.dim(),))):
        if tensor.dim() not in ranks:
            must = " or ".join(map(str, ranks))
            raise ValueError(f"{name} is {list(tensor.shape)}; it must be of rank {must}")
    if q.dim() == 3 and k.dim() != 3:
        raise ValueError(
            f"k is {list(k.shape)}; it must be of rank 3 where q has batch and heads merged")
    q, k, v = (tensor.unsqueeze(1) if tensor.dim() == 3 else tensor for tensor in (q, k, v))
    return q, k, v


def _bias_of_rank_four(bias: Tensor, has_batch: bool) -> Tensor:
    check_tensors(attn_bias=bias)
    check_floating("attn_bias", bias)
    if bias.dim() not in (3, 4):
        raise ValueError(f"attn_bias is {list(bias.shape)}; it must be of rank 3 or 4")
    return bias if bias.dim() == 4 else bias.unsqueeze(1 if has_batch else 0)

"""Exact attention with all options of the kernels."""

from __future__ import annotations

from typing import Optional, Tuple, Union

from torch import Tensor

from ._operators.attention import attend
from ._operators.attention_calls import OptionValues
from ._operators.eager import check_optional_tensors, check_tensors

_ALIGNMENTS = ("bottom-right", "top-left")


def attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    scale: Union[float, Tensor, None] = None,
    is_causal: bool = False,
    alignment: str = "bottom-right",
    window: Optional[Tuple[Optional[int], Optional[int]]] = None,
    key_mask: Optional[Tensor] = None,
    cumulative_lengths: Optional[Tensor] = None,
    bias: Optional[Tensor] = None,
    softcap: Optional[float] = None,
    alibi: bool = False,
    logit_decay: Optional[Tensor] = None,
    sinks: Optional[Tensor] = None,
    is_cosine: bool = False,
    groups: int = 1,
    is_normalized: bool = False,
    allows_tf32: bool = False,
    kernel: Optional[str] = None,
    returns_log_sum_exp: bool = False,
) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    """softmax(s) values, with s = scale · queries keysᵀ plus further terms.

    A query that attends to no key gets zeros and a log-sum-exp of −∞. Gradients reach every
    floating-point tensor.

    Args:
        queries: [batch, length, heads, dimension] with any strides; float32, bfloat16, float16, or
            on the CPU float64.
        keys: [batch, keys, key heads, dimension]; the key heads divide the heads.
        values: [batch, keys, key heads, value dimension].
        scale: One number, or a tensor [heads]; by default 1/√dimension, or 8 for cosine similarity.
        is_causal: Masks keys after the query's position.
        alignment: "bottom-right": query i is at key i + keys − length; "top-left": at key i.
        window: The number of keys before and after a query's position; None is no limit.
        key_mask: bool [batch, keys], true where a key may be attended to.
        cumulative_lengths: int32 [sequences + 1]: packed sequences, batch 1.
        bias: Added to the scores; rank 4, broadcast to [batch, heads, length, keys]; of any
            floating-point dtype, or bool, true where a key may be attended to. It is read in place.
        softcap: Scores become softcap · tanh(scores / softcap).
        alibi: Subtracts 2^(−8(i + 1)/heads) · |distance| from the scores of head i.
        logit_decay: [batch, length, heads], natural log: adds differences of its cumulative sums.
        sinks: [heads]: one additional score per head in the softmax's sum.
        is_cosine: Normalises queries and keys in `groups` equal slices of their dimension.
        is_normalized: Whether they are already normalised.
        allows_tf32: Whether a GPU may round float32 operands of products to TF32's 11 bits.
        kernel: The name of the kernel to run; by default the fastest.
        returns_log_sum_exp: Whether [batch, heads, length], the natural logarithm of the softmax's
            sum in float32, is returned after the output.

    Raises:
        ValueError: An invalid argument; the message names it.
        TypeError: An unsupported dtype.
    """
    check_tensors(queries=queries, keys=keys, values=values)
    check_optional_tensors(
        bias=bias, logit_decay=logit_decay, sinks=sinks, key_mask=key_mask,
        cumulative_lengths=cumulative_lengths)
    if alignment not in _ALIGNMENTS:
        raise ValueError(f"alignment is {alignment!r}; it must be one of {_ALIGNMENTS}")
    head_scales = scale if isinstance(scale, Tensor) else None
    check_optional_tensors(scale=head_scales)
    if scale is None or head_scales is not None:
        number = None
    else:
        number = float(scale)
    left, right = window if window is not None else (None, None)
    for name, limit in (("window left", left), ("window right", right)):
        if limit is not None and limit < 0:
            raise ValueError(f"{name} is {limit}; it must be at least 0, or None for no limit")
    results = attend(
        (queries, keys, values, bias, head_scales, logit_decay, sinks, key_mask,
         cumulative_lengths),
        OptionValues(
            scale=number, softcap=0.0 if softcap is None else float(softcap),
            is_cosine=is_cosine, groups=groups, is_normalized=is_normalized,
            is_causal=is_causal, is_top_left=alignment == "top-left", window_left=left,
            window_right=right, has_alibi=alibi, allows_tf32=allows_tf32, kernel=kernel or ""))
    return results if returns_log_sum_exp else results[0]

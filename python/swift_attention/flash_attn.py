"""flash-attention's functions, on CPUs too.

    from swift_attention.flash_attn import flash_attn_func, flash_attn_with_kvcache

Arguments, defaults and shapes are those of flash-attention 2. Differences: dropout is refused; the
log-sum-exp of a query without keys is −∞, where the original has ∞; `return_attn_probs` returns no
probabilities, since they are never stored; `deterministic` and `num_splits` are accepted, and
results are the same to the bit in any case.
"""

from __future__ import annotations

from typing import List, Optional, Tuple, Union

import torch
from torch import Tensor

from .exact import attention

__all__ = [
    "flash_attn_func",
    "flash_attn_kvpacked_func",
    "flash_attn_qkvpacked_func",
    "flash_attn_varlen_func",
    "flash_attn_varlen_kvpacked_func",
    "flash_attn_varlen_qkvpacked_func",
    "flash_attn_with_kvcache",
]

Window = Tuple[int, int]
_NO_WINDOW = (-1, -1)


def flash_attn_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    dropout_p: float = 0.0,
    softmax_scale: Optional[float] = None,
    causal: bool = False,
    window_size: Window = _NO_WINDOW,
    softcap: float = 0.0,
    alibi_slopes: Optional[Tensor] = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Union[Tensor, Tuple[Tensor, Tensor, None]]:
    """softmax(q kᵀ · softmax_scale) v.

    Args:
        q: [batch, length, heads, dimension]; the last query is at the last key.
        k: [batch, keys, key heads, dimension]; the key heads divide the heads.
        v: [batch, keys, key heads, value dimension].
        dropout_p: 0; the kernels have no dropout.
        softmax_scale: By default 1/√dimension.
        causal: Masks keys after the query's position.
        window_size: The number of keys before and after it, −1 for no limit.
        softcap: Above 0, scores become softcap · tanh(scores / softcap).
        alibi_slopes: [heads] or [batch, heads]: subtracts slope · |distance|.
        deterministic: Results are the same to the bit in any case.
        return_attn_probs: Whether the log-sum-exp [batch, heads, length] and None are returned too.

    Raises:
        ValueError: An invalid argument; the message names it.
        TypeError: An unsupported dtype.
    """
    _check_dropout(dropout_p)
    output, lse = _attended(
        q, k, v, softmax_scale, causal, window_size, softcap, alibi_slopes)
    return (output, lse, None) if return_attn_probs else output


def flash_attn_kvpacked_func(
    q: Tensor,
    kv: Tensor,
    dropout_p: float = 0.0,
    softmax_scale: Optional[float] = None,
    causal: bool = False,
    window_size: Window = _NO_WINDOW,
    softcap: float = 0.0,
    alibi_slopes: Optional[Tensor] = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Union[Tensor, Tuple[Tensor, Tensor, None]]:
    """`flash_attn_func` of keys and values in one tensor [batch, keys, 2, key heads, dimension]."""
    k, v = _unpacked("kv", kv, 2, 5)
    return flash_attn_func(
        q, k, v, dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes,
        deterministic, return_attn_probs)


def flash_attn_qkvpacked_func(
    qkv: Tensor,
    dropout_p: float = 0.0,
    softmax_scale: Optional[float] = None,
    causal: bool = False,
    window_size: Window = _NO_WINDOW,
    softcap: float = 0.0,
    alibi_slopes: Optional[Tensor] = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Union[Tensor, Tuple[Tensor, Tensor, None]]:
    """`flash_attn_func` of one tensor [batch, length, 3, heads, dimension]."""
    q, k, v = _unpacked("qkv", qkv, 3, 5)
    return flash_attn_func(
        q, k, v, dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes,
        deterministic, return_attn_probs)


def flash_attn_varlen_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: Optional[float] = None,
    causal: bool = False,
    window_size: Window = _NO_WINDOW,
    softcap: float = 0.0,
    alibi_slopes: Optional[Tensor] = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
    block_table: Optional[Tensor] = None,
) -> Union[Tensor, Tuple[Tensor, Tensor, None]]:
    """`flash_attn_func` of packed sequences.

    Args:
        q: [all queries, heads, dimension].
        k: [all keys, key heads, dimension]; with a block table [blocks, block length, key heads,
            dimension].
        v: As k.
        cu_seqlens_q: int32 [sequences + 1]: where the queries of each sequence begin.
        cu_seqlens_k: int32 [sequences + 1]: the same of keys.
        max_seqlen_q: Not read: lengths are those of `cu_seqlens_q`.
        max_seqlen_k: Not read.
        alibi_slopes: [heads] or [sequences, heads].
        return_attn_probs: Whether the log-sum-exp [heads, all queries] and None are returned too.
        block_table: int32 [sequences, blocks]: the blocks with the keys of each sequence.

    The other arguments and the errors are those of `flash_attn_func`.
    """
    _check_dropout(dropout_p)
    for name, tensor in (("cu_seqlens_q", cu_seqlens_q), ("cu_seqlens_k", cu_seqlens_k)):
        if tensor.dim() != 1 or tensor.shape[0] < 1:
            raise ValueError(f"{name} is {list(tensor.shape)}; it must be [sequences + 1]")
    if cu_seqlens_q.shape != cu_seqlens_k.shape:
        raise ValueError(
            f"cu_seqlens_k is {list(cu_seqlens_k.shape)}; it must be"
            f" {list(cu_seqlens_q.shape)}, as cu_seqlens_q")
    ends, key_ends = cu_seqlens_q.tolist(), cu_seqlens_k.tolist()
    if block_table is None and alibi_slopes is None and ends == key_ends:
        output, lse = _attended(
            q[None], k[None], v[None], softmax_scale, causal, window_size, softcap, None,
            cumulative_lengths=cu_seqlens_q.to(torch.int32))
        output, lse = output[0], lse[0]
    else:
        outputs: List[Tensor] = []
        sums: List[Tensor] = []
        for index, (first, end) in enumerate(zip(ends, ends[1:])):
            keys = slice(key_ends[index], key_ends[index + 1])
            if block_table is None:
                own_keys, own_values = k[keys], v[keys]
            else:
                length = keys.stop - keys.start
                own_keys, own_values = (
                    x[block_table[index].long()].flatten(0, 1)[:length] for x in (k, v))
            slopes = alibi_slopes
            if slopes is not None and slopes.dim() == 2:
                slopes = slopes[index]
            output, lse = _attended(
                q[None, first:end], own_keys[None], own_values[None], softmax_scale, causal,
                window_size, softcap, slopes)
            outputs.append(output[0])
            sums.append(lse[0])
        if outputs:
            output, lse = torch.cat(outputs), torch.cat(sums, -1)
        else:
            output, lse = torch.empty_like(q), q.new_empty((q.shape[1], 0), dtype=torch.float32)
    return (output, lse, None) if return_attn_probs else output


def flash_attn_varlen_kvpacked_func(
    q: Tensor,
    kv: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: Optional[float] = None,
    causal: bool = False,
    window_size: Window = _NO_WINDOW,
    softcap: float = 0.0,
    alibi_slopes: Optional[Tensor] = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Union[Tensor, Tuple[Tensor, Tensor, None]]:
    """`flash_attn_varlen_func` of keys and values in one tensor [all keys, 2, heads, dimension]."""
    k, v = _unpacked("kv", kv, 2, 4)
    return flash_attn_varlen_func(
        q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p,
        softmax_scale, causal, window_size, softcap, alibi_slopes, deterministic,
        return_attn_probs)


def flash_attn_varlen_qkvpacked_func(
    qkv: Tensor,
    cu_seqlens: Tensor,
    max_seqlen: int,
    dropout_p: float = 0.0,
    softmax_scale: Optional[float] = None,
    causal: bool = False,
    window_size: Window = _NO_WINDOW,
    softcap: float = 0.0,
    alibi_slopes: Optional[Tensor] = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Union[Tensor, Tuple[Tensor, Tensor, None]]:
    """`flash_attn_varlen_func` of one tensor [all tokens, 3, heads, dimension]."""
    q, k, v = _unpacked("qkv", qkv, 3, 4)
    return flash_attn_varlen_func(
        q, k, v, cu_seqlens, cu_seqlens, max_seqlen, max_seqlen, dropout_p, softmax_scale,
        causal, window_size, softcap, alibi_slopes, deterministic, return_attn_probs)


@torch.no_grad()
def flash_attn_with_kvcache(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    k: Optional[Tensor] = None,
    v: Optional[Tensor] = None,
    rotary_cos: Optional[Tensor] = None,
    rotary_sin: Optional[Tensor] = None,
    cache_seqlens: Union[int, Tensor, None] = None,
    cache_batch_idx: Optional[Tensor] = None,
    cache_leftpad: Optional[Tensor] = None,
    block_table: Optional[Tensor] = None,
    softmax_scale: Optional[float] = None,
    causal: bool = False,
    window_size: Window = _NO_WINDOW,
    softcap: float = 0.0,
    rotary_interleaved: bool = True,
    alibi_slopes: Optional[Tensor] = None,
    num_splits: int = 0,
    return_softmax_lse: bool = False,
) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    """Attention to a cache, to which new keys and values are added in place; without gradients.

    Args:
        q: [batch, length, heads, dimension].
        k_cache: [cache batch, capacity, key heads, dimension]; with a block table [blocks, block
            length, key heads, dimension], of any block length.
        v_cache: As k_cache.
        k: [batch, new, key heads, dimension], written behind the keys that the cache has.
        v: As k.
        rotary_cos: [positions, rotary dimension / 2]: new keys, and queries, are rotated at their
            positions; queries at the first new one unless they are causal or have a window.
        rotary_sin: As rotary_cos.
        cache_seqlens: The number of keys that the cache has, one or int32 [batch]; by default all.
        cache_batch_idx: int32 [batch]: the rows of the cache.
        cache_leftpad: int32 [batch]: keys before these indices are not attended to.
        block_table: int32 [batch, blocks]: the blocks of each sequence.
        rotary_interleaved: Whether pairs are 0 and 1, 2 and 3, …; otherwise those of both halves.
        num_splits: Not read: the kernel decides.
        return_softmax_lse: Whether the log-sum-exp [batch, heads, length] is returned too.

    The other arguments and the errors are those of `flash_attn_func`.
    """
    batch, length = q.shape[:2]
    if (k is None) != (v is None):
        raise ValueError("k and v are one present, one absent; both must be present or absent")
    if (rotary_cos is None) != (rotary_sin is None):
        raise ValueError("rotary_cos and rotary_sin must both be present or absent")
    if block_table is not None and cache_batch_idx is not None:
        raise ValueError("cache_batch_idx is given with block_table; it must be None")
    rows = None if cache_batch_idx is None else cache_batch_idx.long()
    table = None if block_table is None else block_table.long()
    capacity = k_cache.shape[1] * (1 if table is None else table.shape[1])
    lengths = _lengths(cache_seqlens, batch, capacity)
    before = torch.tensor(lengths, device=q.device)[:, None]
    if k is not None:
        new = k.shape[1]
        if max(lengths, default=0) + new > capacity:
            raise ValueError(
                f"k has {new} keys for a cache of {capacity} that has {max(lengths)}; they must"
                " fit")
        places = before + torch.arange(new, device=q.device)
        if rotary_cos is not None:
            k = _rotated(k, rotary_cos, rotary_sin, places, rotary_interleaved)
        if table is None:
            own = torch.arange(batch, device=q.device) if rows is None else rows
            index = (own[:, None].expand_as(places), places)
        else:
            block = k_cache.shape[1]
            index = (table.gather(1, places // block), places % block)
        k_cache[index], v_cache[index] = k.to(k_cache.dtype), v.to(v_cache.dtype)
        lengths = [each + new for each in lengths]
    if rotary_cos is not None:
        is_local = causal or tuple(window_size) != _NO_WINDOW
        steps = torch.arange(length, device=q.device)
        q = _rotated(
            q, rotary_cos, rotary_sin, before + (steps if is_local else torch.zeros_like(steps)),
            rotary_interleaved)
    starts = [0] * batch if cache_leftpad is None else cache_leftpad.tolist()
    options = (softmax_scale, causal, window_size, softcap)
    longest = max(lengths, default=0)

    def cached(cache: Tensor, chosen: Union[int, slice]) -> Tensor:
        """[1 or batch, longest, key heads, dimension]"""
        if isinstance(chosen, int):
            chosen = slice(chosen, chosen + 1)
        if table is not None:
            return cache[table[chosen]].flatten(1, 2)[:, :longest]
        return (cache[chosen] if rows is None else cache[rows[chosen]])[:, :longest]

    is_even = len(set(lengths)) <= 1 and not any(starts)
    # One query sees every key up to its own: a mask of keys says that of all sequences at once.
    is_step = length == 1 and tuple(window_size) == _NO_WINDOW and alibi_slopes is None
    if is_even or is_step:
        mask = None
        if not is_even:
            keys = torch.arange(longest, device=q.device)
            ends, firsts = (torch.tensor(x, device=q.device)[:, None] for x in (lengths, starts))
            mask = (keys < ends) & (keys >= firsts)
        output, lse = _attended(
            q, cached(k_cache, slice(None)), cached(v_cache, slice(None)), softmax_scale,
            causal and is_even, window_size, softcap, alibi_slopes, key_mask=mask)
    else:
        results = []
        for index, (first, end) in enumerate(zip(starts, lengths)):
            slopes = alibi_slopes
            if slopes is not None and slopes.dim() == 2:
                slopes = slopes[index]
            results.append(_attended(
                q[index:index + 1], cached(k_cache, index)[:, first:end],
                cached(v_cache, index)[:, first:end], *options, slopes))
        output, lse = (torch.cat(each) for each in zip(*results))
    return (output, lse) if return_softmax_lse else output


def _check_dropout(dropout_p: float) -> None:
    if dropout_p:
        raise ValueError(f"dropout_p is {dropout_p}; it must be 0: the kernels have no dropout")


def _unpacked(name: str, tensor: Tensor, count: int, rank: int) -> Tuple[Tensor, ...]:
    if tensor.dim() != rank or tensor.shape[-3] != count:
        raise ValueError(
            f"{name} is {list(tensor.shape)}; it must be of rank {rank} with {count} on the third"
            " axis from the last")
    return tensor.unbind(-3)


def _attended(
    q: Tensor, k: Tensor, v: Tensor, scale: Optional[float], causal: bool, window: Window,
    softcap: float, slopes: Optional[Tensor], **masks: Optional[Tensor],
) -> Tuple[Tensor, Tensor]:
    """Output [batch, length, heads, value dimension] and log-sum-exp [batch, heads, length]."""
    left, right = (None if limit < 0 else limit for limit in window)
    return attention(
        q, k, v, scale=scale, is_causal=causal,
        window=None if left is None and right is None else (left, right),
        softcap=softcap if softcap > 0 else None,
        bias=None if slopes is None else _distances(q, k, slopes),
        returns_log_sum_exp=True, **masks)


def _distances(q: Tensor, k: Tensor, slopes: Tensor) -> Tensor:
    """− slope · |distance|, float32 [1 or batch, heads, length, keys]."""
    length, keys = q.shape[1], k.shape[1]
    places = torch.arange(length, device=q.device) + (keys - length)
    distance = (places[:, None] - torch.arange(keys, device=q.device)).abs()
    slopes = slopes if slopes.dim() == 2 else slopes[None]
    return -slopes.float()[:, :, None, None] * distance


def _lengths(given: Union[int, Tensor, None], batch: int, capacity: int) -> List[int]:
    if given is None:
        return [capacity] * batch
    lengths = [given] * batch if isinstance(given, int) else given.tolist()
    if len(lengths) != batch or any(not 0 <= each <= capacity for each in lengths):
        raise ValueError(
            f"cache_seqlens is {lengths}; it must be {batch} of 0 to {capacity}")
    return lengths


def _rotated(
    x: Tensor, cos: Tensor, sin: Tensor, places: Tensor, is_interleaved: bool
) -> Tensor:
    """x [batch, length, heads, dimension] rotated at the places [batch, length]."""
    width = 2 * cos.shape[-1]
    if width > x.shape[-1] or places.numel() and int(places.max()) >= cos.shape[0]:
        raise ValueError(
            f"rotary_cos is {list(cos.shape)}; it must have every position of the tokens and at"
            f" most {x.shape[-1] // 2} columns")
    cos, sin = (each[places][:, :, None].float() for each in (cos, sin))
    turned = x[..., :width].float()
    if is_interleaved:
        first, second = turned[..., ::2], turned[..., 1::2]
    else:
        first, second = turned.chunk(2, -1)
    pairs = (first * cos - second * sin, first * sin + second * cos)
    turned = torch.stack(pairs, -1).flatten(-2) if is_interleaved else torch.cat(pairs, -1)
    return torch.cat([turned.to(x.dtype), x[..., width:]], -1)

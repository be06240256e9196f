"""flash-attention's functions beside their definition in float64."""

from __future__ import annotations

import math
from typing import Optional

import pytest
import torch
from torch import Tensor

from support import check_against
from swift_attention.flash_attn import (
    flash_attn_func, flash_attn_kvpacked_func, flash_attn_qkvpacked_func, flash_attn_varlen_func,
    flash_attn_varlen_kvpacked_func, flash_attn_varlen_qkvpacked_func, flash_attn_with_kvcache)

LENGTHS = [(1, 1), (5, 5), (3, 9), (9, 3), (33, 70)]


def plain(
    q: Tensor, k: Tensor, v: Tensor, scale: Optional[float] = None, causal: bool = False,
    window=(-1, -1), softcap: float = 0.0, slopes: Optional[Tensor] = None,
    keep: Optional[Tensor] = None,
):
    """Output and log-sum-exp of [batch, length, heads, dimension]; `keep` is bool [batch, keys]."""
    group = q.shape[2] // k.shape[2]
    k, v = (x.repeat_interleave(group, 2) for x in (k, v))
    scores = torch.einsum("bthd,bshd->bhts", q, k) * (scale or 1 / math.sqrt(q.shape[3]))
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    t, s = scores.shape[2:]
    behind = torch.arange(s) - (torch.arange(t)[:, None] + s - t)
    if slopes is not None:
        slopes = slopes.to(scores).reshape(-1, q.shape[2], 1, 1)
        scores = scores - slopes * behind.abs()
    hidden = torch.zeros(1, 1, t, s, dtype=torch.bool)
    if window[0] >= 0:
        hidden = hidden | (behind < -window[0])
    if causal or window[1] >= 0:
        hidden = hidden | (behind > (0 if causal else window[1]))
    if keep is not None:
        hidden = hidden | ~keep[:, None, None]
    scores = scores.masked_fill(hidden, -math.inf)
    lse = scores.logsumexp(-1)
    weights = torch.exp(scores - lse.masked_fill(lse == -math.inf, 0)[..., None])
    return torch.einsum("bhts,bshd->bthd", weights, v), lse


def tensors(t: int, s: int, heads: int = 4, key_heads: int = 2, dtype=torch.float32):
    """q, k and v of batch 2, the values with a dimension of their own."""
    return (
        torch.randn(2, t, heads, 16, dtype=dtype), torch.randn(2, s, key_heads, 16, dtype=dtype),
        torch.randn(2, s, key_heads, 24, dtype=dtype))


@pytest.mark.parametrize("t,s", LENGTHS)
@pytest.mark.parametrize("options", [
    {}, {"causal": True}, {"window_size": (2, 1)}, {"window_size": (3, -1), "causal": True},
    {"softcap": 2.0, "softmax_scale": 0.7}, {"alibi_slopes": 1}, {"alibi_slopes": 2, "causal": True},
])
def test_attention(t: int, s: int, options: dict) -> None:
    options = dict(options)
    rank = options.pop("alibi_slopes", None)
    slopes = None if rank is None else torch.rand((4,) if rank == 1 else (2, 4))
    terms = dict(
        scale=options.get("softmax_scale"), causal=options.get("causal", False),
        window=options.get("window_size", (-1, -1)), softcap=options.get("softcap", 0.0),
        slopes=slopes)
    check_against(
        lambda *x: flash_attn_func(*x, alibi_slopes=slopes, **options),
        lambda *x: plain(*x, **terms)[0], tensors(t, s), f"{t}×{s}, {options}")
    q, k, v = tensors(t, s)
    output, lse, probabilities = flash_attn_func(
        q, k, v, alibi_slopes=slopes, return_attn_probs=True, **options)
    torch.testing.assert_close(lse, plain(q, k, v, **terms)[1], rtol=1e-4, atol=1e-4)
    assert probabilities is None and output.shape == (2, t, 4, 24)


def test_packed_tensors() -> None:
    qkv = torch.randn(2, 7, 3, 4, 16)
    expected = flash_attn_func(*qkv.unbind(2), causal=True)
    assert torch.equal(flash_attn_qkvpacked_func(qkv, causal=True), expected)
    found = flash_attn_kvpacked_func(qkv[:, :, 0], qkv[:, :, 1:], causal=True)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("key_lengths", [[3, 0, 7, 1], [5, 2, 4, 1]])
@pytest.mark.parametrize("has_slopes", [False, True])
def test_sequences(key_lengths: list, has_slopes: bool) -> None:
    lengths = [3, 0, 7, 1]
    q = torch.randn(sum(lengths), 4, 16)
    k, v = torch.randn(2, sum(key_lengths), 2, 16)
    starts, key_starts = (
        torch.tensor([0, *x]).cumsum(0).int() for x in (lengths, key_lengths))
    slopes = torch.rand(4, 4) if has_slopes else None
    found, lse, _ = flash_attn_varlen_func(
        q, k, v, starts, key_starts, 7, 7, causal=True, alibi_slopes=slopes,
        return_attn_probs=True)
    assert lse.shape == (4, sum(lengths))
    for index in range(4):
        own = slice(starts[index], starts[index + 1])
        keys = slice(key_starts[index], key_starts[index + 1])
        expected, sums = plain(
            q[None, own], k[None, keys], v[None, keys], causal=True,
            slopes=None if slopes is None else slopes[index])
        torch.testing.assert_close(found[own], expected[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(lse[:, own], sums[0], rtol=1e-4, atol=1e-5)


def test_packed_sequences_in_one_tensor() -> None:
    qkv = torch.randn(11, 3, 4, 16)
    starts = torch.tensor([0, 4, 11], dtype=torch.int32)
    expected = flash_attn_varlen_func(*qkv.unbind(1), starts, starts, 7, 7, causal=True)
    assert torch.equal(flash_attn_varlen_qkvpacked_func(qkv, starts, 7, causal=True), expected)
    assert torch.equal(flash_attn_varlen_kvpacked_func(
        qkv[:, 0], qkv[:, 1:], starts, starts, 7, 7, causal=True), expected)


def test_sequences_in_blocks() -> None:
    k, v = torch.randn(2, 6, 4, 2, 16)
    q = torch.randn(5, 4, 16)
    table = torch.tensor([[4, 0, 2], [1, 5, 3]], dtype=torch.int32)
    starts, key_starts = torch.tensor([[0, 2, 5], [0, 9, 14]], dtype=torch.int32)
    found = flash_attn_varlen_func(
        q, k, v, starts, key_starts, 3, 9, causal=True, block_table=table)
    for index, length in enumerate((9, 5)):
        own = slice(starts[index], starts[index + 1])
        keys, values = (x[table[index].long()].flatten(0, 1)[None, :length] for x in (k, v))
        expected = plain(q[None, own], keys, values, causal=True)[0][0]
        torch.testing.assert_close(found[own], expected, rtol=1e-4, atol=1e-5)


def rotated(x: Tensor, cos: Tensor, sin: Tensor, places: Tensor, is_interleaved: bool) -> Tensor:
    """Rotation as multiplication of complex numbers; x [batch, length, heads, dimension]."""
    width = 2 * cos.shape[1]
    part = x[..., :width]
    pairs = (
        part.unflatten(-1, (-1, 2)) if is_interleaved else part.unflatten(-1, (2, -1)).mT)
    turn = torch.complex(cos, sin)[places][:, :, None]
    pairs = torch.view_as_real(torch.view_as_complex(pairs.contiguous()) * turn)
    part = (pairs if is_interleaved else pairs.mT).flatten(-2)
    return torch.cat([part, x[..., width:]], -1)


@pytest.mark.parametrize("is_paged", [False, True])
@pytest.mark.parametrize("length,new", [(1, 1), (4, 4), (1, 0), (3, 2)])
@pytest.mark.parametrize("options", [
    {}, {"causal": True}, {"causal": True, "window_size": (3, 0)}, {"rotary_interleaved": False},
    {"alibi_slopes": True, "causal": True}, {"cache_leftpad": True, "causal": True}])
def test_caches(is_paged: bool, length: int, new: int, options: dict) -> None:
    options = dict(options)
    block, batch, capacity = 4, 3, 16
    q = torch.randn(batch, length, 4, 16)
    table = torch.randperm(batch * capacity // block).view(batch, -1)
    shape = (batch * capacity // block, block) if is_paged else (5, capacity)
    k_cache, v_cache = torch.randn(2, *shape, 2, 16)
    rows = torch.tensor([4, 0, 2])
    where = dict(block_table=table.int()) if is_paged else dict(cache_batch_idx=rows.int())
    lengths = torch.tensor([7, 2, 11], dtype=torch.int32)
    cos, sin = torch.rand(2, capacity, 4)
    if options.pop("alibi_slopes", False):
        options["alibi_slopes"] = torch.rand(4)
    if options.pop("cache_leftpad", False):
        options["cache_leftpad"] = torch.tensor([1, 0, 5], dtype=torch.int32)

    def cached(cache: Tensor, index: int) -> Tensor:
        return cache[table[index]].flatten(0, 1) if is_paged else cache[rows[index]]

    kept = [[cached(x, index).clone() for index in range(batch)] for x in (k_cache, v_cache)]
    is_interleaved = options.get("rotary_interleaved", True)
    is_local = options.get("causal", False) or "window_size" in options
    added = None
    if new:
        added = torch.randn(2, batch, new, 2, 16)
        where.update(k=added[0], v=added[1], rotary_cos=cos, rotary_sin=sin)
    output, lse = flash_attn_with_kvcache(
        q, k_cache, v_cache, cache_seqlens=lengths, return_softmax_lse=True, **where, **options)
    for index in range(batch):
        end, own = int(lengths[index]), q[index:index + 1]
        if new:
            places = torch.arange(end, end + new)[None]
            turned = rotated(added[0][index:index + 1], cos, sin, places, is_interleaved)
            kept[0][index][end:end + new] = turned[0]
            kept[1][index][end:end + new] = added[1][index]
            steps = torch.arange(length) if is_local else torch.zeros(length, dtype=torch.long)
            if int((end + steps).max()) < capacity:
                own = rotated(own, cos, sin, (end + steps)[None], is_interleaved)
        for cache, before in zip((k_cache, v_cache), kept):
            torch.testing.assert_close(cached(cache, index), before[index])
        first = int(options["cache_leftpad"][index]) if "cache_leftpad" in options else 0
        keys, values = (x[index][None, first:end + new] for x in kept)
        expected, sums = plain(
            own, keys, values, causal=options.get("causal", False),
            window=options.get("window_size", (-1, -1)), slopes=options.get("alibi_slopes"))
        torch.testing.assert_close(output[index:index + 1], expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(lse[index:index + 1], sums, rtol=1e-4, atol=1e-5)


def test_what_is_refused() -> None:
    q, k, v = tensors(4, 4)
    with pytest.raises(ValueError, match="dropout_p is 0.1; it must be 0"):
        flash_attn_func(q, k, v, dropout_p=0.1)
    with pytest.raises(ValueError, match=r"qkv is \[2, 4, 4, 16\]; it must be of rank 5"):
        flash_attn_qkvpacked_func(q)
    with pytest.raises(ValueError, match="k has 3 keys for a cache of 4 that has 2"):
        flash_attn_with_kvcache(q, k, k.clone(), k[:, :3], k[:, :3], cache_seqlens=2)
    with pytest.raises(ValueError, match="cache_seqlens is .*; it must be 2 of 0 to 4"):
        flash_attn_with_kvcache(q, k, k.clone(), cache_seqlens=5)
    with pytest.raises(ValueError, match="cu_seqlens_k is"):
        starts = torch.tensor([0, 4], dtype=torch.int32)
        flash_attn_varlen_func(q[0], k[0], v[0], starts, starts[:1], 4, 4)

"""Cosine similarity attention compared with the plain one of flash-cosine-sim-attention 0.1.40."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import peers
from support import check_against, dtypes_on, error
from swift_attention import (
    flash_cosine_sim_attention, l2norm_tensors, plain_cosine_sim_attention)

# Batch, heads, queries, keys and dimension, options, and shape of the bias.
CASES = {
    "self": ((2, 3, 21, 21, 32), {}, None),
    "cross": ((2, 3, 21, 45, 16), {}, None),
    "past 512 keys": ((1, 2, 33, 700, 16), {}, None),
    "causal past 512": ((1, 1, 600, 600, 16), {"causal": True}, None),
    "causal": ((2, 3, 40, 40, 32), {"causal": True}, None),
    "causal, more keys": ((1, 2, 19, 33, 32), {"causal": True}, None),
    "groups": ((1, 2, 33, 33, 48), {"groups": 4, "causal": True}, None),
    "small scale": ((1, 2, 33, 33, 32), {"scale": 1}, None),
    "large scale": ((1, 2, 33, 33, 32), {"scale": 30}, None),
    "not normalised": ((1, 2, 33, 33, 32), {"l2norm_qk": False, "scale": 0.2}, None),
    "bias of heads": ((2, 3, 21, 25, 32), {}, (3, 21, 25)),
    "bias of heads, causal": ((2, 3, 21, 25, 32), {"causal": True}, (3, 21, 25)),
    "bias of batch": ((2, 3, 21, 25, 32), {"attn_bias_batch_dim": True}, (2, 21, 25)),
}


def tensors_of(shape: tuple, bias: tuple, device: torch.device, dtype: torch.dtype) -> list:
    batch, heads, queries, keys, dim = shape
    result = [torch.randn(batch, heads, n, dim, device=device) for n in (queries, keys, keys)]
    if bias is not None:
        result.append(torch.randn(bias, device=device))
    return [t.to(dtype) for t in result]


def called(function, options: dict):
    def call(q: Tensor, k: Tensor, v: Tensor, bias: Tensor = None) -> Tensor:
        return function(q, k, v, attn_bias=bias, **options)

    return call


@pytest.mark.parametrize("name", CASES)
def test_definition(name: str, device: torch.device) -> None:
    """Compares with our own definition; another test compares that with the original."""
    shape, options, bias = CASES[name]
    for dtype in dtypes_on(device):
        check_against(
            called(flash_cosine_sim_attention, options),
            called(plain_cosine_sim_attention, options),
            tensors_of(shape, bias, device, dtype), name)


@pytest.mark.parametrize("name", CASES)
def test_original(name: str, device: torch.device) -> None:
    original = peers.cosine().plain_cosine_sim_attention
    shape, options, bias = CASES[name]
    tensors = tensors_of(shape, bias, device, torch.float32)
    check_against(
        called(flash_cosine_sim_attention, options), called(original, options), tensors, name)
    plain = called(plain_cosine_sim_attention, options)(*tensors)
    assert error(plain, called(original, options)(*tensors)) < 1e-6


def test_original_with_masks_and_shared_heads(device: torch.device) -> None:
    original = peers.cosine().plain_cosine_sim_attention
    q = torch.randn(2, 3, 21, 32, device=device)
    k, v = (torch.randn(2, 25, 32, device=device) for _ in range(2))
    mask = torch.rand(2, 25, device=device) > 0.4
    for function in (flash_cosine_sim_attention, plain_cosine_sim_attention):
        check_against(
            lambda *t: function(*t, mask=mask), lambda *t: original(*t, mask=mask), [q, k, v],
            "one head of keys, masked")
        bias = torch.randn(6, 21, 25, device=device)
        merged = [torch.randn(6, n, 32, device=device) for n in (21, 25, 25)]
        check_against(
            lambda *t: function(*t[:3], attn_bias=t[3], causal=True),
            lambda *t: original(*t[:3], attn_bias=t[3], causal=True), [*merged, bias], "merged")


def test_mask_together_with_causal(device: torch.device) -> None:
    q, k, v = (torch.randn(2, 3, 21, 32, device=device) for _ in range(3))
    mask = torch.rand(2, 21, device=device) > 0.3
    mask[:, 0] = True
    for dtype in dtypes_on(device):
        check_against(
            lambda *t: flash_cosine_sim_attention(*t, mask=mask, causal=True),
            lambda *t: plain_cosine_sim_attention(*t, mask=mask, causal=True),
            [t.to(dtype) for t in (q, k, v)], "mask and causal")


def test_queries_without_keys_give_zeros(device: torch.device) -> None:
    q, k, v = (torch.randn(2, 3, n, 32, device=device) for n in (9, 5, 5))
    output = flash_cosine_sim_attention(q, k, v, causal=True)
    assert (output[:, :, :4] == 0).all() and (output[:, :, 4:] != 0).any()
    mask = torch.zeros(2, 5, dtype=torch.bool, device=device)
    assert (flash_cosine_sim_attention(q, k, v, mask=mask) == 0).all()


def test_bias_of_everything(device: torch.device) -> None:
    q, k, v = (torch.randn(2, 3, 5, 8, device=device) for _ in range(3))
    bias = torch.randn(2, 3, 5, 5, device=device)
    check_against(
        flash_cosine_sim_attention, plain_cosine_sim_attention, [q, k, v, None, bias], "full bias")


def test_l2norm_tensors(device: torch.device) -> None:
    for dtype in dtypes_on(device):
        q, k = (torch.randn(2, 3, 5, 24, device=device).to(dtype) for _ in range(2))
        q[0, 0, 0] = 0
        for groups in (1, 3):
            for result, tensor in zip(l2norm_tensors(q, k, groups=groups), (q, k)):
                slices = tensor.double().unflatten(-1, (groups, -1))
                expected = torch.nn.functional.normalize(slices, dim=-1).flatten(-2)
                assert result.dtype == dtype and not result.isnan().any()
                assert error(result, expected) < 1e-2 if dtype.itemsize == 2 else 1e-6
    assert l2norm_tensors(q.float(), k.bfloat16())[1].dtype == torch.float32


def test_tiny_and_huge_lengths(device: torch.device) -> None:
    """Only the direction of queries and keys matters, in every dtype."""
    for dtype in dtypes_on(device):
        q, k, v = (torch.randn(1, 2, 9, 16, device=device).to(dtype) for _ in range(3))
        factor = 2.0 ** (8 if dtype == torch.float16 else 40)
        expected = flash_cosine_sim_attention(q, k, v)
        bound = 1e-2 if dtype.itemsize == 2 else 1e-6
        assert error(flash_cosine_sim_attention(q * factor, k, v), expected) < bound
        if dtype != torch.float16:
            assert error(flash_cosine_sim_attention(q, k / 2.0 ** 30, v), expected) < bound

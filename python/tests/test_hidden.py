"""Masked elements have no influence, whatever they are; and empty tensors."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from support import dtypes_on, error
from swift_attention import attention, scaled_dot_product_attention

GARBAGE = [math.nan, math.inf]
BOUNDS = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 4e-3}


def drawn(shape: list, device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.randn(shape, device=device).to(dtype)


def gradients(function, tensors: list, output_gradient: Tensor) -> list:
    tensors = [t.clone().requires_grad_() for t in tensors]
    output = function(*tensors)
    return [output, *torch.autograd.grad(output, tensors, output_gradient)]


def same(found: list, expected: list, what: str) -> None:
    for name, one, other in zip(("output", "dq", "dk", "dv"), found, expected):
        assert one.isfinite().all(), f"{what}: {name}"
        assert error(one, other) < BOUNDS[one.dtype], f"{what}: {name}"


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("form", ["keys", "pairs", "heads"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding(side: str, form: str, garbage: float, device: torch.device) -> None:
    """Padded keys and values hold garbage, and so do the gradients of padded queries' outputs."""
    length, padding = 70, 20
    for dtype in dtypes_on(device):
        q, k, v, g = (drawn([2, 3, length, 32], device, dtype) for _ in range(4))
        is_kept = torch.ones(2, length, dtype=torch.bool, device=device)
        rows = slice(0, padding) if side == "left" else slice(length - padding, length)
        is_kept[1, rows] = False
        mask = is_kept[:, None, None, :]
        if form != "keys":
            mask = mask & torch.ones(length, length, dtype=torch.bool, device=device).tril()
        if form == "heads":
            mask = mask.expand(2, 3, length, length)

        def masked(*tensors: Tensor) -> Tensor:
            return scaled_dot_product_attention(*tensors, attn_mask=mask)

        clean = [q, *(t.masked_fill(~is_kept[:, None, :, None], 0) for t in (k, v))]
        expected = gradients(masked, clean, g)
        for t in (k, v):
            t[1, :, rows] = garbage
        if form != "keys" and side == "left":
            # These queries attend to nothing.
            g[1, :, rows] = garbage
        same(gradients(masked, [q, k, v], g), expected, f"{side}, {form}, {dtype}")


def test_padded_tokens_without_gradients(device: torch.device) -> None:
    """Whole tokens are garbage, and their results are unused."""
    if device.type != "cpu":
        pytest.skip("on a GPU, a query that sees keys counts whatever its gradient is")
    q, k, v, g = (torch.randn(2, 3, 40, 16, device=device) for _ in range(4))
    g[1, :, 30:] = 0
    is_kept = torch.ones(2, 1, 1, 40, dtype=torch.bool, device=device)
    is_kept[1, ..., 30:] = False

    def masked(*tensors: Tensor) -> Tensor:
        return scaled_dot_product_attention(*tensors, attn_mask=is_kept)

    expected = gradients(masked, [q, k, v], g)
    for t in (q, k, v):
        t[1, :, 30:] = math.nan
    found = gradients(masked, [q, k, v], g)
    found[0], expected[0] = (t[..., :30, :] for t in (found[0], expected[0]))
    same(found, expected, "tokens")


@pytest.mark.parametrize("garbage", GARBAGE)
def test_pages_that_nobody_has_written(garbage: float, device: torch.device) -> None:
    """A cache of fixed capacity: the key mask or causality hides keys after the newest."""
    capacity, length = 300, 131
    for dtype in dtypes_on(device):
        keys, values = (drawn([2, capacity, 2, 64], device, dtype) for _ in range(2))
        keys[:, length:] = garbage
        values[:, length:] = garbage
        is_written = (torch.arange(capacity, device=device) < length).expand(2, capacity)
        for count in (1, 3, 40):
            queries = drawn([2, count, 4, 64], device, dtype)
            expected = attention(queries, keys[:, :length], values[:, :length])
            found = attention(queries, keys, values, key_mask=is_written)
            assert error(found, expected) < BOUNDS[dtype], f"{count} queries, {dtype}"
        queries = drawn([2, length, 4, 64], device, dtype)
        expected = attention(queries, keys[:, :length], values[:, :length], is_causal=True)
        found = attention(queries, keys, values, is_causal=True, alignment="top-left")
        assert error(found, expected) < BOUNDS[dtype], f"top-left, {dtype}"


SIZES = {
    "no key dimension": ([2, 5, 4, 0], [2, 7, 2, 0], [2, 7, 2, 8]),
    "no value dimension": ([2, 5, 4, 8], [2, 7, 2, 8], [2, 7, 2, 0]),
    "neither": ([2, 5, 4, 0], [2, 7, 2, 0], [2, 7, 2, 0]),
    "no keys": ([2, 5, 4, 8], [2, 0, 2, 8], [2, 0, 2, 8]),
    "no queries": ([2, 0, 4, 8], [2, 7, 2, 8], [2, 7, 2, 8]),
    "no batch": ([0, 5, 4, 8], [0, 7, 2, 8], [0, 7, 2, 8]),
    "no heads": ([2, 5, 0, 8], [2, 7, 0, 8], [2, 7, 0, 8]),
    "wide": ([1, 5, 2, 320], [1, 7, 2, 320], [1, 7, 2, 300]),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes(name: str, device: torch.device) -> None:
    """Everything is written if a dimension is 0, and log-sum-exps have gradients too."""
    if name == "wide" and device.type != "cpu":
        pytest.skip("GPU kernels take dimensions up to 256")
    shapes = SIZES[name]
    q, k, v = (torch.randn(shape, device=device).requires_grad_() for shape in shapes)
    output, lse = attention(q, k, v, returns_log_sum_exp=True)
    scale = 1 / math.sqrt(max(1, q.shape[3]))
    group = q.shape[2] // max(1, k.shape[2])
    wide = [t.double().repeat_interleave(group, 2) if group else t.double() for t in (k, v)]
    scores = torch.einsum("bthd,bshd->bhts", q.double(), wide[0]) * scale
    expected = scores.logsumexp(-1)
    weights = (scores - expected[..., None]).exp().nan_to_num(0)
    sums = torch.einsum("bhts,bshv->bthv", weights, wide[1])
    assert torch.allclose(lse.double(), expected, atol=1e-5)
    assert torch.allclose(output.double(), sums, atol=1e-5)
    finite = torch.where(lse.isinf(), 0, lse)
    found = torch.autograd.grad(output.sum() + finite.sum(), [q, k, v])
    finite = torch.where(expected.isinf(), 0, expected)
    for one, other in zip(found, torch.autograd.grad(sums.sum() + finite.sum(), [q, k, v])):
        assert torch.allclose(one, other.nan_to_num(0), atol=1e-4), name

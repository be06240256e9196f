"""Exact causal attention under flash-linear-attention's names."""

from __future__ import annotations

from typing import Dict

import pytest
import torch
from comparison import by_sequence, compare, error, seeded
from references import naive
from torch import Tensor

from swift_attention import fla

_ENDS = [0, 19, 19, 20, 37]


def _inputs(name: str, *, batch: int = 2, has_gate: bool = False,
            has_sinks: bool = False) -> Dict[str, Tensor]:
    seeded(name)
    inputs = {"q": torch.randn(batch, 37, 4, 16), "k": torch.randn(batch, 37, 2, 16),
              "v": torch.randn(batch, 37, 2, 12)}
    if has_gate:
        inputs["g"] = -torch.rand(batch, 37, 4)
    if has_sinks:
        inputs["sink_bias"] = torch.randn(4)
    return inputs


def _reference(x: Dict[str, Tensor], **options: object) -> Tensor:
    results = naive("attn/naive").naive_parallel_attn(**x, **options)
    return results[0] if isinstance(results, tuple) else results


@pytest.mark.parametrize("window", [None, 1, 5, 100])
@pytest.mark.parametrize("has_gate", [False, True])
@pytest.mark.parametrize("has_sinks", [False, True])
def test_parallel_attn(has_gate: bool, has_sinks: bool, window: int) -> None:
    name = f"parallel_attn {has_gate} {has_sinks} {window}"
    compare(
        name, lambda x: fla.parallel_attn(**x, scale=0.3, window_size=window),
        lambda x: _reference(x, scale=0.3, window_size=window),
        _inputs(name, has_gate=has_gate, has_sinks=has_sinks))


@pytest.mark.parametrize("window", [None, 5])
def test_packed_forgetting_attention(window: int) -> None:
    def one(q: Tensor, k: Tensor, v: Tensor, g: Tensor, _: Tensor) -> tuple:
        return _reference(dict(q=q, k=k, v=v, g=g), window_size=window), q[0, 0]

    ends = torch.tensor(_ENDS)
    compare(
        "parallel_forgetting_attn",
        lambda x: fla.parallel_forgetting_attn(**x, window_size=window, cu_seqlens=ends),
        lambda x: by_sequence(one, [0, 19, 20, 37], list(x.values()), None)[0],
        _inputs("forgetting", batch=1, has_gate=True))


def test_a_gate_that_forgets_everything_cuts_the_past_off() -> None:
    """Tokens from it on are an independent sequence, at once and token by token."""
    inputs = _inputs("cut", batch=1, has_gate=True)
    tensors = {name: x.clone().requires_grad_() for name, x in inputs.items()}
    with torch.no_grad():
        tensors["g"][:, 21] = float("-inf")
    output = fla.parallel_forgetting_attn(**tensors)
    own = output.detach()
    whole = torch.tensor([0, 21, 37])
    parts = {name: x.clone().requires_grad_() for name, x in inputs.items()}
    expected = fla.parallel_forgetting_attn(**parts, cu_seqlens=whole)
    assert error(own, expected.detach()) < 1e-5
    upstream = torch.randn_like(output)
    output.backward(upstream)
    expected.backward(upstream)
    for name in ("q", "k", "v"):
        assert error(tensors[name].grad, parts[name].grad) < 1e-5, name
    gate = tensors["g"].grad
    assert torch.isfinite(gate).all() and gate[:, 21].abs().max() < 1e-5
    last = fla.attn_decoding_one_step(
        tensors["q"][:, 36:].detach(), tensors["k"].detach(), tensors["v"].detach(),
        tensors["g"].detach(), cu_seqlens=torch.tensor([0, 37]))
    assert error(last, own[:, 36:]) < 1e-5


@pytest.mark.parametrize("window", [None, 0, 5])
@pytest.mark.parametrize("scales_gate", [False, True])
def test_decoding(scales_gate: bool, window: int) -> None:
    inputs = _inputs("decoding", batch=1, has_gate=True, has_sinks=True)
    last = [end - 1 for end in _ENDS[1:]]
    output = fla.attn_decoding_one_step(
        **{**inputs, "q": inputs["q"][:, last]}, cu_seqlens=torch.tensor(_ENDS),
        do_gate_scale=scales_gate, window_size=window)
    for index, (first, end) in enumerate(zip(_ENDS[:-1], _ENDS[1:])):
        if first == end or window == 0:
            assert not output[:, index].any()
            continue
        piece = {key: x if key == "sink_bias" else x[:, first:end] for key, x in inputs.items()}
        if scales_gate:
            piece["g"] = piece["g"] * 16 ** -0.5
        expected = _reference(piece, window_size=window)[:, -1]
        assert error(output[:, index], expected) < 1e-5, (scales_gate, window, index)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_decoding_keeps_the_sums_of_gates(dtype: torch.dtype) -> None:
    """They are float32 with half-precision queries too: large ones differ in their last digits."""
    seeded("sums of gates")
    length = 60
    q, k, v = (torch.randn(1, n, 2, 16).to(dtype) for n in (1, length, length))
    g = -torch.rand(1, length, 2) * 0.1
    # The last gate follows all keys but the last, which is far from the query.
    g[:, -1] = -1000
    k[:, -1] = -600 * q[:, 0]
    output = fla.attn_decoding_one_step(q, k, v, g, 0.3, torch.tensor([0, length]))
    x = [t.double() for t in (q, k, v, g)]
    behind = x[3].flip(1).cumsum(1).flip(1) - x[3]
    scores = torch.einsum("bqhd,bkhd->bhqk", x[0], x[1]) * 0.3 + behind.transpose(1, 2)[:, :, None]
    expected = torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), x[2])
    assert error(output, expected) < {torch.bfloat16: 1e-2, torch.float16: 2e-3}[dtype]


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_window_without_keys(is_packed: bool) -> None:
    """Zeros, and gradients of zero."""
    inputs = _inputs("no window", batch=1 if is_packed else 2, has_gate=True, has_sinks=True)
    leaves = {key: x.requires_grad_() for key, x in inputs.items()}
    output = fla.parallel_attn(
        **leaves, window_size=0, cu_seqlens=torch.tensor(_ENDS) if is_packed else None)
    assert output.shape == (*inputs["q"].shape[:3], 12) and not output.any()
    for gradient in torch.autograd.grad(output.sum(), list(leaves.values())):
        assert not gradient.any()


def test_decoding_behind_a_closed_gate() -> None:
    """A gate of −∞ cuts off the tokens before it, and nothing else."""
    inputs = _inputs("closed gate", batch=1, has_gate=True)
    inputs["q"] = inputs["q"][:, -1:]
    inputs["g"][:, 20] = -torch.inf
    leaves = {key: x.requires_grad_() for key, x in inputs.items()}
    output = fla.attn_decoding_one_step(**leaves, cu_seqlens=torch.tensor([0, 37]))
    rest = {key: x if key == "q" else x[:, 20:] for key, x in inputs.items()}
    expected = fla.attn_decoding_one_step(**rest, cu_seqlens=torch.tensor([0, 17]))
    assert error(output.detach(), expected.detach()) < 1e-6
    gradients = torch.autograd.grad(output.sum(), list(leaves.values()))
    assert all(x.isfinite().all() for x in gradients)

"""Polynomials of scores, preconditioned delta rules, least squares and buckets."""

from __future__ import annotations

from typing import Dict

import pytest
import torch
import torch.nn.functional as functional
from comparison import by_sequence, compare, error, seeded
from families import strong
from references import naive
from torch import Tensor

from swift_attention import fla

_ENDS = [0, 19, 19, 20, 37]
_LENGTH = _ENDS[-1]

# --- Polynomials


def _rows(name: str, width: int) -> Dict[str, Tensor]:
    seeded(name)
    return {"q": torch.randn(2, _LENGTH, 2, width), "k": torch.randn(2, _LENGTH, 2, width),
            "v": torch.randn(2, _LENGTH, 2, 12)}


@pytest.mark.parametrize("width", [5, 16, 24])
@pytest.mark.parametrize("use_norm", [False, True])
def test_based(use_norm: bool, width: int) -> None:
    inputs = _rows(f"based {width}", width)

    def reference(x: Dict[str, Tensor]) -> Tensor:
        rows = (each.transpose(1, 2) for each in x.values())
        return naive("based/naive").naive_parallel_based(*rows, use_norm=use_norm).transpose(1, 2)

    functions = [fla.parallel_based] + ([fla.fused_chunk_based] if width <= 16 else [])
    for function in functions:
        compare(function.__name__, lambda x: function(**x, use_norm=use_norm), reference, inputs)


@pytest.mark.parametrize("use_normalize", [False, True])
def test_rebased(use_normalize: bool) -> None:
    inputs = _rows("rebased", 16)

    def reference(x: Dict[str, Tensor]) -> Tensor:
        rows = (each.transpose(1, 2) for each in x.values())
        return naive("rebased/naive").naive_parallel_rebased(
            *rows, use_norm=use_normalize).transpose(1, 2)

    # The reference divides with an ε of its own.
    compare("parallel_rebased",
            lambda x: fla.parallel_rebased(**x, eps=1e-6, use_normalize=use_normalize),
            reference, inputs)
    output, total = fla.parallel_rebased(**inputs, return_both=True)
    assert output.shape == (2, 2, _LENGTH, 12) and total.shape == (2, 2, _LENGTH)
    torch.testing.assert_close(
        (output / (total.unsqueeze(-1) + 1e-5)).transpose(1, 2), fla.parallel_rebased(**inputs))


# --- Preconditioned keys


def _preconditioned(name: str, value_heads: int, *, packed: bool = False) -> Dict[str, Tensor]:
    seeded(name)
    batch, count = (1, len(_ENDS) - 1) if packed else (2, 2)
    return {
        "q": torch.randn(batch, _LENGTH, 2, 16),
        "k": functional.normalize(torch.randn(batch, _LENGTH, 2, 16), dim=-1),
        "v": torch.randn(batch, _LENGTH, value_heads, 12),
        "g_atk": -torch.rand(batch, _LENGTH, 2),
        "g": strong(-torch.rand(batch, _LENGTH, value_heads)),
        "beta_atk": torch.rand(batch, _LENGTH, 2),
        "beta": torch.rand(batch, _LENGTH, value_heads),
        "initial_state": torch.randn(count, value_heads, 16, 12),
        "initial_A_state": torch.rand(count, 2, 16),
        "log_atk_scale": torch.randn(2) * 0.3,
    }


@pytest.mark.parametrize("value_heads", [2, 4])
@pytest.mark.parametrize("is_packed", [False, True])
def test_precond_gated_delta_rule(is_packed: bool, value_heads: int) -> None:
    inputs = _preconditioned(f"precond {is_packed} {value_heads}", value_heads, packed=is_packed)
    ends = torch.tensor([0, 19, 20, 37]) if is_packed else None
    if is_packed:
        # The reference does not support empty sequences.
        inputs.update({key: inputs[key][:3] for key in ("initial_state", "initial_A_state")})
    for function in (
        fla.chunk_precond_gated_delta_rule, fla.fused_recurrent_precond_gated_delta_rule
    ):
        compare(
            function.__name__,
            lambda x: function(**x, output_final_state=True, cu_seqlens=ends),
            lambda x: naive("precond_gated_delta_rule/naive")
            .naive_recurrent_precond_gated_delta_rule(
                **x, output_final_state=True, cu_seqlens=ends), inputs)


def test_precond_kda() -> None:
    inputs = _preconditioned("precond kda", 2)
    inputs["g"] = strong(-torch.rand(2, _LENGTH, 2, 16))

    def reference(x: Dict[str, Tensor]) -> tuple:
        x = dict(x)
        x.update({key: x[key] * (x[key].square().sum(-1, keepdim=True) + 1e-6).rsqrt()
                  for key in ("q", "k")})
        return naive("precond_kda/naive").naive_recurrent_precond_kda(**x, output_final_state=True)

    for function in (fla.chunk_precond_kda, fla.fused_recurrent_precond_kda):
        compare(
            function.__name__,
            lambda x: function(**x, output_final_state=True, use_qk_l2norm_in_kernel=True),
            reference, inputs)


# --- Least squares


def _mesa(name: str, batch: int, count: int) -> Dict[str, Tensor]:
    seeded(name)
    rows = (batch, _LENGTH, 2, 16)
    own = torch.randn(count, 2, 16, 16)
    return {
        "q": torch.randn(rows), "k": functional.normalize(torch.randn(rows), dim=-1),
        "v": torch.randn(rows), "g": -torch.rand(rows[:3]) / 4, "beta": torch.rand(rows[:3]),
        "lamb": torch.rand(2, 16) * 0.75 + 0.25,
        "h_kk_init": own @ own.transpose(-1, -2) / 16, "h_kv_init": torch.randn(count, 2, 16, 16),
    }


def _mesa_reference(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, lamb: Tensor,
                    h_kk_init: Tensor, h_kv_init: Tensor) -> tuple:
    return naive("mesa_net/naive").naive_mesa_net_exact(
        q, k, v, g, lamb, beta, h_kk_init, h_kv_init)


@pytest.mark.parametrize("skew", [0.0, 0.02])
def test_mesa_net(skew: float) -> None:
    """The gradient of the state is not symmetric, and the solution for an almost symmetric state is
    that of its matrix, not of the transpose."""
    def ours(x: Dict[str, Tensor]) -> tuple:
        return fla.chunk_mesa_net(**x, output_final_state=True, max_CG_iteration=100)

    inputs = _mesa("mesa", 2, 2)
    inputs["h_kk_init"] = inputs["h_kk_init"] + skew * torch.randn(2, 2, 16, 16).triu(1)
    results = ours(inputs)
    # The iteration stops at the ε of conjugate gradients.
    for x, expected in zip(results, _mesa_reference(**inputs)):
        assert error(x, expected) < 1e-3
    leaves = {key: x.clone().requires_grad_() for key, x in inputs.items()}
    weights = [torch.randn_like(x) for x in results]
    found, expected = (
        torch.autograd.grad(
            sum((x * weight).sum() for x, weight in zip(call(leaves), weights)),
            list(leaves.values()))
        for call in (ours, lambda x: _mesa_reference(**x))
    )
    for key, x, reference in zip(leaves, found, expected):
        assert error(x, reference) < 5e-3, f"d{key} is off by {error(x, reference)}"
    state = expected[list(leaves).index("h_kk_init")]
    assert error(state.transpose(-1, -2), state) > 0.1


def test_mesa_net_of_packed_sequences_and_single_tokens() -> None:
    inputs = _mesa("packed mesa", 1, len(_ENDS) - 1)
    output, keys, values = fla.chunk_mesa_net(
        **inputs, output_final_state=True, cu_seqlens=torch.tensor(_ENDS))
    for index, (first, end) in enumerate(zip(_ENDS[:-1], _ENDS[1:])):
        own = {key: inputs[key][index:index + 1] for key in ("h_kk_init", "h_kv_init")}
        piece = {key: inputs[key][:, first:end] for key in ("q", "k", "v", "g", "beta")}
        alone = fla.chunk_mesa_net(**piece, lamb=inputs["lamb"], **own, output_final_state=True)
        for x, expected in zip((output[:, first:end], keys[index:index + 1],
                                values[index:index + 1]), alone):
            assert error(x, expected) < 1e-4
    first = {key: inputs[key][0, :1] for key in ("q", "k", "v", "g", "beta")}
    states = [inputs[key][:1] for key in ("h_kk_init", "h_kv_init")]
    # After so few steps the starting point matters.
    for iterations in (0, 1, 3, 30):
        arguments = dict(first, lamb=inputs["lamb"], prev_h_kk=states[0], prev_h_kv=states[1],
                         max_CG_iteration=iterations)
        stepped = fla.mesa_net_decoding_one_step(**arguments)
        expected = naive("mesa_net/naive").naive_mesa_net_decoding_one_step(**arguments)
        for x, reference in zip(stepped, expected):
            assert error(x, reference) < 1e-4
    assert fla.chunk_mesa_net(**_mesa("no states", 2, 2))[1:] == (None, None)


# --- Buckets


@pytest.mark.parametrize("length", [1, 2, 37, 64, 65, 200])
def test_log_linear_attention(length: int) -> None:
    seeded(f"log-linear {length}")
    levels = max(length - 1, 0).bit_length() + 1
    inputs = {
        "q": torch.randn(2, length, 2, 16), "k": torch.randn(2, length, 2, 16),
        "v": torch.randn(2, length, 4, 8), "g": -torch.rand(2, length, 4) / 8,
        "level_scales": torch.rand(2, length, 4, levels + 1),
    }
    compare(
        f"chunk_log_linear_attn of {length}", lambda x: fla.chunk_log_linear_attn(**x)[0],
        lambda x: naive("log_linear_attn/naive").naive_log_linear_attn(**x), inputs)


def test_log_linear_attention_of_packed_sequences() -> None:
    seeded("packed log-linear")
    inputs = {
        "q": torch.randn(1, 37, 2, 16), "k": torch.randn(1, 37, 2, 16),
        "v": torch.randn(1, 37, 2, 8), "g": -torch.rand(1, 37, 2),
        "level_scales": torch.rand(1, 37, 2, 6),
    }

    def one(*tokens: Tensor) -> tuple:
        *rows, _ = tokens
        output = naive("log_linear_attn/naive").naive_log_linear_attn(*rows, scale=None)
        return output, rows[0][0, 0]

    compare(
        "packed", lambda x: fla.chunk_log_linear_attn(
            **x, scale=None, cu_seqlens=torch.tensor([0, 19, 20, 37]))[0],
        lambda x: by_sequence(one, [0, 19, 20, 37], list(x.values()), None)[0], inputs)

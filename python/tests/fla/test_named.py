"""Functions with their own decays, weights, sums or states."""

from __future__ import annotations

from typing import Callable, Dict

import pytest
import torch
from comparison import by_sequence, compare, seeded
from drawing import ENDS, SIZES, draw, packed_lengths
from families import heads_first, strong
from references import naive
from torch import Tensor

from swift_attention import fla

_SCALE = SIZES["width"] ** -0.5
_QKV = dict(q="query", k="key", v="value")
_QKV_STATE = dict(_QKV, initial_state="state")

# --- Decays of heads


def _decays(x: Dict[str, Tensor], gamma: Tensor) -> Tensor:
    return gamma.expand(x["q"].shape[:3])


def _simple(x: Dict[str, Tensor], gamma: Tensor) -> tuple:
    return naive("simple_gla/naive").naive_recurrent_simple_gla(
        x["q"], x["k"], x["v"], _decays(x, gamma), None, x.get("initial_state"), True)


@pytest.mark.parametrize("function", [
    fla.chunk_retention, fla.fused_chunk_retention, fla.fused_recurrent_retention,
    fla.parallel_retention], ids=lambda f: f.__name__)
def test_retention(function: Callable[..., tuple]) -> None:
    compare(
        function.__name__, lambda x: function(**x)[0],
        lambda x: naive("retention/naive").naive_retention(
            *(each.transpose(1, 2) for each in x.values())).transpose(1, 2),
        draw(function.__name__, **_QKV))
    if function is not fla.parallel_retention:
        gamma = (1 - 2.0 ** (-5.0 - torch.arange(2.0))).log()
        compare(
            f"{function.__name__} with states", lambda x: function(**x, output_final_state=True),
            lambda x: _simple(x, gamma), draw(function.__name__, **_QKV_STATE))


@pytest.mark.parametrize("layer", [0, 3, 11])
def test_lightning(layer: int) -> None:
    gamma = -(8 / 2 * (1 - layer / 12)) * torch.arange(2.0)
    for function in (fla.chunk_lightning_attn, fla.fused_recurrent_lightning_attn):
        compare(
            f"{function.__name__} {layer}",
            lambda x: function(**x, layer_idx=layer, num_layers=12, output_final_state=True),
            lambda x: _simple(x, gamma), draw(f"lightning {layer}", **_QKV_STATE))


def test_decays_of_heads_and_tokens_multiply() -> None:
    gamma = torch.tensor([-0.1, -0.5])
    for function in (
        fla.chunk_simple_gla, fla.fused_chunk_simple_gla, fla.fused_recurrent_simple_gla
    ):
        compare(
            function.__name__,
            lambda x: function(**x, g_gamma=gamma, output_final_state=True),
            lambda x: naive("simple_gla/naive").naive_recurrent_simple_gla(
                x["q"], x["k"], x["v"], x["g"] + gamma, None, None, True),
            draw("two decays", **_QKV, g="decay"))


# --- Weights that are returned


@pytest.mark.parametrize("has_decay", [False, True])
def test_weights_of_simple_gla(has_decay: bool) -> None:
    kinds = dict(_QKV, g="decay") if has_decay else _QKV
    compare(
        "parallel_simple_gla", lambda x: fla.parallel_simple_gla(**x, output_attentions=True),
        lambda x: naive("simple_gla/naive").naive_parallel_simple_gla(
            x["q"], x["k"], x["v"], x["g"] if has_decay else torch.zeros(x["q"].shape[:3])),
        draw("weights", **kinds))


def test_weights_of_simple_gla_behind_strong_decays() -> None:
    length = 9
    torch.manual_seed(5)
    q, k, v = (torch.randn(1, length, 1, 4) for _ in range(3))
    g = torch.full((1, length, 1), -0.01)
    g[0, 3], g[0, 6] = -1e6, -torch.inf
    _, weights = fla.parallel_simple_gla(q, k, v, g, output_attentions=True)
    expected = torch.zeros(length, length, dtype=torch.float64)
    for i in range(length):
        for j in range(i + 1):
            decay = g[0, j + 1:i + 1, 0].double().sum().exp()
            expected[i, j] = q[0, i, 0].double() @ k[0, j, 0].double() / 2 * decay
    torch.testing.assert_close(weights[0, 0].double(), expected, rtol=1e-5, atol=1e-6)


def test_weights_of_the_delta_rule() -> None:
    def reference(x: Dict[str, Tensor]) -> tuple:
        q, k, v, beta = (each.transpose(1, 2) for each in x.values())
        output, weights = naive("delta_rule/naive").delta_rule_parallel(q, k, v, beta, 32, 16)
        return output.transpose(1, 2), weights

    inputs = draw("delta weights", q="query", k="unit key", v="value", beta="beta")
    inputs = {key: x[:, :32].contiguous() for key, x in inputs.items()}
    compare(
        "parallel_delta_rule", lambda x: fla.parallel_delta_rule(**x, output_attentions=True)[0],
        lambda x: reference(x)[0], inputs)
    output, weights = fla.parallel_delta_rule(**inputs, output_attentions=True)
    written = inputs["v"] * inputs["beta"].unsqueeze(-1)
    torch.testing.assert_close(output, torch.einsum("bhij,bjhv->bihv", weights, written))
    assert fla.parallel_delta_rule(**inputs)[1] is None


# --- Normalised linear attention


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("has_state", [False, True])
def test_normalized_linear_attention(has_state: bool, is_packed: bool) -> None:
    name = f"normalize {has_state} {is_packed}"
    inputs = draw(name, packed=is_packed, **_QKV)
    inputs.update({key: inputs[key].abs() + 0.1 for key in ("q", "k")})
    count = len(ENDS) - 1 if is_packed else SIZES["batch"]
    if has_state:
        inputs["state"] = torch.randn(count, 2, SIZES["width"], SIZES["value_width"])
        inputs["sums"] = torch.rand(count, 1, 2, SIZES["width"]) + 1

    def reference(x: Dict[str, Tensor]) -> tuple:
        def run(q: Tensor, k: Tensor, v: Tensor, state: tuple) -> tuple:
            return naive("linear_attn/naive").naive_recurrent_linear_attn(
                q, k, v, None, state, True, True)

        states = (x["state"], x["sums"]) if has_state else None
        if not is_packed:
            return run(x["q"], x["k"], x["v"], states)
        pieces = []
        for index, (first, end) in enumerate(zip(ENDS[:-1], ENDS[1:])):
            own = tuple(s[index:index + 1] for s in states) if has_state else None
            if first == end:
                empty = torch.zeros(1, 2, SIZES["width"], SIZES["value_width"])
                pieces.append((x["q"][:, :0, :, :SIZES["value_width"]],
                               own or (empty, torch.zeros(1, 1, 2, SIZES["width"]))))
            else:
                pieces.append(run(*(x[key][:, first:end] for key in _QKV), own))
        return (torch.cat([o for o, _ in pieces], 1), torch.cat([s[0] for _, s in pieces]),
                torch.cat([s[1] for _, s in pieces]))

    ends = packed_lengths() if is_packed else None
    for function in (
        fla.chunk_linear_attn, fla.fused_chunk_linear_attn, fla.fused_recurrent_linear_attn
    ):
        compare(
            f"{function.__name__} {name}",
            lambda x: function(
                x["q"], x["k"], x["v"], normalize=True, output_final_state=True, cu_seqlens=ends,
                initial_state=(x["state"], x["sums"]) if has_state else None),
            reference, inputs)
    output, (state, sums) = fla.chunk_linear_attn(inputs["q"], inputs["k"], inputs["v"])
    assert state is None and sums.shape == (inputs["q"].shape[0], 1, 2, SIZES["width"])


def test_normalized_linear_attention_reversed() -> None:
    inputs = draw("reversed sums", **_QKV)
    inputs.update({key: inputs[key].abs() + 0.1 for key in ("q", "k")})

    def reference(x: Dict[str, Tensor]) -> tuple:
        output, state = naive("linear_attn/naive").naive_recurrent_linear_attn(
            *(each.flip(1) for each in x.values()), output_final_state=True, normalize=True)
        return output.flip(1), state

    compare(
        "reverse", lambda x: fla.fused_recurrent_linear_attn(
            **x, reverse=True, normalize=True, output_final_state=True), reference, inputs)


# --- RWKV-7


def _rwkv7(x: Dict[str, Tensor], scale: float) -> tuple:
    output, state = heads_first(naive("generalized_delta_rule/dplr/naive").dplr_recurrence)(
        x["r"], x["k"], x["v"], x["a"], x["b"], x["w"], initial_state=x["initial_state"])
    return output * (scale / _SCALE), state


def test_rwkv7() -> None:
    inputs = draw("rwkv7", r="query", w="channel decay", k="key", v="value", a="unit key",
                  b="unit key", initial_state="state")
    compare(
        "chunk_rwkv7", lambda x: fla.chunk_rwkv7(**x, output_final_state=True),
        lambda x: _rwkv7(x, 1), inputs)
    compare("fused_recurrent_rwkv7", lambda x: fla.fused_recurrent_rwkv7(**x),
            lambda x: _rwkv7(x, _SCALE), inputs)
    inputs = {("kk" if key == "b" else key): x for key, x in inputs.items()}
    inputs["a"] = torch.rand(inputs["a"].shape)
    compare(
        "fused_mul_recurrent_rwkv7",
        lambda x: fla.fused_mul_recurrent_rwkv7(**x, output_final_state=True),
        lambda x: _rwkv7(dict(x, a=-x["kk"], b=x["kk"] * x["a"]), 1), inputs)


# --- Scans


@pytest.mark.parametrize("has_state", [False, True])
def test_hgrn(has_state: bool) -> None:
    seeded(f"hgrn {has_state}")
    inputs = {"x": torch.randn(2, 37, 24), "g": strong(-torch.rand(2, 37, 24))}
    if has_state:
        inputs["initial_state"] = torch.randn(2, 24)
    for function in (fla.chunk_hgrn, fla.fused_recurrent_hgrn):
        compare(
            function.__name__, lambda x: function(**x, output_final_state=True),
            lambda x: naive("hgrn/naive").naive_recurrent_hgrn(**x, output_final_state=True),
            inputs)
    packed = {key: x[:1] for key, x in inputs.items()}
    packed["initial_state"] = torch.randn(len(ENDS) - 1, 24)
    compare(
        "fused_recurrent_hgrn packed",
        lambda x: fla.fused_recurrent_hgrn(
            **x, output_final_state=True, cu_seqlens=packed_lengths()),
        lambda x: by_sequence(
            lambda *each: naive("hgrn/naive").naive_recurrent_hgrn(*each, True), ENDS,
            [x["x"], x["g"]], x["initial_state"]),
        packed)
    assert fla.chunk_hgrn(inputs["x"], inputs["g"])[1] is None

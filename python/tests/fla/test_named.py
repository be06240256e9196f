"""Functions that are more than one matrix state, or read it another way."""

from __future__ import annotations

from typing import Callable, Dict

import pytest
import torch
import torch.nn.functional as functional
from comparison import by_sequence, compare, seeded
from families import heads_first, strong, tokens
from recurrences import delta, oja
from references import naive
from torch import Tensor

from swift_attention import fla

_SIZES = dict(batch=2, length=37, heads=2, value_heads=2, width=16, value_width=12)
_ENDS = [0, 19, 19, 20, 37]
_SCALE = _SIZES["width"] ** -0.5


def draw(name: str, *, packed: bool = False, **kinds: str) -> Dict[str, Tensor]:
    """Tokens of the kinds, and for "state" an initial state; the same for the same name."""
    seeded(name)
    sizes = dict(_SIZES, batch=1) if packed else _SIZES
    count = len(_ENDS) - 1 if packed else sizes["batch"]
    drawn = {}
    for key, kind in kinds.items():
        if kind == "state":
            drawn[key] = torch.randn(count, 2, sizes["width"], sizes["value_width"])
        else:
            drawn[key] = tokens(kind, **sizes)
    return drawn


def packed_lengths() -> Tensor:
    return torch.tensor(_ENDS)


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
    count = len(_ENDS) - 1 if is_packed else _SIZES["batch"]
    if has_state:
        inputs["state"] = torch.randn(count, 2, _SIZES["width"], _SIZES["value_width"])
        inputs["sums"] = torch.rand(count, 1, 2, _SIZES["width"]) + 1

    def reference(x: Dict[str, Tensor]) -> tuple:
        def run(q: Tensor, k: Tensor, v: Tensor, state: tuple) -> tuple:
            return naive("linear_attn/naive").naive_recurrent_linear_attn(
                q, k, v, None, state, True, True)

        states = (x["state"], x["sums"]) if has_state else None
        if not is_packed:
            return run(x["q"], x["k"], x["v"], states)
        pieces = []
        for index, (first, end) in enumerate(zip(_ENDS[:-1], _ENDS[1:])):
            own = tuple(s[index:index + 1] for s in states) if has_state else None
            if first == end:
                empty = torch.zeros(1, 2, _SIZES["width"], _SIZES["value_width"])
                pieces.append((x["q"][:, :0, :, :_SIZES["value_width"]],
                               own or (empty, torch.zeros(1, 1, 2, _SIZES["width"]))))
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
    assert state is None and sums.shape == (inputs["q"].shape[0], 1, 2, _SIZES["width"])


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


# --- Decays and β of columns


@pytest.mark.parametrize("has_rows", [False, True])
@pytest.mark.parametrize("is_reversed", [False, True])
def test_gla_of_decaying_columns(has_rows: bool, is_reversed: bool) -> None:
    name = f"gv {has_rows} {is_reversed}"
    inputs = draw(name, **_QKV_STATE)
    inputs["gv"] = strong(-torch.rand(inputs["v"].shape))
    if has_rows:
        inputs["gk"] = strong(-torch.rand(inputs["k"].shape))

    def reference(x: Dict[str, Tensor]) -> tuple:
        x = {key: each.flip(1) if is_reversed and key != "initial_state" else each
             for key, each in x.items()}
        output, state = delta(
            x["q"], x["k"], x["v"], None, gk=x.get("gk"), gv=x["gv"], state=x["initial_state"])
        return output.flip(1) if is_reversed else output, state

    compare(
        name, lambda x: fla.fused_recurrent_gla(
            **x, reverse=is_reversed, output_final_state=True), reference, inputs)

    def values_first(x: Dict[str, Tensor]) -> tuple:
        x = dict(x, initial_state=x["initial_state"].transpose(-1, -2))
        output, state = fla.fused_recurrent_gla(
            **x, reverse=is_reversed, output_final_state=True, state_v_first=True)
        return output, state.transpose(-1, -2)

    compare(f"{name} values first", values_first, reference, inputs)


@pytest.mark.parametrize("gates", ["g gv", "gk gv", "g gk gv", "gv", "g gk"])
@pytest.mark.parametrize("beta", ["beta", "column gate", "none"])
def test_gated_delta_rule_of_columns(gates: str, beta: str) -> None:
    kinds = {"g": "decay", "gk": "channel decay"}
    inputs = draw(f"columns {gates} {beta}", q="query", k="unit key", v="value",
                  initial_state="state", **({} if beta == "none" else {"beta": beta}),
                  **{gate: kinds[gate] for gate in gates.split() if gate in kinds})
    if "gv" in gates:
        inputs["gv"] = strong(-torch.rand(inputs["v"].shape))

    def reference(x: Dict[str, Tensor]) -> tuple:
        x = dict(x)
        share = x.pop("beta") if "beta" in x else torch.ones(x["v"].shape[:3])
        return delta(
            x.pop("q"), x.pop("k"), x.pop("v"), share, state=x.pop("initial_state"), **x)

    compare(
        f"gated delta rule, {gates}, {beta}",
        lambda x: fla.fused_recurrent_gated_delta_rule(**x, output_final_state=True), reference,
        inputs)


@pytest.mark.parametrize("is_packed", [False, True])
def test_gated_oja_rule(is_packed: bool) -> None:
    inputs = draw("oja", packed=is_packed, q="query", k="key", v="value", beta="beta",
                  initial_state="state")
    inputs["v"] = functional.normalize(inputs["v"], dim=-1)
    inputs["gv"] = strong(-torch.rand(inputs["v"].shape))
    names = ("q", "k", "v", "gv", "beta")

    def reference(x: Dict[str, Tensor]) -> tuple:
        own = [x[name] for name in names]
        if is_packed:
            return by_sequence(oja, _ENDS, own, x["initial_state"])
        return oja(*own, x["initial_state"])

    ends = packed_lengths() if is_packed else None
    for function in (fla.chunk_gated_oja_rule, fla.fused_recurrent_gated_oja_rule):
        compare(
            function.__name__, lambda x: function(**x, output_final_state=True, cu_seqlens=ends),
            reference, inputs)
    unit = {key: functional.normalize(inputs[key], dim=-1) for key in ("q", "k")}
    torch.testing.assert_close(
        fla.chunk_gated_oja_rule(**inputs, use_qk_l2norm_in_kernel=True, cu_seqlens=ends)[0],
        fla.chunk_gated_oja_rule(**{**inputs, **unit}, cu_seqlens=ends)[0], rtol=1e-3, atol=1e-4)


# --- Several steps a token


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("has_decay", [False, True])
def test_gated_delta_product(has_decay: bool, steps: int, is_packed: bool) -> None:
    inputs = draw("product", packed=is_packed, q="query", initial_state="state",
                  **({"g": "decay"} if has_decay else {}))
    batch, length, heads, width = inputs["q"].shape
    inputs["k"] = functional.normalize(torch.randn(batch, length * steps, heads, width), dim=-1)
    inputs["v"] = torch.randn(batch, length * steps, heads, _SIZES["value_width"])
    inputs["beta"] = torch.rand(batch, length * steps, heads) * 1.9
    ends = packed_lengths() if is_packed else None
    compare(
        "gated delta product",
        lambda x: fla.chunk_gated_delta_product(
            **dict({"g": None}, **x), num_householder=steps, output_final_state=True,
            cu_seqlens=ends),
        lambda x: naive("gated_delta_product/naive").naive_recurrent_gated_delta_product(
            x["q"], x["k"], x["v"], x.get("g"), x["beta"], _SCALE, ends, x["initial_state"], True,
            steps),
        inputs)


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
    packed["initial_state"] = torch.randn(len(_ENDS) - 1, 24)
    compare(
        "fused_recurrent_hgrn packed",
        lambda x: fla.fused_recurrent_hgrn(
            **x, output_final_state=True, cu_seqlens=packed_lengths()),
        lambda x: by_sequence(
            lambda *each: naive("hgrn/naive").naive_recurrent_hgrn(*each, True), _ENDS,
            [x["x"], x["g"]], x["initial_state"]),
        packed)
    assert fla.chunk_hgrn(inputs["x"], inputs["g"])[1] is None

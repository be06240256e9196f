"""Functions that use the state differently: by columns, by values, several steps per token."""

from __future__ import annotations

from typing import Dict

import pytest
import torch
import torch.nn.functional as functional
from comparison import by_sequence, compare
from drawing import ENDS, SIZES, draw, packed_lengths
from families import strong
from recurrences import delta, oja
from references import naive
from torch import Tensor

from swift_attention import fla

_SCALE = SIZES["width"] ** -0.5
_QKV_STATE = dict(q="query", k="key", v="value", initial_state="state")

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
            return by_sequence(oja, ENDS, own, x["initial_state"])
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
    inputs["v"] = torch.randn(batch, length * steps, heads, SIZES["value_width"])
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

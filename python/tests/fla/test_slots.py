"""Functions with slots, and those whose gates are a cumulative softmax."""

from __future__ import annotations

from typing import Dict, Optional

import pytest
import torch
from comparison import compare, error, seeded
from families import heads_first, strong
from references import naive
from torch import Tensor

from swift_attention import fla

_BATCH, _LENGTH, _HEADS, _WIDTH, _VALUE_WIDTH, _SLOTS = 2, 37, 2, 16, 12, 8
_ENDS = [0, 19, 19, 20, 37]


def _inputs(name: str, *, group: int = 1, has_gate: bool = True, has_state: bool = False,
            batch: int = _BATCH, count: Optional[int] = None) -> Dict[str, Tensor]:
    seeded(name)
    inputs = {
        "q": torch.randn(batch, _LENGTH, _HEADS * group, _WIDTH),
        "k": torch.randn(batch, _LENGTH, _HEADS, _WIDTH),
        "v": torch.randn(batch, _LENGTH, _HEADS, _VALUE_WIDTH),
        "s": torch.randn(batch, _LENGTH, _HEADS, _SLOTS) * 3,
    }
    if has_gate:
        inputs["s"] = torch.rand(batch, _LENGTH, _HEADS, _SLOTS)
        inputs["g"] = strong(-torch.rand(batch, _LENGTH, _HEADS, _SLOTS))
    if has_state:
        inputs["keys"] = torch.randn(count or batch, _HEADS, _WIDTH, _SLOTS)
        inputs["values"] = torch.randn(count or batch, _HEADS, _SLOTS, _VALUE_WIDTH)
    return inputs


def _split(x: Dict[str, Tensor]) -> dict:
    """The arguments, with the states as a pair."""
    x = dict(x)
    states = (x.pop("keys"), x.pop("values")) if "keys" in x else None
    return dict(x, initial_state=states)


@pytest.mark.parametrize("group", [1, 3])
@pytest.mark.parametrize("has_state", [False, True])
@pytest.mark.parametrize("has_gate", [False, True])
def test_gsa(has_gate: bool, has_state: bool, group: int) -> None:
    inputs = _inputs(f"gsa {has_gate} {has_state} {group}", group=group, has_gate=has_gate,
                     has_state=has_state)
    for function in (fla.chunk_gsa, fla.fused_recurrent_gsa):
        compare(
            function.__name__, lambda x: function(**_split(x), output_final_state=True),
            lambda x: naive("gsa/naive").naive_recurrent_gsa(
                **_split(x), output_final_state=True), inputs)
    assert fla.chunk_gsa(**_split(inputs))[1] == (None, None)


# A cumulative softmax runs forwards.
@pytest.mark.parametrize("has_gate, is_reversed", [(False, False), (True, False), (True, True)])
def test_packed_gsa(has_gate: bool, is_reversed: bool) -> None:
    inputs = _inputs("packed gsa", has_gate=has_gate, has_state=True, batch=1,
                     count=len(_ENDS) - 1)

    def reference(x: Dict[str, Tensor]) -> tuple:
        outputs, finals = [], []
        for index, (first, end) in enumerate(zip(_ENDS[:-1], _ENDS[1:])):
            own = (x["keys"][index:index + 1], x["values"][index:index + 1])
            if first < end:
                piece = {key: each[:, first:end] for key, each in x.items()
                         if key not in ("keys", "values")}
                if is_reversed:
                    piece = {key: each.flip(1) for key, each in piece.items()}
                output, own = naive("gsa/naive").naive_recurrent_gsa(
                    **piece, initial_state=own, output_final_state=True)
                outputs.append(output.flip(1) if is_reversed else output)
            finals.append(own)
        return (torch.cat(outputs, 1), *(torch.cat(states) for states in zip(*finals)))

    compare(
        "fused_recurrent_gsa packed",
        lambda x: fla.fused_recurrent_gsa(
            **_split(x), output_final_state=True, reverse=is_reversed,
            cu_seqlens=torch.tensor(_ENDS)), reference, inputs)


@pytest.mark.parametrize("has_state", [False, True])
def test_abc(has_state: bool) -> None:
    inputs = _inputs(f"abc {has_state}", has_gate=False, has_state=has_state)

    def reference(x: Dict[str, Tensor]) -> tuple:
        x = _split(x)
        states = x.pop("initial_state")
        return heads_first(naive("abc/naive").naive_recurrent_abc)(
            *x.values(), initial_state=states, output_final_state=True)

    compare("chunk_abc", lambda x: fla.chunk_abc(**_split(x), output_final_state=True), reference,
            inputs)
    assert fla.chunk_abc(**_split(inputs))[1] is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_gsa_in_half_precision(dtype: torch.dtype) -> None:
    inputs = {key: x if key in ("g", "keys", "values") else x.to(dtype)
              for key, x in _inputs("half gsa", has_state=True).items()}
    output, _ = fla.chunk_gsa(**_split(inputs))
    expected, _ = naive("gsa/naive").naive_recurrent_gsa(
        **_split({key: x.float() for key, x in inputs.items()}))
    assert output.dtype == dtype
    # Twice, with the softmax between: scores, weights and output are each rounded.
    assert error(output, expected) < (4e-3 if dtype == torch.float16 else 2e-2)


def _additive_gate(
    x: Tensor, first: Optional[Tensor]
) -> tuple:
    """Token by token."""
    sums = torch.full_like(x[:, :1], -torch.inf) if first is None else first
    weights, gates = [], []
    for t in range(x.shape[1]):
        following = torch.logaddexp(sums, x[:, t:t + 1])
        is_first = first is None and t == 0
        gates.append(torch.zeros_like(following) if is_first else sums - following)
        weights.append(torch.exp(x[:, t:t + 1] - following))
        sums = following
    return torch.cat(weights, 1), torch.cat(gates, 1), sums


@pytest.mark.parametrize("has_state", [False, True])
def test_additive_gate(has_state: bool) -> None:
    seeded(f"additive gate {has_state}")
    inputs = {"x": torch.randn(2, 37, 2, 8) * 5}
    if has_state:
        inputs["initial_state"] = torch.randn(2, 1, 2, 8) * 5
    compare(
        "fused_additive_gate", lambda x: fla.fused_additive_gate(**x),
        lambda x: _additive_gate(x["x"], x.get("initial_state")), inputs)

    def packed(x: Dict[str, Tensor]) -> tuple:
        pieces = []
        for index, (first, end) in enumerate(zip(_ENDS[:-1], _ENDS[1:])):
            own = x["initial_state"][index:index + 1]
            piece = x["x"][:, first:end]
            pieces.append(_additive_gate(piece, own) if first < end else (piece, piece, own))
        weights, gates, sums = zip(*pieces)
        return torch.cat(weights, 1), torch.cat(gates, 1), torch.cat(sums)

    inputs = {"x": inputs["x"][:1], "initial_state": torch.randn(len(_ENDS) - 1, 1, 2, 8)}
    compare(
        "fused_additive_gate packed",
        lambda x: fla.fused_additive_gate(**x, cu_seqlens=torch.tensor(_ENDS)), packed, inputs)


@pytest.mark.parametrize("has_state", [False, True])
def test_lightnet(has_state: bool) -> None:
    inputs = _inputs(f"lightnet {has_state}", has_gate=False)
    del inputs["s"]
    if has_state:
        inputs["state"] = torch.randn(_BATCH, _HEADS, _WIDTH, _VALUE_WIDTH)
        inputs["sums"] = torch.randn(_BATCH, 1, _HEADS, _WIDTH)

    def reference(x: Dict[str, Tensor]) -> tuple:
        k, g, sums = _additive_gate(x["k"], x.get("sums"))
        output, state = naive("gla/naive").naive_recurrent_gla(
            x["q"], k, x["v"], g, x.get("state"), True)
        return output, state, sums

    for function in (fla.chunk_lightnet, fla.fused_recurrent_lightnet):
        compare(
            function.__name__,
            lambda x: function(
                x["q"], x["k"], x["v"], output_final_state=True,
                initial_state=(x["state"], x["sums"]) if has_state else None),
            reference, inputs)

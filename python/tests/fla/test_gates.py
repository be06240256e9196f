"""Gates that the functions compute, and the states between their chunks."""

from __future__ import annotations

from typing import Dict, Optional

import pytest
import torch
import torch.nn.functional as functional
from comparison import compare, seeded
from families import FAMILIES
from torch import Tensor

from swift_attention import fla

_SHAPE = (2, 19, 2, 8)


def _inputs(name: str, **more: Tensor) -> Dict[str, Tensor]:
    seeded(name)
    inputs = {
        "q": torch.randn(_SHAPE), "k": functional.normalize(torch.randn(_SHAPE), dim=-1),
        "v": torch.randn(_SHAPE),
    }
    return {**inputs, **more}


@pytest.mark.parametrize("is_doubled", [False, True])
@pytest.mark.parametrize("has_bias", [False, True])
def test_gated_delta_rule(has_bias: bool, is_doubled: bool) -> None:
    inputs = _inputs("gdn gates", g=torch.randn(_SHAPE[:3]), beta=torch.randn(_SHAPE[:3]),
                     A_log=torch.randn(2))
    if has_bias:
        inputs["dt_bias"] = torch.randn(2)

    def reference(x: Dict[str, Tensor]) -> tuple:
        g = x["g"] + x["dt_bias"] if has_bias else x["g"]
        g = -x["A_log"].exp() * functional.softplus(g)
        beta = torch.sigmoid(x["beta"]) * (2 if is_doubled else 1)
        return FAMILIES["gated_delta_rule"].reference(
            x["q"], x["k"], x["v"], g, beta, None, _SHAPE[-1] ** -0.5)

    for function in (fla.chunk_gdn, fla.fused_recurrent_gdn):
        compare(
            function.__name__,
            lambda x: function(
                **x, use_gate_in_kernel=True, use_beta_sigmoid_in_kernel=True,
                allow_neg_eigval=is_doubled, output_final_state=True), reference, inputs)


@pytest.mark.parametrize("bound, has_rate", [(None, True), (-5.0, True), (-5.0, False)])
@pytest.mark.parametrize("family", ["kda", "gdn2"])
def test_channel_gates(family: str, bound: Optional[float], has_rate: bool) -> None:
    own = {"beta": torch.rand(_SHAPE[:3])}
    if family == "gdn2":
        own = {"b": torch.rand(_SHAPE), "w": torch.rand(_SHAPE)}
    inputs = _inputs(f"{family} gates", g=torch.randn(_SHAPE), **own, dt_bias=torch.randn(16))
    if has_rate:
        inputs["A_log"] = torch.randn(2) / 2

    def reference(x: Dict[str, Tensor]) -> tuple:
        g = x["g"] + x["dt_bias"].view(2, 8)
        rate = x["A_log"].exp().view(2, 1) if has_rate else 1
        g = -rate * functional.softplus(g) if bound is None else bound * torch.sigmoid(rate * g)
        rows = [x[name] for name in ("q", "k", "v")]
        return FAMILIES[family].reference(
            *rows, g, *[x[name] for name in own], None, _SHAPE[-1] ** -0.5)

    for function in FAMILIES[family].functions:
        compare(
            function.__name__,
            lambda x: function(
                **x, use_gate_in_kernel=True, lower_bound=bound, output_final_state=True),
            reference, inputs)


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("has_state", [False, True])
def test_states_between_chunks(has_state: bool, is_packed: bool) -> None:
    seeded("chunks")
    batch, length = (1, 150) if is_packed else (2, 150)
    ends = [0, 70, 70, 150] if is_packed else None
    rows = [torch.randn(batch, length, 2, 8) for _ in range(3)]
    rows[1] = functional.normalize(rows[1], dim=-1)
    gates = -torch.rand(batch, length, 2, 8) / 10, torch.rand(batch, length, 2)
    state = torch.randn(3 if is_packed else 2, 2, 8, 8) if has_state else None
    options = dict(initial_state=state, cu_seqlens=None if ends is None else torch.tensor(ends))
    with torch.inference_mode():
        output, final, before = fla.chunk_kda(
            *rows, *gates, return_intermediate_states=True, output_final_state=True, **options)
        expected, last = fla.chunk_kda(*rows, *gates, output_final_state=True, **options)
        torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(final, last, rtol=1e-4, atol=1e-5)
        # 64 and 6 tokens, none, 64 and 16; or 64, 64 and 22.
        assert before.shape == (batch, 4 if is_packed else 3, 2, 8, 8)
        assert before.dtype == torch.bfloat16
        second = fla.chunk_kda(
            *(x[:, :64] for x in (*rows, *gates)), output_final_state=True,
            initial_state=None if state is None else state[:batch])[1]
    torch.testing.assert_close(before[:, 1], second.bfloat16())

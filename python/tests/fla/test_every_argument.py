"""Every tensor of every function: invalid ones are rejected, naming the argument."""

from __future__ import annotations

import inspect
from typing import Iterator, List, Tuple

import pytest
import torch
from arguments import ARGUMENTS, REMOVED, Arguments, function
from torch import Tensor

from swift_attention import fla

_NAMES = sorted(ARGUMENTS)


def test_the_table_is_complete() -> None:
    assert set(ARGUMENTS) == set(fla.__all__) - set(REMOVED)
    for name, arguments in ARGUMENTS.items():
        tensors = {
            each.name for each in inspect.signature(function(name)).parameters.values()
            if "Tensor" in str(each.annotation) or "State" in str(each.annotation)
        } - {"cu_seqlens", "cu_seqlens_cpu", "chunk_indices"}
        given = {argument.split("[")[0] for argument in arguments.axes}
        assert tensors <= given, f"{name} takes {tensors - given} too"


@pytest.mark.parametrize("name", _NAMES)
def test_what_fits_is_taken(name: str) -> None:
    ARGUMENTS[name].call(function(name), ARGUMENTS[name].drawn())


@pytest.mark.parametrize("name", _NAMES)
def test_what_does_not_fit_is_refused(name: str) -> None:
    arguments = ARGUMENTS[name]
    tensors = arguments.drawn()
    first = {}
    for argument, axes in arguments.axes.items():
        for axis in axes:
            first.setdefault(axis, argument)
    for argument in tensors:
        for mistake, wrong in _mistakes(arguments, argument, tensors[argument]):
            with pytest.raises((ValueError, TypeError)) as raised:
                arguments.call(function(name), {**tensors, argument: wrong})
            message = str(raised.value)
            # The first tensor with an axis defines its length: relative to it the others are wrong.
            names = list(tensors) if argument in first.values() else [argument]
            assert message.startswith(tuple(f"{each} " for each in names)), (
                f"{mistake} {argument}: {message}")
            assert "must" in message, f"{mistake} {argument}: {message}"


def _mistakes(
    arguments: Arguments, name: str, tensor: Tensor
) -> Iterator[Tuple[str, Tensor]]:
    axes = arguments.axes[name]
    yield "integer", tensor.long()
    yield "elsewhere", tensor.to("meta")
    yield "sparse", tensor.to_sparse()
    # For some only the number of elements matters, and gates may have any axes before the heads.
    if name not in ("A_log", "dt_bias") and not _has_any_axes(arguments):
        yield "higher", tensor.unsqueeze(0)
        yield "lower", tensor.select(0, 0)
        for left in range(len(axes) - 1):
            if tensor.shape[left] != tensor.shape[left + 1]:
                yield f"turned at {left}", tensor.transpose(left, left + 1)
    for place, axis in enumerate(axes):
        if not _is_shared(arguments, name, axis):
            continue
        yield f"longer at {axis}", torch.cat([tensor, tensor.narrow(place, 0, 1)], place)
        yield f"shorter at {axis}", tensor.narrow(place, 1, tensor.shape[place] - 1)


def _has_any_axes(arguments: Arguments) -> bool:
    return arguments in (ARGUMENTS["fused_gdn_gate"], ARGUMENTS["fused_kda_gate"])


def _is_shared(arguments: Arguments, name: str, axis: str) -> bool:
    """Whether the length of an axis is also known from another argument."""
    known: List[str] = ["1"]
    for other, axes in arguments.axes.items():
        if other != name:
            known += [factor for each in axes for factor in each.split("*")]
    # There are as many states as sequences.
    known += ["N"] * ("B" in known) + ["B"] * ("N" in known)
    known += ["N", "T"] * ("cu_seqlens" in arguments.options)
    return any(factor in known for factor in axis.split("*"))


@pytest.mark.parametrize("name", _NAMES)
def test_what_is_missing_is_refused(name: str) -> None:
    arguments = ARGUMENTS[name]
    tensors = arguments.drawn()
    for parameter in inspect.signature(function(name)).parameters.values():
        may_be_none = "None" in str(parameter.annotation) or parameter.default is None
        if parameter.name in tensors and (
            not may_be_none or parameter.name in ("g_atk", "beta_atk")
        ):
            with pytest.raises((TypeError, ValueError), match=f"^{parameter.name} "):
                arguments.call(function(name), {**tensors, parameter.name: None})


@pytest.mark.parametrize("name", ["fused_recurrent_gla", "fused_recurrent_delta_rule",
                                  "fused_recurrent_gated_delta_rule", "fused_recurrent_kda"])
def test_gates_with_the_heads_first(name: str) -> None:
    """With the right number of elements, but never reshaped."""
    rows = {key: torch.randn(2, 6, 4, 10) for key in ("q", "k", "v")}
    gates = {"fused_recurrent_gla": ["gk", "gv"], "fused_recurrent_kda": ["beta"],
             "fused_recurrent_delta_rule": ["beta"],
             "fused_recurrent_gated_delta_rule": ["gk", "gv", "beta"]}[name]
    further = {"g": -torch.rand(2, 6, 4, 10)} if name == "fused_recurrent_kda" else {}
    for gate in gates:
        with pytest.raises(ValueError, match=rf"{gate} was \[2, 4, 6, 10\], must be"):
            function(name)(**rows, **further, **{gate: -torch.rand(2, 4, 6, 10)})


def test_states_with_the_values_first() -> None:
    for name in _NAMES:
        parameters = inspect.signature(function(name)).parameters
        flags = {"state_v_first", "transpose_state_layout"} & set(parameters)
        if not flags:
            continue
        arguments, (flag,) = ARGUMENTS[name], flags
        tensors = arguments.drawn()
        state = next(key for key in tensors if key.startswith("initial_state"))
        with pytest.raises(ValueError, match="initial_state"):
            arguments.call(function(name), tensors, **{flag: True})
        tensors[state] = tensors[state].transpose(-1, -2)
        arguments.call(function(name), tensors, **{flag: True})


def test_intermediate_states_check_the_same() -> None:
    for name in ("chunk_kda", "chunk_gdn2"):
        arguments = ARGUMENTS[name]
        tensors = arguments.drawn()
        tensors["g"] = torch.cat([tensors["g"], tensors["g"][:, :1]], 1)
        with pytest.raises(ValueError, match=r"g was \[3, 8, "):
            arguments.call(function(name), tensors, return_intermediate_states=True)

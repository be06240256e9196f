"""Cumulative lengths of packed sequences, in every function that takes them."""

from __future__ import annotations

import inspect
from typing import Dict, Tuple, Type

import pytest
import torch
from arguments import ARGUMENTS, Arguments, function
from comparison import flat
from torch import Tensor, nn

from swift_attention.fla import layers

_PACKED = [
    name for name in sorted(ARGUMENTS)
    if "cu_seqlens" in inspect.signature(function(name)).parameters
]
_ENDS = [0, 2, 2, 7]
_WRONG = {
    "too early": [0, 2, 2, 5],
    "too late": [0, 2, 2, 8],
    "not from zero": [1, 2, 2, 7],
    "falling": [0, 6, 4, 7],
    "negative": [0, -1, 2, 7],
    "endless": [0, 2, 2, 2 ** 40],
    "wrapped": [0, 2, 2, 2 ** 32 + 7],
    "wrapped within": [0, 2 ** 32 + 2, 2 ** 32 + 2, 7],
}


def _packed(name: str) -> Tuple[Arguments, Dict[str, Tensor]]:
    arguments = ARGUMENTS[name]
    options = {key: x for key, x in arguments.options.items() if key != "cu_seqlens"}
    return arguments._replace(options=options), arguments.drawn(B=1, N=len(_ENDS) - 1)


def _variants(name: str) -> list:
    variants = [{}]
    if "return_intermediate_states" in inspect.signature(function(name)).parameters:
        if "precond" not in name:
            variants.append({"return_intermediate_states": True})
    return variants


@pytest.mark.parametrize("name", _PACKED)
def test_wrong_lengths_are_refused(name: str) -> None:
    arguments, tensors = _packed(name)
    for options in _variants(name):
        for mistake, ends in _WRONG.items():
            with pytest.raises(ValueError, match="cu_seqlens") as raised:
                arguments.call(
                    function(name), tensors, cu_seqlens=torch.tensor(ends), **options)
            assert "must" in str(raised.value), mistake
        ends = torch.tensor(_ENDS)
        kinds = {"float": ends.float(), "bool": ends.bool(), "list": _ENDS}
        for kind, wrong in kinds.items():
            with pytest.raises(TypeError, match="cu_seqlens"):
                arguments.call(function(name), tensors, cu_seqlens=wrong, **options)
        shapes = {"matrix": ends.unsqueeze(0), "number": ends[-1], "nothing": ends[:0]}
        for kind, wrong in shapes.items():
            with pytest.raises(ValueError, match="cu_seqlens"):
                arguments.call(function(name), tensors, cu_seqlens=wrong, **options)


@pytest.mark.parametrize("name", _PACKED)
def test_every_integer_type_is_read(name: str) -> None:
    arguments, tensors = _packed(name)
    results = [
        list(flat(arguments.call(
            function(name), tensors, cu_seqlens=torch.tensor(_ENDS, dtype=dtype))))
        for dtype in (torch.int64, torch.int32, torch.int16)
    ]
    for others in results[1:]:
        assert all(map(torch.equal, results[0], others))


@pytest.mark.parametrize("name", _PACKED)
def test_states_are_one_for_each_sequence(name: str) -> None:
    arguments, tensors = _packed(name)
    for argument, axes in arguments.axes.items():
        if "N" in axes:
            more = torch.cat([tensors[argument]] * 2, axes.index("N"))
            with pytest.raises(ValueError, match=f"{argument.split('[')[0]}.* was .* must be"):
                arguments.call(
                    function(name), {**tensors, argument: more}, cu_seqlens=torch.tensor(_ENDS))


def test_a_copy_of_the_lengths_is_checked_as_they_are() -> None:
    arguments, tensors = _packed("chunk_gla")
    ends = torch.tensor(_ENDS)
    with pytest.raises(ValueError, match="cu_seqlens_cpu was"):
        arguments.call(
            function("chunk_gla"), tensors, cu_seqlens=ends,
            cu_seqlens_cpu=torch.tensor([0, 1, 2, 7]))
    with pytest.raises(TypeError, match="cu_seqlens_cpu"):
        arguments.call(
            function("chunk_gla"), tensors, cu_seqlens=ends, cu_seqlens_cpu=ends.double())


def test_lengths_in_a_compiled_program() -> None:
    """In a compiled program they are checked at run time."""
    arguments, tensors = _packed("chunk_gla")

    @torch.compile(backend="eager", fullgraph=True)
    def compiled(cu_seqlens: Tensor) -> Tensor:
        return arguments.call(function("chunk_gla"), tensors, cu_seqlens=cu_seqlens)[0]

    ends = torch.tensor(_ENDS)
    expected = arguments.call(function("chunk_gla"), tensors, cu_seqlens=ends)[0]
    assert torch.equal(compiled(ends), expected)
    for mistake in ("wrapped", "wrapped within", "too late", "falling"):
        with pytest.raises(ValueError, match="cumulative_lengths"):
            compiled(torch.tensor(_WRONG[mistake]))


@pytest.mark.parametrize("has_convolutions", [False, True])
@pytest.mark.parametrize("kind", [layers.MultiScaleRetention, layers.GatedLinearAttention])
def test_layers_check_lengths_before_they_use_them(
    kind: Type[nn.Module], has_convolutions: bool
) -> None:
    layer = kind(hidden_size=32, num_heads=2, use_short_conv=has_convolutions)
    x = torch.randn(1, _ENDS[-1], 32)
    layer(x, cu_seqlens=torch.tensor(_ENDS))
    for ends in _WRONG.values():
        with pytest.raises(ValueError, match="cu_seqlens was"):
            layer(x, cu_seqlens=torch.tensor(ends))
    with pytest.raises(TypeError, match="cu_seqlens was float32"):
        layer(x, cu_seqlens=torch.tensor(_ENDS).float())

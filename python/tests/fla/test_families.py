"""Functions with a matrix state compared with naive references, with all optional arguments."""

from __future__ import annotations

import itertools
from typing import Callable, Dict, List, Optional

import pytest
import torch
from comparison import by_sequence, compare, seeded
from families import FAMILIES, Family, tokens
from torch import Tensor

_WIDTH, _VALUE_WIDTH = 24, 20
# Sequences of 19, 0, 1 and 17 tokens, and of more than a chunk.
_ENDS = [0, 19, 19, 20, 37]
_LONG_ENDS = [0, 70, 70, 71, 150]
_FUNCTIONS = [
    (name, function) for name, family in FAMILIES.items() for function in family.functions
]
_IDS = [f"{name}-{function.__name__}" for name, function in _FUNCTIONS]


class Flags:
    """A combination of optional arguments."""

    def __init__(
        self, family: Family, function: Callable[..., tuple], ends: List[int] = _ENDS,
        **flags: bool,
    ) -> None:
        self.family, self.function, self.ends = family, function, ends
        self.has_state = flags.get("has_state", False)
        self.is_packed = flags.get("is_packed", False)
        self.is_reversed = flags.get("is_reversed", False)
        self.has_values_first = flags.get("has_values_first", False)
        self.has_unit_vectors = flags.get("has_unit_vectors", False)
        self.groups_values = flags.get("groups_values", False)
        self.scale: Optional[float] = None if family.has_fixed_scale else 0.7
        set_flags = ", ".join(flag for flag, is_set in flags.items() if is_set)
        self.name = f"{function.__name__} of {ends[-1]} ({set_flags or 'nothing more'})"

    def inputs(self) -> Dict[str, Tensor]:
        seeded(self.name)
        batch, heads = (1 if self.is_packed else 2), 2
        value_heads = 4 if self.groups_values else heads
        kinds = {**self.family.inputs, **self.family.parameters}
        inputs = {
            name: tokens(kind, batch, self.ends[-1], heads, value_heads, _WIDTH, _VALUE_WIDTH)
            for name, kind in kinds.items()
        }
        if self.has_state:
            count = len(self.ends) - 1 if self.is_packed else batch
            inputs["initial_state"] = torch.randn(count, value_heads, _WIDTH, _VALUE_WIDTH)
        return inputs

    def ours(self, inputs: Dict[str, Tensor]) -> object:
        options: Dict[str, object] = {"output_final_state": True}
        if self.scale is not None:
            options["scale"] = self.scale
        if self.is_packed:
            options["cu_seqlens"] = torch.tensor(self.ends)
        if self.is_reversed:
            options["reverse"] = True
        if self.has_unit_vectors:
            options["use_qk_l2norm_in_kernel"] = True
        if self.function.__name__.endswith("_linear_attn"):
            options["normalize"] = False
        inputs = dict(inputs)
        if self.has_values_first:
            options["state_v_first"] = True
            if self.has_state:
                inputs["initial_state"] = inputs["initial_state"].transpose(-1, -2)
        output, state = self.function(**inputs, **options)
        return output, state.transpose(-1, -2) if self.has_values_first else state

    def reference(self, inputs: Dict[str, Tensor]) -> object:
        sequence = [inputs[name] for name in self.family.inputs]
        further = [inputs[name] for name in self.family.parameters]
        states = inputs.get("initial_state")
        if self.has_unit_vectors:
            unit = ("q", "k", "p")
            sequence = [
                x * (x.square().sum(-1, keepdim=True) + 1e-6).rsqrt() if name in unit else x
                for name, x in zip(self.family.inputs, sequence)
            ]
        scale = _WIDTH ** -0.5 if self.scale is None else self.scale

        def run(*arguments: Tensor) -> tuple:
            *pieces, state = arguments
            if self.is_reversed:
                pieces = [x.flip(1) for x in pieces]
            output, final = self.family.reference(*pieces, *further, state, scale)
            return output.flip(1) if self.is_reversed else output, final

        if not self.is_packed:
            return run(*sequence, states)
        heads = sequence[2].shape[2]
        first = states
        if first is None:
            first = torch.zeros(len(self.ends) - 1, heads, _WIDTH, _VALUE_WIDTH)
        return by_sequence(run, self.ends, sequence, first)


def _combinations(family: Family, function: Callable[..., tuple]) -> List[Flags]:
    """Every flag alone, and in pairs with packed sequences and an initial state."""
    own = []
    if function.__name__ in family.takes_reverse:
        own.append("is_reversed")
    if function.__name__ in family.takes_layout:
        own.append("has_values_first")
    if family.takes_unit_vectors:
        own.append("has_unit_vectors")
    if family.groups_values:
        own.append("groups_values")
    common = [{}, {"has_state": True}, {"is_packed": True}, {"has_state": True, "is_packed": True}]
    sets = [{}] + [{flag: True} for flag in own] + [dict.fromkeys(own, True)]
    unique = {tuple(sorted({**a, **b})): {**a, **b} for a, b in itertools.product(common, sets)}
    return [Flags(family, function, **flags) for flags in unique.values()]


@pytest.mark.parametrize("name, function", _FUNCTIONS, ids=_IDS)
def test_agrees_with_the_reference(name: str, function: Callable[..., tuple]) -> None:
    for flags in _combinations(FAMILIES[name], function):
        compare(flags.name, flags.ours, flags.reference, flags.inputs())


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("name, function", _FUNCTIONS, ids=_IDS)
def test_agrees_over_several_chunks(
    name: str, function: Callable[..., tuple], is_packed: bool
) -> None:
    flags = Flags(
        FAMILIES[name], function, _LONG_ENDS, has_state=True, is_packed=is_packed,
        groups_values=FAMILIES[name].groups_values)
    compare(flags.name, flags.ours, flags.reference, flags.inputs())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name, function", _FUNCTIONS, ids=_IDS)
def test_agrees_in_half_precision(
    name: str, function: Callable[..., tuple], dtype: torch.dtype
) -> None:
    flags = Flags(FAMILIES[name], function, has_state=True)
    # Gates and states keep float32, as layers compute them.
    inputs = {
        key: x if key in ("g", "gk", "w", "initial_state") and name != "gdn2" else x.to(dtype)
        for key, x in flags.inputs().items()
    }
    if name == "gdn2":
        inputs.update({key: inputs[key].float() for key in ("g", "initial_state")})
    compare(f"{flags.name} in {dtype}", flags.ours, flags.reference, inputs, dtype)

"""Outputs and gradients of a function compared with those of a reference."""

from __future__ import annotations

import zlib
from typing import Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import torch
from torch import Tensor

# RMS(x − reference) / RMS(reference).
OUTPUT_TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-3,
                    torch.bfloat16: 1e-2}
GRADIENT_TOLERANCE = {torch.float64: 1e-11, torch.float32: 1e-4, torch.float16: 2e-3,
                      torch.bfloat16: 1e-2}
# Below it errors are absolute: a result that is zero except for rounding has no relative error.
# Inputs and incoming gradients are of size 1, and float32 rounds them to 10⁻⁷.
_FLOOR = 1e-2

Function = Callable[[Dict[str, Tensor]], Sequence[Optional[Tensor]]]


def error(x: Tensor, reference: Tensor) -> float:
    """RMS(x − reference) / RMS(reference), in float64; NaN if x has NaN."""
    x, reference = x.double().cpu(), reference.double().cpu()
    if x.numel() == 0:
        return 0.0
    scale = reference.square().mean().sqrt().clamp(min=_FLOOR)
    return float((x - reference).square().mean().sqrt() / scale)


def flat(results: object) -> Iterator[Tensor]:
    """The tensors of nested results, in order."""
    if isinstance(results, Tensor):
        yield results
    elif isinstance(results, (tuple, list)):
        for result in results:
            yield from flat(result)


def compare(
    name: str,
    ours: Callable[[Dict[str, Tensor]], object],
    reference: Callable[[Dict[str, Tensor]], object],
    inputs: Dict[str, Tensor],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Asserts that results and the gradients of all floating-point inputs agree.

    The reference is computed in float32 from the same numbers; both get the same random gradients
    of their results.
    """
    own = _run(ours, inputs, None)
    wide = {key: x.float() if x.is_floating_point() else x for key, x in inputs.items()}
    theirs = _run(reference, wide, own.incoming)
    assert len(own.results) == len(theirs.results), (
        f"{name}: {len(own.results)} results, the reference has {len(theirs.results)}")
    for index, (x, expected) in enumerate(zip(own.results, theirs.results)):
        assert x.shape == expected.shape, (
            f"{name}: result {index} is {list(x.shape)}, expected {list(expected.shape)}")
        measured = error(x, expected)
        assert measured <= OUTPUT_TOLERANCE[dtype], f"{name}: result {index} is off by {measured}"
    for key, expected in theirs.gradients.items():
        measured = error(own.gradients[key], expected)
        assert own.gradients[key].dtype == inputs[key].dtype, f"{name}: dtype of d{key}"
        assert measured <= GRADIENT_TOLERANCE[dtype], f"{name}: d{key} is off by {measured}"


class _Run:
    def __init__(
        self, results: List[Tensor], gradients: Dict[str, Tensor], incoming: List[Tensor]
    ) -> None:
        self.results, self.gradients, self.incoming = results, gradients, incoming


def _run(
    function: Callable[[Dict[str, Tensor]], object],
    inputs: Dict[str, Tensor],
    incoming: Optional[List[Tensor]],
) -> _Run:
    leaves = {
        key: x.detach().clone().requires_grad_() if x.is_floating_point() else x
        for key, x in inputs.items()
    }
    results = list(flat(function(leaves)))
    if incoming is None:
        incoming = [torch.randn(x.shape).to(x.device, x.dtype) for x in results]
    tracked = {key: x for key, x in leaves.items() if x.requires_grad}
    pairs = [(x, dx.to(x.dtype)) for x, dx in zip(results, incoming) if x.requires_grad]
    gradients = torch.autograd.grad(
        [x for x, _ in pairs], list(tracked.values()), [dx for _, dx in pairs], allow_unused=True)
    named = {
        key: torch.zeros_like(tracked[key]) if gradient is None else gradient
        for key, gradient in zip(tracked, gradients)
    }
    return _Run([x.detach() for x in results], named, incoming)


def seeded(name: str) -> None:
    """Random numbers that depend on the name of a case only."""
    torch.manual_seed(zlib.crc32(name.encode()))


def by_sequence(
    function: Callable[..., Tuple[Tensor, Tensor]],
    ends: Sequence[int],
    tokens: Sequence[Tensor],
    states: Optional[Tensor],
) -> Tuple[Tensor, Tensor]:
    """Runs a reference without packed sequences on each of them."""
    outputs, finals = [], []
    for index, (first, end) in enumerate(zip(ends[:-1], ends[1:])):
        state = None if states is None else states[index:index + 1]
        if first == end:
            finals.append(state)
            continue
        output, final = function(*[x[:, first:end] for x in tokens], state)
        outputs.append(output)
        finals.append(final)
    return torch.cat(outputs, 1), torch.cat(finals)

"""Bitwise equal results for any number of threads, and the kernels that `explain` names."""

from __future__ import annotations

import contextlib
import re
from typing import Callable, Dict, List, Sequence, Tuple

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from support import GRADIENT_BOUNDS, error, threads
from swift_attention import attention, explain, fla, scaled_dot_product_attention
from swift_attention._operators.gated_scan import gated_scan
from swift_attention._operators.linear_attention import linear_attention

_COUNTS = (1, 2, 3, 8)
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def _normal(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape).to(dtype)


def _gate(*shape: int) -> Tensor:
    return -torch.rand(shape)


def _heads(length: int, count: int, width: int = 64) -> List[Tensor]:
    return [_normal(1, length, count, width) for _ in range(3)]


def _exact(queries: int, keys: int, heads: int, shared: int, dtype: torch.dtype) -> List[Tensor]:
    return [
        _normal(1, queries, heads, 64, dtype=dtype), _normal(1, keys, shared, 64, dtype=dtype),
        _normal(1, keys, shared, 64, dtype=dtype)]


# Shapes at which the choice of kernel or the number of pieces changes: few queries and many, few
# heads and many, sequences about as long as a piece.
_EXACT = [(1, 4096, 8, 2), (2, 700, 8, 8), (16, 513, 4, 1), (17, 1030, 1, 1), (300, 300, 1, 1),
          (65, 65, 24, 3)]
_FUNCTIONS: Dict[str, Callable[[], Tuple[Callable, Sequence[Tensor]]]] = {
    **{
        f"attention of {shape}, {dtype}": lambda shape=shape, dtype=dtype: (
            lambda *x: attention(*x, is_causal=True, returns_log_sum_exp=True),
            _exact(*shape, dtype))
        for shape in _EXACT for dtype in _DTYPES},
    "scaled_dot_product_attention": lambda: (
        lambda *x: (scaled_dot_product_attention(*x),), [_normal(1, 2, 300, 32) for _ in range(3)]),
    **{
        f"{name} of {length} tokens, {count} heads":
            lambda name=name, length=length, count=count: _recurrence(name, length, count)
        for name in ("chunk_gla", "chunk_simple_gla", "chunk_gated_delta_rule", "chunk_retention",
                     "chunk_delta_rule", "chunk_kda")
        for length, count in ((2000, 2), (513, 1), (1030, 5), (1, 2))},
    **{
        f"hgrn of {shape}": lambda shape=shape: (
            lambda x, g: fla.fused_recurrent_hgrn(x, g, output_final_state=True),
            [_normal(*shape), _gate(*shape)])
        for shape in ((1, 4096, 64), (1, 65, 2048), (2, 2000, 256), (1, 64, 16))},
}


def _recurrence(name: str, length: int, count: int) -> Tuple[Callable, Sequence[Tensor]]:
    tensors = _heads(length, count)
    if name in ("chunk_gla", "chunk_kda"):
        tensors.append(_gate(1, length, count, 64))
    elif name in ("chunk_simple_gla", "chunk_gated_delta_rule"):
        tensors.append(_gate(1, length, count))
    if name in ("chunk_gated_delta_rule", "chunk_delta_rule", "chunk_kda"):
        tensors[1] = torch.nn.functional.normalize(tensors[1], dim=-1)
        tensors.append(torch.rand(1, length, count))
    return lambda *x: getattr(fla, name)(*x, output_final_state=True), tensors


def _results(function: Callable, tensors: Sequence[Tensor]) -> List[Tensor]:
    """Results without gradients, with them, and the gradients."""
    with torch.no_grad():
        alone = function(*tensors)
    leaves = [x.detach().requires_grad_() for x in tensors]
    recorded = function(*leaves)
    loss = sum((x.float() * torch.linspace(-1, 1, x.numel()).view(x.shape)).sum() for x in recorded)
    return [*alone, *recorded, *torch.autograd.grad(loss, leaves)]


@pytest.mark.parametrize("name", _FUNCTIONS)
def test_threads_change_no_bit(name: str) -> None:
    function, tensors = _FUNCTIONS[name]()
    found = []
    for count in _COUNTS:
        with threads(count):
            found.append(_results(function, tensors))
    for count, results in zip(_COUNTS[1:], found[1:]):
        assert all(map(torch.equal, results, found[0])), f"{count} threads differ from 1"


class _Listening(TorchDispatchMode):
    """While active, calls go through PyTorch's dispatcher."""

    def __torch_dispatch__(self, operator, types, arguments=(), options=None):
        return operator(*arguments, **(options or {}))


_CALLS: Dict[str, Callable[[], Tuple[Callable, Sequence[Tensor]]]] = {
    **{f"attention of {shape}, {dtype}": lambda shape=shape, dtype=dtype: (
        attention, _exact(*shape, dtype)) for shape in _EXACT for dtype in _DTYPES},
    "linear attention of a token": lambda: (linear_attention, _heads(1, 2)),
    "linear attention of tokens": lambda: (linear_attention, _heads(700, 1)),
    "scan of a token": lambda: (gated_scan, [_normal(1, 1, 64), _gate(1, 1, 64)]),
    "scan of tokens": lambda: (gated_scan, [_normal(1, 4096, 64), _gate(1, 4096, 64)]),
}


@pytest.mark.parametrize("is_dispatched", [False, True])
@pytest.mark.parametrize("needs_gradient", [False, True])
@pytest.mark.parametrize("name", _CALLS)
def test_what_runs_is_what_explain_says(
    name: str, needs_gradient: bool, is_dispatched: bool
) -> None:
    """Requesting the named kernel gives the same bits; so no other one ran."""
    function, tensors = _CALLS[name]()
    leaves = [x.requires_grad_(needs_gradient) for x in tensors]
    kernel = re.search(r": (\S+), the lowest estimate", explain(function, *leaves)).group(1)

    def run(**options: str) -> Sequence[Tensor]:
        results = function(*leaves, **options)
        output = results if isinstance(results, Tensor) else results[0]
        if not needs_gradient:
            return [output]
        return [output, *torch.autograd.grad(output.float().square().sum(), leaves)]

    with _Listening() if is_dispatched else contextlib.nullcontext():
        chosen = run()
    assert all(map(torch.equal, chosen, run(kernel=kernel)))


@pytest.mark.parametrize("dtype", _DTYPES, ids=str)
@pytest.mark.parametrize("queries", [1, 2, 4, 16])
def test_gradients_of_few_queries(queries: int, dtype: torch.dtype) -> None:
    """Large scores: a kernel that rounds every step to half precision has ten times the error."""
    tensors = [x.requires_grad_() for x in _exact(queries, 1100, 4, 4, dtype)]
    exact = [x.detach().double().requires_grad_() for x in tensors]
    incoming = _normal(1, queries, 4, 64, dtype=dtype)
    scale = 2.0
    own = torch.autograd.grad(attention(*tensors, scale=scale), tensors, incoming)
    q, k, v = (x.transpose(1, 2) for x in exact)
    output = ((q @ k.mT * scale).softmax(-1) @ v).transpose(1, 2)
    for result, reference in zip(own, torch.autograd.grad(output, exact, incoming.double())):
        assert error(result, reference) <= GRADIENT_BOUNDS[dtype]

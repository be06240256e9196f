"""Operators under `vmap`: that of `torch.func`, and that of `autograd.grad(is_grads_batched=True)`.

Samples become rows of one call's batch where each tensor that differs between them, or has a gradient
for each, has a batch. Others (packed sequences, a sink for each sample) are computed one by one.
"""

from __future__ import annotations

from typing import Callable, Collection, List, NamedTuple, Sequence, Tuple, Union

import torch
from torch import Tensor

from . import NAMESPACE, library

Results = Union[Tuple[Tensor, ...], List[Tensor]]


class Batching(NamedTuple):
    """Where the batch is in an operator's tensors."""

    # The tensor whose first axis is the batch.
    first: str
    # Whether a tensor, by name and shape, has the batch (the last argument) as its first axis.
    has_batch: Callable[[str, Sequence[int], int], bool]
    # Not to be repeated for each sample: they are larger than the others.
    unrepeated: Collection[str] = ()


def register_vmap(
    name: str,
    operator: Callable[..., Results],
    batching: Batching,
    names: Sequence[str],
    needed: Callable[[Sequence[object]], Collection[str]] = lambda arguments: (),
) -> None:
    """Tells both `vmap`s about `operator`, swift_attention::`name`.

    `names` are those of its tensors, which are its first arguments; `needed` says of its arguments
    which tensors' gradients are the results.
    """

    def of_functions(info, in_dims, *arguments: object) -> Tuple[Results, int]:
        return mapped(
            operator, batching, names, needed(arguments), info.batch_size, in_dims, arguments), 0

    def of_gradients(*arguments: object) -> Results:
        level = torch._C._vmapmode_increment_nesting() - 1
        torch._C._vmapmode_decrement_nesting()
        # What is not mapped at this level gets an axis of 1.
        leading = [torch._remove_batch_dim(x, level, 1, 0) if isinstance(x, Tensor) else x
                   for x in arguments]
        sizes = {x.shape[0] for x in leading if isinstance(x, Tensor)}
        size = 1 if sizes == {1} else max(sizes - {1})
        dims = [0 if isinstance(x, Tensor) and x.shape[0] == size else None for x in leading]
        leading = [x[0] if isinstance(x, Tensor) and dim is None else x
                   for x, dim in zip(leading, dims)]
        results = mapped(operator, batching, names, needed(arguments), size, dims, leading)
        return type(results)(torch._add_batch_dim(x, 0, level) for x in results)

    # PyTorch 2.4 runs samples of forward calls one by one by itself, and has no place for a rule.
    if hasattr(torch.library, "register_vmap"):
        torch.library.register_vmap(f"{NAMESPACE}::{name}", of_functions, lib=library)
    library.impl(name, of_gradients, "Batched")


def mapped(
    function: Callable[..., Results],
    batching: Batching,
    names: Sequence[str],
    needed: Collection[str],
    size: int,
    dims: Sequence[object],
    arguments: Sequence[object],
) -> Results:
    """The results of `size` samples, which lie along these axes of the arguments, by an axis in front.

    `function` has tensors of these `names` as its first arguments, and its results are an output and
    a state, or the gradients of the tensors `needed`, with the batch in front.
    """
    are_mapped = [isinstance(dim, int) for dim in dims]
    leading = [x.movedim(dim, 0) if isinstance(dim, int) else x for x, dim in zip(arguments, dims)]
    has_batch = _rows(batching, names, needed, leading, are_mapped)
    if size == 0 or not has_batch:
        return _one_by_one(function, size, leading, are_mapped)
    rows = [_folded(x, size, is_mapped) if has else x
            for x, is_mapped, has in zip(leading, are_mapped, has_batch)]
    results = function(*rows, *leading[len(names):])
    return type(results)(x.unflatten(0, (size, x.shape[0] // size)) for x in results)


def _rows(
    batching: Batching, names: Sequence[str], needed: Collection[str],
    arguments: Sequence[object], are_mapped: Sequence[bool],
) -> List[bool]:
    """Which tensors have a batch that samples can be rows of; empty where they cannot."""
    shapes = {
        name: x.shape[is_mapped:]
        for name, x, is_mapped in zip(names, arguments, are_mapped) if isinstance(x, Tensor)}
    if "cumulative_lengths" in shapes:
        return []
    batch = shapes[batching.first][0]
    rows = []
    for name, is_mapped in zip(names, are_mapped):
        has = name in shapes and batching.has_batch(name, shapes[name], batch)
        differs = is_mapped or name in needed
        if has and not differs and name in batching.unrepeated:
            # A batch of one is repeated by broadcasting.
            if batch != 1:
                return []
            has = False
        if differs and not has:
            return []
        rows.append(has)
    return rows


def _folded(x: Tensor, size: int, is_mapped: bool) -> Tensor:
    """[size, batch, …] or [batch, …] as [size·batch, …]."""
    return (x if is_mapped else x.expand(size, *x.shape)).flatten(0, 1)


def _one_by_one(
    function: Callable[..., Results], size: int, arguments: Sequence[object],
    are_mapped: Sequence[bool],
) -> Results:
    """The results of each sample, stacked."""
    if size == 0:
        results = function(*[
            x.new_zeros(x.shape[1:]) if is_mapped else x
            for x, is_mapped in zip(arguments, are_mapped)])
        return type(results)(x.new_empty((0, *x.shape)) for x in results)
    samples = [
        function(*[x[index] if is_mapped else x for x, is_mapped in zip(arguments, are_mapped)])
        for index in range(size)]
    return type(samples[0])(torch.stack(each) for each in zip(*samples))

"""Activation checkpointing: the forward pass is recomputed, and gradients are the same."""

from __future__ import annotations

from typing import List

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from calls import Call


def _gradients(loss: Tensor, leaves: List[Tensor]) -> List[Tensor]:
    for leaf in leaves:
        leaf.grad = None
    loss.backward()
    return [leaf.grad for leaf in leaves]


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointed_calls(call: Call, use_reentrant: bool) -> None:
    leaves = [x.requires_grad_() for x in call.draw()]
    expected = _gradients(call.loss(*leaves), leaves)
    found = _gradients(checkpoint(call.loss, *leaves, use_reentrant=use_reentrant), leaves)
    assert all(map(torch.equal, found, expected))


def test_checkpoints_in_checkpoints(call: Call) -> None:
    leaves = [x.requires_grad_() for x in call.draw()]
    expected = _gradients(call.loss(*leaves), leaves)

    def inner(*tensors: Tensor) -> Tensor:
        return checkpoint(call.loss, *tensors, use_reentrant=False)

    found = _gradients(checkpoint(inner, *leaves, use_reentrant=False), leaves)
    assert all(map(torch.equal, found, expected))


def test_compiled_checkpoints(call: Call) -> None:
    leaves = [x.requires_grad_() for x in call.draw()]
    expected = _gradients(call.loss(*leaves), leaves)
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda *tensors: checkpoint(call.loss, *tensors, use_reentrant=False),
        backend="aot_eager")
    for found, other in zip(_gradients(compiled(*leaves), leaves), expected):
        torch.testing.assert_close(found, other)


def test_saved_tensors_are_unpacked_once(call: Call) -> None:
    """Hooks may free what they return, so it is requested once."""
    leaves = [x.requires_grad_() for x in call.draw()]
    expected = _gradients(call.loss(*leaves), leaves)
    packed: List[Tensor] = []

    def pack(tensor: Tensor) -> int:
        packed.append(tensor)
        return len(packed) - 1

    def unpack(place: int) -> Tensor:
        tensor, packed[place] = packed[place], None
        assert tensor is not None, "a saved tensor was unpacked twice"
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        loss = call.loss(*leaves)
    assert all(map(torch.equal, _gradients(loss, leaves), expected))

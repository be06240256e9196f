"""Operators on autograd's tape, from inside of the dispatcher."""

from __future__ import annotations

from typing import Callable, Optional, Tuple

import torch
from torch import Tensor

_functorch = torch._C._functorch


def apply_in_kernel(function: type, *arguments: object) -> Tuple[Tensor, ...]:
    """`function.apply` in a kernel of the dispatcher.

    There a transform of torch.func is one level of autograd as any other, to which PyTorch has
    brought the tensors.
    """
    was_allowed = _functorch.get_single_level_autograd_function_allowed()
    _functorch.set_single_level_autograd_function_allowed(True)
    try:
        return super(torch.autograd.Function, function).apply(*arguments)
    finally:
        _functorch.set_single_level_autograd_function_allowed(was_allowed)


class FirstDerivatives(torch.autograd.Function):
    """Gradients that say, when they are differentiated, that they cannot be."""

    @staticmethod
    def forward(ctx, backward: Callable, *arguments: object) -> Tuple[Tensor, ...]:
        with torch._C._AutoDispatchBelowAutograd():
            return tuple(backward(*arguments))

    @staticmethod
    def backward(ctx, *incoming: Optional[Tensor]):
        raise RuntimeError("swift_attention's operators have no second derivatives")

"""Operators on autograd's tape, from inside of the dispatcher."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Callable, Iterable, Iterator, Optional, Tuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

_functorch = torch._C._functorch


def is_differentiated(arguments: Iterable[object]) -> bool:
    """Whether autograd, in either mode, may ask about a call with these arguments."""
    return forward_ad._current_level >= 0 or torch.is_grad_enabled() and any(
        isinstance(each, Tensor) and each.requires_grad for each in arguments)


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


@contextmanager
def below_autograd() -> Iterator[None]:
    """Calls of operators in here go on below autograd, which is in one of its functions.

    PyTorch turns forward mode off there. A transform further out must see its tangents all the same:
    unseen they would count as zero.
    """
    with forward_ad._set_fwd_grad_enabled(True), torch._C._AutoDispatchBelowAutograd():
        yield


class Recorded(torch.autograd.Function):
    """What autograd keeps of a call; it differentiates backwards only."""

    @staticmethod
    def jvp(ctx, *tangents: Optional[Tensor]):
        raise RuntimeError("swift_attention's operators have no derivatives in forward mode")


class FirstDerivatives(Recorded):
    """Gradients that say, when they are differentiated, that they cannot be."""

    @staticmethod
    def forward(ctx, backward: Callable, *arguments: object) -> Tuple[Tensor, ...]:
        with below_autograd():
            return tuple(backward(*arguments))

    @staticmethod
    def backward(ctx, *incoming: Optional[Tensor]):
        raise RuntimeError("swift_attention's operators have no second derivatives")

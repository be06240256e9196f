"""When a call may go past PyTorch's dispatcher.

A registered operator costs five microseconds a call for the dispatcher's sake. Where nobody listens
there (no mode, no transform, no tracing, no autocast, plain tensors) nothing is missed without.
"""

from __future__ import annotations

import sys
from typing import Optional

import torch
from torch.autograd import forward_ad
from torch.compiler import is_compiling

from .._library import FLOATING, names_of

_are_autograd_kernels_off = torch._C._dispatch_tls_is_dispatch_key_excluded
_autograd_key = torch._C.DispatchKey.AutogradCPU
_functions = torch._C._len_torch_function_stack
_modes = torch._C._len_torch_dispatch_stack
_transform = torch._C._functorch.peek_interpreter_stack
_trace = torch._C._get_tracing_state
_is_autocast = torch._C._is_any_autocast_enabled
_is_profiled = torch.autograd._profiler_enabled
_is_included = torch._C._dispatch_tls_is_dispatch_key_included
# In force while `autograd.grad(is_grads_batched=True)` maps a backward pass.
_gradient_map = torch._C._dispatch_key_parse("VmapMode")

PLAIN_TYPES = frozenset([torch.Tensor, torch.nn.Parameter])
# Of what is a number as it is, or is not given.
NUMBER_TYPES = frozenset([float, int, type(None)])


def is_plain() -> bool:
    """Whether nothing between a function and its kernel wants to know of the call."""
    return not (
        is_compiling()
        or _functions()
        or _modes()
        or _is_autocast()
        or _is_profiled()
        or forward_ad._current_level >= 0
        or _transform() is not None
        or _trace() is not None
        or _is_included(_gradient_map)
    )


def is_plain_tensor(tensor: Optional[torch.Tensor]) -> bool:
    """Whether a tensor, if there is one, is its memory and nothing more or less."""
    return tensor is None or (
        type(tensor) in PLAIN_TYPES and not tensor.is_neg() and not tensor.is_meta)


def records_gradients() -> bool:
    """Whether autograd would see a call made now; inside of an operator's kernel it does not."""
    return torch.is_grad_enabled() and not _are_autograd_kernels_off(_autograd_key)


def number(name: str, value: object) -> Optional[float]:
    """An argument that is one number, if it is given.

    What a tensor holds may change, and no gradient would reach it: only its value goes on.
    """
    if value is None:
        return None
    if isinstance(value, torch.Tensor):
        if value.numel() != 1:
            raise ValueError(f"{name} is {list(value.shape)}; it must be one number")
        if value.requires_grad:
            raise ValueError(f"{name} requires a gradient, which it cannot have; it must not")
    return float(value)


def is_causal_bias(tensor: object) -> bool:
    """Whether a mask is one of `torch.nn.attention.bias`, whose memory is never written."""
    # Where there is one its module has been imported, which takes a while.
    module = sys.modules.get("torch.nn.attention.bias")
    return module is not None and isinstance(tensor, module.CausalBias)


def check_tensor(name: str, tensor: object) -> None:
    """Raises TypeError for an argument that is no tensor, or whose memory is not what it means."""
    kind = type(tensor)
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{name} is of {kind.__name__}; it must be a torch.Tensor")
    if tensor.is_nested:
        raise TypeError(
            f"{name} is a nested tensor; it must be padded, or its sequences packed one behind the"
            " other with cumulative lengths")
    if tensor.layout is not torch.strided:
        raise TypeError(f"{name} is of layout {tensor.layout}; it must be torch.strided")
    if kind in PLAIN_TYPES:
        return
    if is_causal_bias(tensor):
        raise TypeError(f"{name} is a CausalBias; it must be a tensor that holds numbers")
    if kind.__name__ == "MaskedTensor":
        raise TypeError(f"{name} is a MaskedTensor; it must be its data, and its mask beside it")


def check_tensors(**tensors: object) -> None:
    """The same of several arguments."""
    for name, tensor in tensors.items():
        check_tensor(name, tensor)


def check_optional_tensors(**tensors: object) -> None:
    """The same of arguments that may be None."""
    for name, tensor in tensors.items():
        if tensor is not None:
            check_tensor(name, tensor)


def check_floating(name: str, tensor: torch.Tensor) -> None:
    """Raises TypeError unless the elements are floating-point numbers that there are kernels of."""
    if tensor.dtype not in FLOATING:
        raise TypeError(
            f"{name} is of {names_of([tensor.dtype])}; it must be of {names_of(FLOATING)}")


def check_axis(name: str, tensor: torch.Tensor, axis: int, length: int) -> None:
    """Raises ValueError unless an axis, counted from the last, is of this length."""
    shape = list(tensor.shape)
    if shape[axis] != length:
        wanted = list(shape)
        wanted[axis] = length
        raise ValueError(f"{name} is {shape}; it must be {wanted}")


def holds_numbers(tensor: torch.Tensor) -> bool:
    """Whether what a tensor holds can be read now, and is no part of a program's recording."""
    return not (
        is_compiling()
        or type(tensor) not in PLAIN_TYPES
        or tensor.is_meta
        or _modes()
        or _transform() is not None
        or _trace() is not None
    )

"""Shared by the tests: errors relative to a reference, and their bounds."""

from __future__ import annotations

import contextlib
from typing import Callable, Iterator, List, Optional, Sequence

import torch
from torch import Tensor

# The largest root mean square of a deviation, relative to that of the reference in float64. The
# kernels' scale is a float32 number, of which 1/√dimension is rounded.
BOUNDS = {
    torch.float64: 1e-7, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}
GRADIENT_BOUNDS = {
    torch.float64: 1e-6, torch.float32: 1e-4, torch.float16: 2e-3, torch.bfloat16: 1e-2}
# A half-precision result may have this many times the error of the plain computation in its dtype.
UNFUSED = 2


def dtypes_on(device: torch.device) -> List[torch.dtype]:
    """The dtypes of a device."""
    halves = [torch.float32, torch.bfloat16, torch.float16]
    return halves + [torch.float64] if device.type == "cpu" else halves


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Runs PyTorch, and with it the library, on this many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def error(result: Tensor, reference: Tensor) -> float:
    """RMS(result − reference) / RMS(reference); for a zero reference, RMS(result)."""
    result, reference = result.detach().double(), reference.detach().double()
    assert result.shape == reference.shape, (result.shape, reference.shape)
    if result.numel() == 0:
        return 0.0
    size = reference.square().mean().sqrt()
    deviation = (result - reference).square().mean().sqrt()
    return (deviation / size if size > 0 else deviation).item()


def with_gradients(
    function: Callable[..., Tensor], tensors: Sequence[Optional[Tensor]], incoming: Tensor
) -> List[Tensor]:
    """The output, and the gradients of the floating-point tensors among `tensors`."""
    inputs = [
        t.detach().requires_grad_() if t is not None and t.is_floating_point() else t
        for t in tensors]
    output = function(*inputs)
    wanted = [t for t in inputs if t is not None and t.requires_grad]
    return [output, *torch.autograd.grad(output, wanted, incoming.to(output))]


def check_against(
    own: Callable[..., Tensor], plain: Callable[..., Tensor], tensors: Sequence[Optional[Tensor]],
    case: str,
) -> None:
    """Asserts that output and gradients of `own` are those of `plain` in float64, within bounds.

    The first tensor's dtype selects the bound; the output may have twice the error of `plain` in
    that dtype, and NaN never passes.
    """
    dtype = tensors[0].dtype
    with torch.no_grad():
        shape = own(*tensors)
    incoming = torch.randn(shape.shape, device=shape.device, dtype=torch.float32).to(dtype)
    results = with_gradients(own, tensors, incoming)
    exact = with_gradients(
        plain, [t.double() if t is not None and t.is_floating_point() else t for t in tensors],
        incoming)
    unfused = [None] * len(exact)
    if dtype in (torch.float16, torch.bfloat16):
        unfused = with_gradients(plain, tensors, incoming)
    for index, (result, reference, other) in enumerate(zip(results, exact, unfused)):
        bound = (GRADIENT_BOUNDS if index else BOUNDS)[dtype]
        if other is not None:
            bound = max(bound, UNFUSED * error(other, reference))
        deviation = error(result, reference)
        what = f"gradient {index}" if index else "output"
        assert deviation <= bound, f"{case}, {dtype}: {what} off by {deviation:.1e} > {bound:.0e}"

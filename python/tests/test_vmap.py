"""Maps of calls and of their gradients: each sample gets the result that it gets alone."""

from __future__ import annotations

from typing import Callable, Iterator, List, Tuple

import pytest
import torch
from torch import Tensor
from torch.func import grad, jacrev, vmap

from calls import CALLS, Call
from support import error
from swift_attention import attention
from swift_attention._operators.linear_attention import linear_attention

_SAMPLES = 3
# The fallback, one sample at a time with a warning, must not be used; operators have rules.
pytestmark = pytest.mark.filterwarnings("error:There is a performance drop")


def _mapped_axes(call: Call) -> Iterator[List[object]]:
    """All tensors mapped, and each tensor alone."""
    count = len(call.shapes)
    yield [0] * count
    for place in range(count):
        yield [0 if each == place else None for each in range(count)]


def _samples(tensors: List[Tensor], axes: List[object]) -> Iterator[List[Tensor]]:
    for index in range(_SAMPLES):
        yield [x if axis is None else x[index] for x, axis in zip(tensors, axes)]


def _drawn(call: Call, axes: List[object]) -> List[Tensor]:
    many = call.draw(_SAMPLES)
    return [x[0] if axis is None else x for x, axis in zip(many, axes)]


def _same(found: object, expected: List[tuple], what: object) -> None:
    for index, (own, *parts) in enumerate(zip(found, *expected)):
        assert error(own, torch.stack(parts)) < 1e-5, (what, index)


def test_maps_of_calls(call: Call) -> None:
    for axes in _mapped_axes(call):
        tensors = _drawn(call, axes)
        found = vmap(call.run, in_dims=tuple(axes))(*tensors)
        _same(found, [call.run(*sample) for sample in _samples(tensors, axes)], axes)


def _gradients(call: Call, tensors: List[Tensor]) -> Tuple[Tensor, ...]:
    leaves = [x.detach().requires_grad_() for x in tensors]
    return torch.autograd.grad(call.loss(*leaves), leaves)


def test_maps_of_gradients(call: Call) -> None:
    """Gradients of each sample, also of tensors that all samples share."""
    everything = tuple(range(len(call.shapes)))
    for axes in _mapped_axes(call):
        tensors = _drawn(call, axes)
        found = vmap(grad(call.loss, argnums=everything), in_dims=tuple(axes))(*tensors)
        _same(found, [_gradients(call, sample) for sample in _samples(tensors, axes)], axes)


def test_gradients_of_maps(call: Call) -> None:
    axes = [0] + [None] * (len(call.shapes) - 1)
    tensors = _drawn(call, axes)
    leaves = [x.detach().requires_grad_() for x in tensors]
    found = torch.autograd.grad(vmap(call.loss, in_dims=tuple(axes))(*leaves).sum(), leaves)
    each = [_gradients(call, sample) for sample in _samples(tensors, axes)]
    expected = [torch.stack(parts) if axis == 0 else sum(parts)
                for axis, parts in zip(axes, zip(*each))]
    for index, (own, other) in enumerate(zip(found, expected)):
        assert error(own, other) < 1e-5, index


def test_batched_gradients(call: Call) -> None:
    leaves = [x.requires_grad_() for x in call.draw()]
    results = call.run(*leaves)
    for count in (_SAMPLES, 1):
        incoming = [torch.randn(count, *x.shape) for x in results]
        found = torch.autograd.grad(
            results, leaves, incoming, is_grads_batched=True, retain_graph=True)
        expected = [
            torch.autograd.grad(results, leaves, [x[index] for x in incoming], retain_graph=True)
            for index in range(count)]
        _same(found, expected, count)


def test_jacobians(call: Call) -> None:
    tensors = call.draw()
    leaves = [x.detach().requires_grad_() for x in tensors]
    output = call.run(*leaves)[0]
    rows = [torch.autograd.grad(each, leaves[0], retain_graph=True)[0]
            for each in output.flatten()]
    expected = torch.stack(rows).reshape(*output.shape, *leaves[0].shape)

    def function(x: Tensor) -> Tensor:
        return call.run(x, *tensors[1:])[0]

    assert error(jacrev(function)(tensors[0]), expected) < 1e-5
    found = torch.autograd.functional.jacobian(function, tensors[0], vectorize=True)
    assert error(found, expected) < 1e-5


def test_maps_in_maps() -> None:
    call = CALLS["attention with what rows share"]
    tensors = [x.reshape(2, 2, *x.shape[1:]) for x in call.draw(4)]
    found = vmap(vmap(grad(call.loss, argnums=(0, 3)), in_dims=0), in_dims=1)(*tensors)
    for first in range(2):
        for second in range(2):
            expected = _gradients(call, [x[first, second] for x in tensors])
            assert error(found[0][second, first], expected[0]) < 1e-5
            assert error(found[1][second, first], expected[3]) < 1e-5


def test_maps_of_other_axes_and_of_none() -> None:
    q, k, v = (torch.randn(2, 6, 2, 5, 3) for _ in range(3))
    found = vmap(attention, in_dims=-1, out_dims=1)(q, k, v)
    assert error(found[:, 2], attention(q[..., 2], k[..., 2], v[..., 2])) < 1e-6
    none = torch.randn(0, 2, 6, 2, 5)
    assert vmap(attention)(none, none, none).shape == none.shape
    output, state = vmap(linear_attention)(none, none, none)
    assert output.shape == none.shape and state.shape == (0, 2, 2, 5, 5)


def test_key_masks_are_mapped() -> None:
    q, k, v = (torch.randn(2, 6, 2, 5) for _ in range(3))
    masks = torch.rand(_SAMPLES, 2, 6) > 0.3
    found = vmap(lambda mask: attention(q, k, v, key_mask=mask))(masks)
    for own, mask in zip(found, masks):
        assert error(own, attention(q, k, v, key_mask=mask)) < 1e-6


@pytest.mark.parametrize("transform", [
    torch.func.jacfwd, torch.func.hessian, lambda *of: jacrev(jacrev(*of), of[1])], ids=str)
def test_what_is_not_there_says_so(transform: Callable, call: Call) -> None:
    """Otherwise, second derivatives and tangents would silently be zero."""
    with pytest.raises(RuntimeError, match="forward mode|no second derivatives"):
        transform(call.loss, 1)(*call.draw())


@pytest.mark.parametrize("vectorize", [False, True])
def test_hessians_say_that_they_are_not_there(call: Call, vectorize: bool) -> None:
    first, second, *others = call.draw()
    with pytest.raises(RuntimeError, match="no second derivatives"):
        torch.autograd.functional.hessian(
            lambda x: call.loss(first, x, *others), second, vectorize=vectorize)

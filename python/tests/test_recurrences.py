"""The operators with a state in PyTorch's dispatcher, autograd and compiler."""

from __future__ import annotations

from typing import Callable, Dict, List, NamedTuple, Optional

import pytest
import torch
from torch import Tensor

from swift_attention import explain, fla
from swift_attention._operators.gated_scan import gated_scan
from swift_attention._operators.linear_attention import linear_attention

_OPERATORS = torch.ops.swift_attention
_B, _T, _H, _G, _K, _V = 2, 9, 2, 4, 5, 3


class Call(NamedTuple):
    """Named tensors, and flags, of one call of linear attention."""

    tensors: Dict[str, List[int]]
    options: Dict[str, object] = {}
    is_packed: bool = False


_QKV = {"queries": [_B, _T, _H, _K], "keys": [_B, _T, _H, _K], "values": [_B, _T, _G, _V]}
_CHANNELS = [_B, _T, _G, _K]
_CALLS = {
    "additive": Call(_QKV),
    "decay of heads": Call({**_QKV, "decay": [_G]}),
    "decay of tokens": Call({**_QKV, "decay": [_B, _T, _G], "initial_state": [_B, _G, _K, _V]}),
    "decay of channels": Call({**_QKV, "decay": _CHANNELS}, {"scale": 0.3}),
    "delta": Call({**_QKV, "decay": [_B, _T, _G], "beta": [_B, _T, _G]}, {"normalizes": True}),
    "generalised delta": Call({**_QKV, "read_keys": _CHANNELS}),
    "low rank": Call({
        **_QKV, "decay": _CHANNELS, "low_rank_a": _CHANNELS, "low_rank_b": _CHANNELS,
        "initial_state": [_B, _G, _K, _V]}),
    "bonus": Call({**_QKV, "decay": _CHANNELS, "bonus": [_G, _K]}),
    "packed": Call({name: [1, *shape[1:]] for name, shape in _QKV.items()}, is_packed=True),
}


def _draw(call: Call, dtype: torch.dtype, requires_grad: bool = False) -> Dict[str, object]:
    torch.manual_seed(0)
    drawn: Dict[str, object] = {}
    for name, shape in call.tensors.items():
        tensor = torch.randn(shape, dtype=dtype) * 0.7
        if name == "decay":
            tensor = -tensor.abs()
        drawn[name] = tensor.requires_grad_(requires_grad)
    if call.is_packed:
        drawn["cumulative_lengths"] = torch.tensor([0, 4, 4, _T], dtype=torch.int32)
    return drawn


@pytest.mark.parametrize("name", _CALLS)
def test_gradients_by_differences(name: str) -> None:
    call = _CALLS[name]
    inputs = _draw(call, torch.float64, requires_grad=True)
    names = list(inputs)
    assert torch.autograd.gradcheck(
        lambda *tensors: linear_attention(**dict(zip(names, tensors)), **call.options),
        tuple(inputs.values()))


@pytest.mark.parametrize("is_packed", [False, True])
def test_gradients_of_scans_by_differences(is_packed: bool) -> None:
    torch.manual_seed(1)
    inputs = torch.randn(1 if is_packed else 2, 7, 5, dtype=torch.float64).requires_grad_()
    decay = (-torch.rand_like(inputs)).detach().requires_grad_()
    state = torch.randn(3 if is_packed else 2, 5, dtype=torch.float64).requires_grad_()
    ends = torch.tensor([0, 3, 3, 7], dtype=torch.int32) if is_packed else None
    assert torch.autograd.gradcheck(
        lambda *tensors: gated_scan(*tensors, ends), (inputs, decay, state))


def _arguments(call: Call, dtype: torch.dtype, requires_grad: bool) -> tuple:
    names = ("decay", "beta", "read_keys", "low_rank_a", "low_rank_b", "bonus", "initial_state",
             "cumulative_lengths")
    drawn = _draw(call, dtype, requires_grad)
    rows = [drawn[name] for name in ("queries", "keys", "values")]
    return (*rows, *[drawn.get(name) for name in names], call.options.get("scale"),
            call.options.get("normalizes", False))


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("name", _CALLS)
def test_operator_check(name: str, requires_grad: bool) -> None:
    arguments = _arguments(_CALLS[name], torch.float32, requires_grad)
    for output_final_state in (True, False):
        torch.library.opcheck(
            _OPERATORS.linear_attention.default,
            (*arguments, output_final_state, None, requires_grad))


def test_backward_operator_check() -> None:
    arguments = _arguments(_CALLS["delta"], torch.float32, False)
    output, state = linear_attention(*arguments[:3])
    torch.library.opcheck(
        _OPERATORS.linear_attention_backward.default,
        (torch.randn_like(output), torch.randn_like(state), *arguments, True, None,
         [True] * 5 + [False] * 6))
    inputs, decay = torch.randn(2, 7, 5), -torch.rand(2, 7, 5)
    torch.library.opcheck(
        _OPERATORS.gated_scan.default, (inputs, decay, None, None, True, None, False))
    torch.library.opcheck(
        _OPERATORS.gated_scan_backward.default,
        (gated_scan(inputs, decay)[0], inputs, None, inputs, decay, None, None, True, None,
         [True, True, False, False]))


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_functions_give_the_same(dynamic: bool) -> None:
    def model(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor) -> Tensor:
        first, state = fla.chunk_gated_delta_rule(
            q, k, v, g, beta, use_qk_l2norm_in_kernel=True, output_final_state=True)
        second, _ = fla.fused_recurrent_gla(q, k, v, gv=-torch.sigmoid(v), reverse=True)
        third, _ = fla.chunk_hgrn(v.flatten(2), -torch.sigmoid(v).flatten(2))
        return (first + second).square().sum() + state.sum() + third.sum()

    compiled = torch.compile(model, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for length in (9, 17):
        torch.manual_seed(length)
        rows = [torch.randn(2, length, 2, 8) for _ in range(3)]
        inputs = [*rows, -torch.rand(2, length, 2), torch.rand(2, length, 2)]
        leaves = [x.requires_grad_() for x in inputs]
        expected, found = model(*leaves), compiled(*leaves)
        torch.testing.assert_close(found, expected)
        for own, reference in zip(
            torch.autograd.grad(found, leaves), torch.autograd.grad(expected, leaves)
        ):
            torch.testing.assert_close(own, reference)


def test_autocast_narrows_what_is_multiplied() -> None:
    rows = [torch.randn(2, 9, 2, 8).requires_grad_() for _ in range(3)]
    decay = -torch.rand(2, 9, 2)
    with torch.autocast("cpu", torch.bfloat16):
        output, state = linear_attention(*rows, decay)
    narrow = [x.detach().bfloat16().requires_grad_() for x in rows]
    expected, final = linear_attention(*narrow, decay)
    assert output.dtype == torch.bfloat16 and state.dtype == torch.float32
    assert torch.equal(output, expected) and torch.equal(state, final)
    output.float().sum().backward()
    assert rows[0].grad is not None and rows[0].grad.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert gated_scan(torch.randn(1, 3, 4), -torch.rand(1, 3, 4))[0].dtype == torch.float32
        wide = linear_attention(*(x.detach().double() for x in rows))[0]
    assert wide.dtype == torch.float64


def _contiguous(function: Callable[..., tuple], *tensors: Tensor) -> List[Tensor]:
    leaves = [x.detach().clone(memory_format=torch.contiguous_format).requires_grad_()
              for x in tensors]
    output, state = function(*leaves)
    return [output, *torch.autograd.grad(output.sum() + state.sum(), leaves)]


def test_any_strides() -> None:
    torch.manual_seed(2)
    heads_first = torch.randn(3, 2, 4, 9, 8).transpose(2, 3)
    decay = -torch.rand(9, 2).t()[:, :, None].expand(2, 9, 4)
    tensors = [*heads_first.unbind(0), decay]
    for x in tensors:
        x.requires_grad_(False)
    leaves = [x.detach().requires_grad_() for x in tensors]
    output, state = linear_attention(*leaves)
    # Gradients of sums repeat one number by strides of 0.
    gradients = torch.autograd.grad(output.sum() + state.sum(), leaves)
    for own, expected in zip((output, *gradients), _contiguous(linear_attention, *tensors)):
        torch.testing.assert_close(own, expected)
    rows = torch.randn(6, 9, 4)[::3].transpose(1, 2)
    gate = -torch.rand(9, 1).expand(9, 9)[:4].expand(2, 4, 9)
    leaves = [rows.detach().requires_grad_(), gate.detach().requires_grad_()]
    output, state = gated_scan(*leaves)
    gradients = torch.autograd.grad(output.sum() + state.sum(), leaves)
    for own, expected in zip((output, *gradients), _contiguous(gated_scan, rows, gate)):
        torch.testing.assert_close(own, expected)


@pytest.mark.parametrize("batch, length", [(2, 0), (0, 5), (0, 0), (1, 1)])
def test_empty_and_single(batch: int, length: int) -> None:
    rows = [torch.randn(batch, length, 2, 8).requires_grad_() for _ in range(3)]
    state = torch.randn(batch, 2, 8, 8)
    output, final = linear_attention(*rows, initial_state=state)
    assert output.shape == rows[0].shape and final.shape == state.shape
    if length == 0:
        assert torch.equal(final, state)
    output.sum().backward()
    inputs = torch.randn(batch, length, 3).requires_grad_()
    output, final = gated_scan(inputs, -torch.rand(batch, length, 3))
    output.sum().backward()
    assert final.shape == (batch, 3) and inputs.grad is not None


def test_transforms() -> None:
    rows = [torch.randn(2, 9, 2, 4) for _ in range(3)]
    decay = -torch.rand(2, 9, 2)

    def loss(q: Tensor) -> Tensor:
        return linear_attention(q, *rows[1:], decay)[0].square().sum()

    leaf = rows[0].clone().requires_grad_()
    expected, = torch.autograd.grad(loss(leaf), leaf)
    torch.testing.assert_close(torch.func.grad(loss)(rows[0]), expected)
    many = torch.stack([rows[0], rows[0] + 1])
    found = torch.func.vmap(lambda q: linear_attention(q, *rows[1:], decay)[0])(many)
    torch.testing.assert_close(found[1], linear_attention(many[1], *rows[1:], decay)[0])
    for name, function in {
        "scan": lambda x: gated_scan(x.flatten(2), -x.flatten(2).square())[1],
        "columns": lambda x: fla.fused_recurrent_gla(x, *rows[1:], gv=-x.square())[0],
        "least squares": lambda x: fla.chunk_mesa_net(
            x, *rows[1:], decay, -decay, torch.ones(2, 4))[0],
    }.items():
        leaf = rows[0].clone().requires_grad_()
        expected, = torch.autograd.grad(function(leaf).sum(), leaf)
        found = torch.func.grad(lambda x: function(x).sum())(rows[0])
        torch.testing.assert_close(found, expected, msg=name)


def test_only_some_gradients() -> None:
    rows = [torch.randn(1, 5, 2, 4) for _ in range(3)]
    rows[1].requires_grad_()
    output, state = linear_attention(*rows)
    (only,) = torch.autograd.grad(state.sum(), rows[1], retain_graph=True)
    assert only.shape == rows[1].shape
    with pytest.raises(RuntimeError, match="second derivatives"):
        (first,) = torch.autograd.grad(output.square().sum(), rows[1], create_graph=True)
        first.sum().backward()


def _error_of(message: str, **changes: Optional[Tensor]) -> None:
    arguments = dict(_draw(_CALLS["additive"], torch.float32), **changes)
    with pytest.raises(ValueError, match=message):
        linear_attention(**arguments)


def test_wrong_arguments_name_what_is_wrong() -> None:
    _error_of("keys", keys=torch.zeros(1, 2, 3, 4))
    _error_of("queries", queries=torch.zeros(1, 2, 3))
    _error_of("decay", decay=torch.zeros(3))
    _error_of("beta", beta=torch.zeros(_B, _T, _G + 1))
    _error_of("keys", keys=torch.zeros(_B, _T, _H, _K, dtype=torch.float16))
    _error_of("initial", initial_state=torch.zeros(_B, _G, _K, _V + 1))
    _error_of("cumulative", cumulative_lengths=torch.tensor([0, _T], dtype=torch.int32))
    with pytest.raises(TypeError, match="queries"):
        linear_attention(*(torch.zeros(1, 2, 3, 4, dtype=torch.complex64) for _ in range(3)))
    with pytest.raises(ValueError, match="decay"):
        gated_scan(torch.zeros(1, 2, 3), torch.zeros(1, 2, 4))
    with pytest.raises(ValueError, match="inputs"):
        gated_scan(torch.zeros(2, 3), torch.zeros(2, 3))


def test_explanations() -> None:
    rows = [torch.randn(1, 64, 2, 16) for _ in range(3)]
    text = str(explain(fla.chunk_gla, *rows, -torch.rand(1, 64, 2, 16)))
    assert "cpu." in text and "decay per channel" in text
    assert "cpu." in str(explain(fla.chunk_hgrn, torch.randn(1, 9, 4), -torch.rand(1, 9, 4)))

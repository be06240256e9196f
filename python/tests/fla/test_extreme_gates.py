"""Gates of extreme inputs compared with float64, in logarithms where those overflow."""

from __future__ import annotations

import math
from typing import Callable, List, Optional, Tuple

import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor

from swift_attention import fla
from swift_attention.fla.gates import write_strength

_MAGNITUDES = [0.0, 1e-30, 1e-3, 1.0, 15.9, 16.0, 16.1, 40.0, 87.0, 100.0, 120.0, 1e4, math.inf]
_INPUTS = torch.tensor(sorted({sign * x for x in _MAGNITUDES for sign in (-1, 1)}))
_RATES = torch.tensor(
    [-math.inf, -1e4, -80.0, -1.0, -1e-30, 0.0, 1.0, 40.0, 88.0, 89.0, 95.0, 170.0, 1e4, math.inf])
# The exponential of anything below is 0 in float32.
_NO_RATE = -104.0
# For results, except for the float32 rounding of an exponent of up to 100.
_TOLERANCE = 2e-5
# The smallest normal number of float32.
_LEAST = 1.2e-38


def _grid() -> Tuple[Tensor, Tensor]:
    """Inputs [inputs, rates] and rates [rates], in all combinations."""
    return _INPUTS.unsqueeze(1).expand(-1, len(_RATES)).contiguous(), _RATES.clone()


def _agree(name: str, x: Tensor, expected: Tensor, is_defined: Tensor) -> None:
    """Equal up to rounding; what float32 cannot represent is infinite or 0."""
    expected = expected.double()
    limit = torch.finfo(torch.float32)
    too_large = expected.abs() > limit.max
    expected = torch.where(too_large, expected.sign() * math.inf, expected)
    close = (x.double() - expected).abs() <= _TOLERANCE * expected.abs() + _LEAST
    # At the limit either is accepted.
    at_edge = too_large & (x.abs() > 0.99 * limit.max) & (x.sign() == expected.sign())
    wrong = ~((x == expected) | close | at_edge) & is_defined
    places = [(name, *place) for place in wrong.nonzero().tolist()]
    assert not places, [(place, float(x[tuple(place[1:])]), float(expected[tuple(place[1:])]))
                        for place in places[:5]]


def _log_softplus(h: Tensor) -> Tensor:
    return torch.where(h < -30, h, functional.softplus(h.clamp(min=-40)).log())


def _with_gradients(function: Callable[[Tensor, Tensor], Tensor]) -> List[Tensor]:
    """Values, and the gradients [inputs, rates] of both arguments."""
    h, rates = _grid()
    rates = rates.expand_as(h).contiguous()
    results = []
    for row_h, row_a in zip(h, rates):
        row_h, row_a = row_h.clone().requires_grad_(), row_a.clone().requires_grad_()
        value = function(row_h, row_a)
        results.append([value.detach(), *torch.autograd.grad(value.sum(), (row_h, row_a))])
    return [torch.stack(each) for each in zip(*results)]


def _defined(h: Tensor, a: Tensor) -> Tensor:
    """Where zero, also after rounding to float32, is not multiplied by infinity."""
    return ~(((a == math.inf) & (h == -math.inf)) | ((a < _NO_RATE) & (h == math.inf)))


@pytest.mark.parametrize("is_by_channel", [False, True])
def test_softplus_gates(is_by_channel: bool) -> None:
    def ours(h: Tensor, a: Tensor) -> Tensor:
        if is_by_channel:
            return fla.fused_kda_gate(h.unsqueeze(-1), a).squeeze(-1)
        return fla.fused_gdn_gate(h, a)

    value, dh, da = _with_gradients(ours)
    h, a = (x.double() for x in torch.broadcast_tensors(*_grid()))
    is_defined = _defined(h, a)
    expected = -torch.exp(a + _log_softplus(h))
    _agree("value", value, expected, is_defined)
    _agree("dA_log", da, expected, is_defined)
    _agree("dg", dh, -torch.exp(a + functional.logsigmoid(h)), is_defined)


@pytest.mark.parametrize("bound", [-5.0, -1e-3])
def test_bounded_gates(bound: float) -> None:
    value, dh, da = _with_gradients(
        lambda h, a: fla.fused_kda_gate(h.unsqueeze(-1), a, lower_bound=bound).squeeze(-1))
    h, a = (x.double() for x in torch.broadcast_tensors(*_grid()))
    is_defined = ~(((a == math.inf) & (h == 0)) | ((a < _NO_RATE) & h.isinf()))
    z = h.sign() * torch.exp(a + h.abs().log())
    _agree("value", value, bound * torch.sigmoid(z), is_defined)
    # dσ/dz = e^−|z| / (1 + e^−|z|)²
    slope = -z.abs() - 2 * torch.log1p(torch.exp(-z.abs()))
    for name, found, reference in (("dg", dh, torch.exp(a + slope)), ("dA_log", da, z * slope.exp())):
        _agree(name, found, bound * torch.where(z.isinf(), 0.0, reference), is_defined)


def test_what_used_to_overflow() -> None:
    g, A_log = torch.zeros(1, 1, 1, 1, requires_grad=True), torch.tensor([89.0], requires_grad=True)
    gate = fla.fused_kda_gate(g, A_log, lower_bound=-5)
    assert gate.item() == -2.5
    gate = fla.fused_kda_gate(torch.full_like(g, 3.0).requires_grad_(), A_log, lower_bound=-5)
    assert torch.autograd.grad(gate.sum(), A_log)[0].item() == 0
    far = torch.full((1, 1, 1, 1), -120.0)
    assert fla.fused_kda_gate(far, A_log).item() == pytest.approx(-math.exp(89 - 120), rel=1e-5)
    assert fla.fused_gdn_gate(far[..., 0], torch.tensor([95.0])).item() == pytest.approx(
        -math.exp(95 - 120), rel=1e-5)


def test_softplus_gates_of_float64_have_its_digits() -> None:
    h = torch.tensor([-800.0, -40.0, -36.5, -35.5, -17.0, -15.0, 0.0, 30.0], dtype=torch.float64)
    value = fla.fused_gdn_gate(
        h, torch.full((8,), 90.0, dtype=torch.float64), output_dtype=torch.float64)
    expected = [-math.exp(90 + min(x, 0)) * (
        1 if x < -40 else math.log1p(math.exp(x)) / math.exp(min(x, 0))) for x in h.tolist()]
    torch.testing.assert_close(
        value, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)


@pytest.mark.parametrize("is_doubled", [False, True])
def test_write_strengths(is_doubled: bool) -> None:
    x = _INPUTS.clone().requires_grad_()
    value = write_strength(x, True, is_doubled)
    (dx,) = torch.autograd.grad(value.sum(), x)
    wide = _INPUTS.double()
    factor = 2 if is_doubled else 1
    everywhere = torch.ones(len(_INPUTS), dtype=torch.bool)
    _agree("value", value.detach(), factor * torch.sigmoid(wide), everywhere)
    _agree("gradient", dx, factor * torch.exp(
        functional.logsigmoid(wide) + functional.logsigmoid(-wide)), everywhere)


# --- Running softmax


def _additive_gate(x: Tensor, first: Optional[Tensor]) -> Tuple[Tensor, Tensor, Tensor]:
    """The definition, token by token in float64, without differences of infinities."""
    def below(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(a == b, torch.where(a == -math.inf, -math.inf, 0.0), a - b)

    largest = torch.full_like(x[:, :1], -math.inf) if first is None else first
    total = torch.where(largest == -math.inf, 0.0, torch.ones_like(largest))
    weights, gates = [], []
    for t in range(x.shape[1]):
        token = x[:, t:t + 1]
        following = torch.maximum(largest, token)
        kept = total * below(largest, following).exp()
        added = below(token, following).exp()
        sums = kept + added
        weights.append(torch.where(sums == 0, 0.0, added / sums))
        # log(kept / sums), accurate where most is kept, in which case the sum of both loses digits.
        gate = below(largest, following) + total.log() - sums.log()
        gate = torch.where(kept > added, -torch.log1p(added / kept), gate)
        gates.append(torch.where(total == 0, 0.0, gate))
        largest, total = following, sums
    return torch.cat(weights, 1), torch.cat(gates, 1), largest + total.log()


@pytest.mark.parametrize("logits", [
    [-math.inf, 0.0], [0.0, -math.inf, 0.0], [-math.inf, -math.inf], [1e4, 1e4, -1e4, 1e4],
    [-1e4, 1e4], [1e4, 0.0], [1e-30, -1e-30, 0.0], [80.0, 100.0, 120.0], [0.0, -30.0, -100.0],
    [3.0, math.inf, 5.0]], ids=str)
@pytest.mark.parametrize("first", [None, -math.inf, 0.0, 1e4, -1e4])
@pytest.mark.parametrize("is_packed", [False, True])
def test_additive_gate(logits: List[float], first: Optional[float], is_packed: bool) -> None:
    x = torch.tensor(logits).view(1, -1, 1, 1)
    state = None if first is None else torch.full((1, 1, 1, 1), first)
    cu_seqlens = None
    if is_packed:
        # A sequence without tokens, and the same twice.
        x = torch.cat([x, x], 1)
        cu_seqlens = torch.tensor([0, len(logits), len(logits), 2 * len(logits)])
        state = None if state is None else state.expand(3, 1, 1, 1).clone()
    x.requires_grad_()
    weights, gates, last = fla.fused_additive_gate(x, state, cu_seqlens)
    wide = torch.tensor(logits, dtype=torch.float64).view(1, -1, 1, 1).requires_grad_()
    begin = None if first is None else torch.full((1, 1, 1, 1), first, dtype=torch.float64)
    expected = _additive_gate(wide.detach(), begin)
    pieces = [slice(0, len(logits)), slice(len(logits), None)] if is_packed else [slice(None)]
    for piece in pieces:
        for name, found, reference in (
            ("weights", weights, expected[0]), ("gates", gates, expected[1])):
            _agree(name, found[:, piece].detach(), reference,
                   torch.ones_like(reference, dtype=torch.bool))
    last = last.detach()
    assert float(last[0]) == pytest.approx(float(expected[2]), rel=1e-6)
    if is_packed:
        assert float(last[1]) == (-math.inf if first is None else first)
    (dx,) = torch.autograd.grad(_weighed(weights), x)
    assert dx.isfinite().all()
    if not is_packed and wide.isfinite().all():
        has_first = first is not None and first > -math.inf
        sums = torch.cat([begin, wide], 1) if has_first else wide
        sums = torch.logcumsumexp(sums, 1)[:, -len(logits):]
        (reference,) = torch.autograd.grad(_weighed(torch.exp(wide - sums)), wide)
        torch.testing.assert_close(dx.double(), reference, rtol=1e-4, atol=1e-6)


def _weighed(x: Tensor) -> Tensor:
    return (x * torch.arange(x.shape[1]).view(1, -1, 1, 1)).sum()


def test_gates_under_transforms() -> None:
    """Batched, differentiated twice and compiled they give the same."""
    g, A_log = torch.randn(3, 5, 2, 4), torch.randn(2)
    expected = fla.fused_kda_gate(g, A_log)
    mapped = torch.func.vmap(lambda each: fla.fused_kda_gate(each, A_log))(g)
    torch.testing.assert_close(mapped, expected)
    slope = torch.func.grad(lambda each, rate: fla.fused_kda_gate(each, rate).sum(), (0, 1))
    for found, one_by_one in zip(
        torch.func.vmap(slope, (0, None))(g, A_log), zip(*(slope(each, A_log) for each in g))
    ):
        torch.testing.assert_close(found, torch.stack(one_by_one))
    compiled = torch.compile(lambda g, A_log: fla.fused_kda_gate(g, A_log), backend="aot_eager")
    leaf = g.clone().requires_grad_()
    torch.testing.assert_close(compiled(leaf, A_log), expected)
    torch.testing.assert_close(
        torch.autograd.grad(compiled(leaf, A_log).sum(), leaf)[0],
        -A_log.exp().view(2, 1) * torch.sigmoid(g))
    wide = [x.double().requires_grad_() for x in (g, A_log)]
    assert torch.autograd.gradcheck(fla.fused_kda_gate, (*wide, None, None, torch.float64))
    assert torch.autograd.gradgradcheck(fla.fused_kda_gate, (*wide, None, None, torch.float64))
    assert torch.autograd.gradgradcheck(fla.fused_kda_gate, (*wide, None, -5.0, torch.float64))

"""The whole operator compared with its formula in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from support import BOUNDS, GRADIENT_BOUNDS, UNFUSED, error
from swift_attention import attention

TERMS = ("bias", "logit_decay", "sinks", "scale")
FLAGS = {
    "plain": {},
    "causal": {"is_causal": True},
    "window": {"window": (3, 2)},
    "left window, top-left": {"window": (4, 0), "alignment": "top-left"},
    "softcap": {"softcap": 1.5},
    "alibi": {"alibi": True, "is_causal": True},
    "cosine": {"is_cosine": True, "groups": 2},
    "normalised": {"is_cosine": True, "is_normalized": True},
}


def formula(
    queries: Tensor, keys: Tensor, values: Tensor, *, scale=None, is_causal=False,
    alignment="bottom-right", window=None, key_mask=None, bias=None, softcap=None, alibi=False,
    logit_decay=None, sinks=None, is_cosine=False, groups=1, is_normalized=False,
) -> tuple:
    """Output and log-sum-exp by the definition."""
    heads, dim = queries.shape[2:]
    q, k, v = (t.transpose(1, 2) for t in (queries, keys, values))
    k, v = (t.repeat_interleave(heads // t.shape[1], 1) for t in (k, v))
    if is_cosine and not is_normalized:
        q, k = (
            torch.nn.functional.normalize(t.unflatten(-1, (groups, -1)), dim=-1).flatten(-2)
            for t in (q, k))
    if scale is None:
        scale = 8.0 if is_cosine else 1 / math.sqrt(dim)
    s = q @ k.transpose(-1, -2) * (scale[:, None, None] if isinstance(scale, Tensor) else scale)
    t, n = s.shape[-2:]
    place = torch.arange(t, device=s.device) + (n - t if alignment == "bottom-right" else 0)
    distance = torch.arange(n, device=s.device) - place[:, None]
    if softcap is not None:
        s = softcap * torch.tanh(s / softcap)
    if alibi:
        slopes = 2.0 ** (-8 * torch.arange(1, heads + 1, device=s.device).double() / heads)
        s = s - slopes.to(s)[:, None, None] * distance.abs()
    if bias is not None:
        s = s + bias
    if logit_decay is not None:
        sums = logit_decay.cumsum(1).transpose(1, 2)
        s = s + sums[..., :, None] - sums[..., None, :]
    hidden = torch.zeros(t, n, dtype=torch.bool, device=s.device)
    if is_causal:
        hidden |= distance > 0
    if window is not None:
        left, right = window
        hidden |= (distance < -left) | (distance > right)
    s = s.masked_fill(hidden, -math.inf)
    if key_mask is not None:
        s = s.masked_fill(~key_mask[:, None, None], -math.inf)
    if sinks is not None:
        s = torch.cat([s, sinks[:, None, None].expand(*s.shape[:2], t, 1)], -1)
    lse = s.logsumexp(-1)
    p = torch.where(lse[..., None].isinf(), 0.0, s - lse[..., None]).exp()
    p = torch.where(s.isinf(), 0.0, p)[..., :n]
    return (p @ v).transpose(1, 2), lse


def terms_of(names: tuple, device: torch.device, t: int, heads: int) -> dict:
    """Tensors of the terms, and a key mask if it is among the names."""
    made = {
        "bias": torch.randn(1, heads, t, t, device=device),
        "logit_decay": -torch.rand(2, t, heads, device=device),
        "sinks": torch.randn(heads, device=device),
        "scale": torch.rand(heads, device=device) + 0.1,
        "key_mask": torch.rand(2, t, device=device) > 0.3,
    }
    return {name: made[name] for name in names}


def test_bias_of_other_types(device: torch.device) -> None:
    """Bitwise the same as the numbers in float32, or as 0 and −∞."""
    q, k, v = (torch.randn(2, n, 4, 16, device=device) for n in (19, 23, 23))
    numbers = torch.randn(1, 4, 23, 19, device=device).mT
    for bias in (numbers.bfloat16(), numbers.half(), numbers > -0.5):
        is_mask = bias.dtype == torch.bool
        wide = torch.where(bias, 0.0, -math.inf) if is_mask else bias.float()
        found = []
        for own in (bias, wide):
            inputs = [x.clone().requires_grad_() for x in (q, k, v)]
            if not is_mask:
                inputs.append(own.detach().requires_grad_())
            output = attention(*inputs[:3], bias=own if is_mask else inputs[3])
            found.append([output, *torch.autograd.grad(output.square().sum(), inputs)])
        for x, y in zip(*found):
            assert x.equal(y.to(x.dtype)), bias.dtype
        if not is_mask:
            assert found[0][4].dtype == bias.dtype


@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize(
    "names", [(), ("bias", "key_mask"), ("logit_decay", "sinks"), ("scale",), TERMS], ids=str)
def test_formula(flag: str, names: tuple, device: torch.device) -> None:
    t, heads = 19, 4
    for dtype in (torch.float32, torch.bfloat16):
        q, k = (torch.randn(2, t, h, 16, device=device).to(dtype) for h in (heads, 2))
        v = torch.randn(2, t, 2, 24, device=device).to(dtype)
        if flag == "normalised":
            q, k = (torch.nn.functional.normalize(x.float(), dim=-1).to(dtype) for x in (q, k))
        terms = terms_of(names, device, t, heads)
        inputs = [q, k, v, *(x for x in terms.values() if x.is_floating_point())]
        keys = [name for name, x in terms.items() if x.is_floating_point()]
        incoming = [
            torch.randn(2, t, heads, 24, device=device).to(dtype),
            torch.randn(2, heads, t, device=device)]

        def results(function, cast, **more) -> list:
            own = [cast(x).detach().requires_grad_() for x in inputs]
            options = dict(FLAGS[flag], **dict(zip(keys, own[3:])), **more)
            if "key_mask" in terms:
                options["key_mask"] = terms["key_mask"]
            output, lse = function(*own[:3], **options)
            visible = ~lse.isinf()
            loss = (output * incoming[0].to(output)).sum()
            loss = loss + (lse * incoming[1].to(lse))[visible].sum()
            return [output, lse[visible], *torch.autograd.grad(loss, own)]

        mine = results(attention, lambda x: x, returns_log_sum_exp=True)
        exact = results(formula, lambda x: x.double())
        plain = results(formula, lambda x: x.to(dtype))
        for index, (one, other) in enumerate(zip(mine, exact)):
            bound = (BOUNDS if index < 2 else GRADIENT_BOUNDS)[dtype]
            if dtype == torch.bfloat16:
                bound = max(bound, UNFUSED * error(plain[index], other))
            what = ("output", "log-sum-exp", "queries", "keys", "values", *keys)[index]
            assert error(one, other) <= bound, f"{flag}, {names}, {dtype}: {what}"


def test_packed_sequences(device: torch.device) -> None:
    bounds = [0, 5, 5, 16, 17]
    q, k, v = (torch.randn(1, 17, 3, 16, device=device, requires_grad=True) for _ in range(3))
    for where in {"cpu", device.type}:
        lengths = torch.tensor(bounds, dtype=torch.int32, device=where)
        output = attention(q, k, v, is_causal=True, cumulative_lengths=lengths)
        parts = [
            formula(*(t[:, a:b].double() for t in (q, k, v)), is_causal=True)[0]
            for a, b in zip(bounds, bounds[1:])]
        assert error(output, torch.cat(parts, 1)) < BOUNDS[torch.float32]
        own = torch.autograd.grad(output.square().sum(), q)[0]
        expected = torch.autograd.grad(torch.cat(parts, 1).square().sum(), q)[0]
        assert error(own, expected) < GRADIENT_BOUNDS[torch.float32]


def test_log_sum_exp_of_nothing(device: torch.device) -> None:
    q, k, v = (torch.randn(1, n, 2, 8, device=device) for n in (5, 3, 3))
    output, lse = attention(q, k, v, is_causal=True, returns_log_sum_exp=True)
    assert (lse[:, :, :2] == -math.inf).all() and (output[:, :2] == 0).all()


def test_forced_kernels_agree(device: torch.device) -> None:
    q, k, v = (torch.randn(1, 9, 2, 16, device=device) for _ in range(3))
    expected = formula(q.double(), k.double(), v.double())[0]
    names = ["cpu.reference", "cpu.tiled", "cpu.unfused"]
    for kernel in names if device.type == "cpu" else ["cuda.float32"]:
        assert error(attention(q, k, v, kernel=kernel), expected) < 1e-5, kernel


def test_decoding_step_by_step(device: torch.device) -> None:
    """Keys that are a growing view of one buffer, as in a decoder."""
    q, k, v = (torch.randn(2, 12, 4, 16, device=device) for _ in range(3))
    whole = attention(q, k, v, is_causal=True)
    steps = [
        attention(q[:, i:i + 1], k[:, :i + 1], v[:, :i + 1], is_causal=True) for i in range(12)]
    assert error(torch.cat(steps, 1), whole) < 1e-5

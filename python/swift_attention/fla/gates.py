"""Gates computed from a layer's projections."""

from __future__ import annotations

from typing import Callable, Iterator

import torch
import torch.nn.functional as functional
from torch import Tensor

from .._operators.gated_scan import gated_scan
from ._recurrence import widened
from ._shapes import Shapes

_GDN_SHAPES = Shapes("g […, HV]; A_log, dt_bias? (HV)")
_KDA_SHAPES = Shapes("g […, H, K]; A_log? (H); dt_bias? (H·K)")
_ADDITIVE_SHAPES = Shapes("x [B, T, H, K]; initial_state? [N, 1, H, K]")

# Below these softplus and sigmoid equal the exponential in the dtype's precision.
_TAILS = {torch.float32: -16.0, torch.float64: -36.0}
# e to the first is finite in float32, and so is its product with e to the second.
_LARGEST_LOGARITHM, _FURTHER_LOGARITHM = 88.0, 80.0
# A sigmoid of more than this is 1, and of less than its negative 0.
_SATURATED = 128.0


def fused_gdn_gate(
    g: Tensor,
    A_log: Tensor,
    dt_bias: Tensor | None = None,
    output_dtype: torch.dtype = torch.float32,
) -> Tensor:
    """−exp(A_log) · softplus(g + dt_bias): the decay of Gated DeltaNet.

    g […, H]; A_log and dt_bias [H]. Neither factor overflows or underflows unless the product does.
    """
    _GDN_SHAPES.check(g=g, A_log=A_log, dt_bias=dt_bias)
    return gdn_gate(g, A_log, dt_bias).to(output_dtype)


def fused_kda_gate(
    g: Tensor,
    A_log: Tensor | None = None,
    dt_bias: Tensor | None = None,
    lower_bound: float | None = None,
    output_dtype: torch.dtype = torch.float32,
) -> Tensor:
    """−exp(A_log) · softplus(h), or lower_bound · sigmoid(exp(A_log) h), with h = g + dt_bias.

    The decay of Kimi Delta Attention, of the second form if there is a bound: g […, H, K]; A_log
    [H], None for 0 with a bound; dt_bias [H·K]. Neither factor overflows or underflows unless the
    product does.
    """
    _KDA_SHAPES.check(g=g, A_log=A_log, dt_bias=dt_bias)
    return kda_gate(g, A_log, dt_bias, lower_bound).to(output_dtype)


def fused_additive_gate(
    x: Tensor,
    initial_state: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    output_dtype: torch.dtype | None = None,
    gate_dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """exp(x_t − z_t), z_{t−1} − z_t and the last z, with z_t = log(exp(z_{t−1}) + exp(x_t)).

    x [B, T, H, K] are logits; z starts with `initial_state` [N, 1, H, K], None for −∞. While z is
    −∞ the weights and the next gate are 0. An empty sequence ends with its initial z.
    """
    cu_seqlens = _ADDITIVE_SHAPES.check(cu_seqlens, x=x, initial_state=initial_state)
    weights, gate, last = additive_gate(x, initial_state, cu_seqlens)
    return weights.to(output_dtype or x.dtype), gate.to(gate_dtype or x.dtype), last.float()


# --- On validated arguments, in float32 or float64


def gdn_gate(g: Tensor, A_log: Tensor, dt_bias: Tensor | None) -> Tensor:
    """`fused_gdn_gate`."""
    heads = g.shape[-1]
    g = widened(g)
    if dt_bias is not None:
        g = g + widened(dt_bias).reshape(heads)
    return _SoftplusGate.apply(widened(A_log).reshape(heads), g)


def kda_gate(
    g: Tensor, A_log: Tensor | None, dt_bias: Tensor | None, lower_bound: float | None
) -> Tensor:
    """`fused_kda_gate`."""
    if A_log is None and lower_bound is None:
        raise ValueError("A_log was None, must be given where lower_bound is not")
    heads, width = g.shape[-2:]
    g = widened(g)
    if dt_bias is not None:
        g = g + widened(dt_bias).reshape(heads, width)
    if A_log is not None:
        A_log = widened(A_log).reshape(heads, 1)
    if lower_bound is None:
        return _SoftplusGate.apply(A_log, g)
    return lower_bound * _sigmoid(g if A_log is None else _logits(A_log, g))


def _scaled(logarithm: Tensor, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """exp(logarithm) · function(x), where function(x) is eˣ for x far below 0.

    The excess of such an x is moved into the exponent, which is applied in two halves.
    """
    tail = _TAILS[x.dtype]
    root = torch.exp(logarithm * 0.5 - torch.relu(torch.sub(tail / 2, x, alpha=0.5)))
    return root * function(x.clamp(min=tail)) * root


class _SoftplusGate(torch.autograd.Function):
    """−exp(logarithm) · softplus(x), whose gradients are such products too."""

    generate_vmap_rule = True

    @staticmethod
    def forward(logarithm: Tensor, x: Tensor) -> Tensor:
        return -_scaled(logarithm, functional.softplus, x)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs, output)

    @staticmethod
    def backward(ctx, gradient):
        logarithm, x, gate = ctx.saved_tensors
        slope = -_scaled(logarithm, torch.sigmoid, x)
        return (gradient * gate).sum_to_size(logarithm.shape), gradient * slope


def _logits(logarithm: Tensor, x: Tensor) -> Tensor:
    """exp(logarithm) · x as the argument of a sigmoid, finite and with finite gradients.

    Beyond the values that make the sigmoid 0 or 1 it is any number that does.
    """
    largest = torch.finfo(x.dtype).max
    product = torch.exp(logarithm.clamp(max=_LARGEST_LOGARITHM)) * x.clamp(-largest, largest)
    further = torch.exp((logarithm - _LARGEST_LOGARITHM).clamp(0, _FURTHER_LOGARITHM))
    return product.clamp(-_SATURATED, _SATURATED) * further


def additive_gate(
    x: Tensor, initial_state: Tensor | None, cu_seqlens: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """`fused_additive_gate`: weights, gates and the last z.

    The sums are of exponentials relative to the largest logit so far, so they neither overflow nor
    lose digits, however large it is.
    """
    batch, length, heads, width = x.shape
    count = batch if cu_seqlens is None else cu_seqlens.shape[0] - 1
    logits = widened(x).reshape(batch, length, heads * width)
    if initial_state is None:
        first = logits.new_full((count, heads * width), -torch.inf)
    else:
        first = initial_state.to(logits.dtype).reshape(count, heads * width)
    before, largest, last = _running_maxima(logits.detach(), first.detach(), cu_seqlens)
    decay = torch.where(before == largest, 0.0, before - largest)
    added = _exponential(logits, largest)
    begun = _exponential(first, first.detach())
    sums, final = gated_scan(added, decay, begun, cu_seqlens)
    earlier = _preceded(sums, begun, cu_seqlens)
    sums, earlier, final = (torch.where(x == 0, 1.0, x) for x in (sums, earlier, final))
    weights = added / sums
    # e to the gate is 1 minus the weight, and also the quotient of the sums: each is used where it
    # is more accurate.
    gate = torch.where(
        weights < 0.5, torch.log1p(-weights.clamp(max=0.5)), decay + earlier.log() - sums.log())
    gate = torch.where(before == -torch.inf, 0.0, gate)
    return (
        weights.reshape(x.shape), gate.reshape(x.shape),
        (last + final.log()).reshape(count, 1, heads, width))


def _exponential(x: Tensor, largest: Tensor) -> Tensor:
    """exp(x − largest) for x at most the largest: 1 where both are ∞, 0 where both are −∞."""
    of_infinities = torch.where(x == torch.inf, 0.0, -torch.inf)
    return torch.exp(torch.where(largest.isfinite(), x - largest, of_infinities))


def _running_maxima(
    rows: Tensor, first: Tensor, cu_seqlens: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The largest of `first` [N, D] and the rows [B, T, D] of a sequence: before and including each
    [B, T, D], and overall [N, D]."""
    if cu_seqlens is None:
        maxima = torch.cat([first.unsqueeze(1), rows], 1).cummax(1).values
        return maxima[:, :-1], maxima[:, 1:], maxima[:, -1]
    maxima = [
        torch.cat([start.unsqueeze(0), piece]).cummax(0).values
        for start, piece in _sequences(first, rows, cu_seqlens)
    ]
    before, largest, last = (
        torch.cat([rows[0, :0], *(x[places] for x in maxima)])
        for places in (slice(-1), slice(1, None), slice(-1, None)))
    return before.unsqueeze(0), largest.unsqueeze(0), last


def _preceded(rows: Tensor, first: Tensor, cu_seqlens: Tensor | None) -> Tensor:
    """The row before each of the rows [B, T, D] of a sequence, `first` [N, D] for the first."""
    if cu_seqlens is None:
        return torch.cat([first.unsqueeze(1), rows], 1)[:, :-1]
    pieces = (
        torch.cat([start.unsqueeze(0), piece])[:-1]
        for start, piece in _sequences(first, rows, cu_seqlens))
    return torch.cat([rows[0, :0], *pieces]).unsqueeze(0)


def _sequences(
    first: Tensor, rows: Tensor, cu_seqlens: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(first.unbind(0), rows[0].split(cu_seqlens.diff().tolist()))


def write_strength(beta: Tensor, use_sigmoid: bool, allow_neg_eigval: bool) -> Tensor:
    """β of the delta rules: as given, or its sigmoid, twice that with `allow_neg_eigval`."""
    if not use_sigmoid:
        return beta
    gate = _sigmoid(widened(beta))
    return 2 * gate if allow_neg_eigval else gate


def _sigmoid(x: Tensor) -> Tensor:
    """σ(x), whose gradient σ(x) σ(−x) is accurate where σ(x) is almost 1."""
    return functional.logsigmoid(x).exp()

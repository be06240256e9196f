"""Calls of every operator and composed function, by the shapes of their tensors."""

from __future__ import annotations

from typing import Callable, Dict, List, NamedTuple, Tuple

import torch
from torch import Tensor

from swift_attention import attention, fla, scaled_dot_product_attention
from swift_attention._operators.gated_scan import gated_scan
from swift_attention._operators.linear_attention import linear_attention

_B, _T, _H, _K, _V = 2, 6, 4, 5, 3
_QUERIES, _VALUES = (_B, _T, _H, _K), (_B, _T, 2, _V)
_KEYS, _HEADS, _CHANNELS = (_B, _T, 2, _K), (_B, _T, _H), (_B, _T, _H, _K)
_ENDS = torch.tensor([0, 2, 2, _T], dtype=torch.int32)


class Call(NamedTuple):
    """A function of tensors of these shapes; `gates` names the logarithms of decays among them."""

    function: Callable[..., object]
    shapes: Dict[str, Tuple[int, ...]]
    gates: Tuple[str, ...] = ()

    def draw(self, *samples: int) -> List[Tensor]:
        return [
            -torch.rand(*samples, *shape) if name in self.gates else torch.randn(*samples, *shape)
            for name, shape in self.shapes.items()]

    def run(self, *tensors: Tensor) -> Tuple[Tensor, ...]:
        results = self.function(**dict(zip(self.shapes, tensors)))
        return (results,) if isinstance(results, Tensor) else tuple(
            x for x in results if x is not None)

    def loss(self, *tensors: Tensor) -> Tensor:
        """A number that weighs each element of the results differently."""
        return sum(
            (x * torch.arange(1.0, x.numel() + 1).reshape(x.shape).sin()).sum()
            for x in self.run(*tensors))


def _exact(**options: object) -> Callable[..., object]:
    return lambda **tensors: attention(**tensors, returns_log_sum_exp=True, **options)


def _packed(function: Callable[..., object]) -> Callable[..., object]:
    return lambda **tensors: function(**tensors, cumulative_lengths=_ENDS)


_QKV = {"queries": _QUERIES, "keys": _KEYS, "values": _VALUES}
_ONE = {name: (1, *shape[1:]) for name, shape in _QKV.items()}
_LINEAR = {"queries": _KEYS, "keys": _KEYS, "values": (_B, _T, _H, _V)}
_ROWS = {"q": (_B, _T, 2, _K), "k": (_B, _T, 2, _K), "v": _VALUES}
CALLS: Dict[str, Call] = {
    "attention": Call(_exact(is_causal=True), _QKV),
    "attention with terms": Call(
        _exact(alibi=True, softcap=3.0),
        {**_QKV, "bias": (_B, 1, _T, _T), "logit_decay": _HEADS}, ("logit_decay",)),
    "attention with what rows share": Call(
        _exact(), {**_QKV, "scale": (_H,), "bias": (1, _H, _T, _T), "sinks": (_H,)}),
    "cosine similarity": Call(_exact(is_cosine=True), _QKV),
    "packed attention": Call(_packed(_exact()), _ONE),
    "scaled dot product": Call(
        lambda q, k, v, m: scaled_dot_product_attention(q, k, v, m),
        {"q": (_H, _T, _K), "k": (_H, _T, _K), "v": (_H, _T, _V), "m": (_T, _T)}),
    "linear attention": Call(
        linear_attention, {**_LINEAR, "decay": _CHANNELS, "initial_state": (_B, _H, _K, _V)},
        ("decay",)),
    "decay of heads": Call(linear_attention, {**_LINEAR, "decay": (_H,)}, ("decay",)),
    "bonus": Call(
        linear_attention, {**_LINEAR, "decay": _CHANNELS, "bonus": (_H, _K)}, ("decay",)),
    "packed linear attention": Call(
        _packed(linear_attention), {name: (1, *shape[1:]) for name, shape in _LINEAR.items()}),
    "without a final state": Call(
        lambda **tensors: linear_attention(**tensors, output_final_state=False)[0], _LINEAR),
    "scan": Call(gated_scan, {"inputs": (_B, _T, _K), "decay": (_B, _T, _K),
                              "initial_state": (_B, _K)}, ("decay",)),
    "delta rule": Call(
        lambda **tensors: fla.chunk_gated_delta_rule(
            **tensors, use_qk_l2norm_in_kernel=True, output_final_state=True),
        {**_ROWS, "g": (_B, _T, 2), "beta": (_B, _T, 2)}, ("g",)),
    "decay of columns": Call(
        lambda **tensors: fla.fused_recurrent_gla(**tensors, output_final_state=True),
        {**_ROWS, "gv": _VALUES}, ("gv",)),
    "least squares": Call(
        lambda q, k, v, g, lamb: fla.chunk_mesa_net(q, k, v, g, g.exp(), lamb.square() + 1),
        {**_ROWS, "v": _ROWS["q"], "g": (_B, _T, 2), "lamb": (2, _K)}, ("g",)),
}

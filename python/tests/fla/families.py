"""Functions with one matrix state, the naive reference of each, and their inputs."""

from __future__ import annotations

from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

import torch
import torch.nn.functional as functional
from references import naive
from torch import Tensor

from swift_attention import fla

State = Optional[Tensor]
# Tokens in the order of the family's inputs, the initial state and the scale, to output and state.
Reference = Callable[..., Tuple[Tensor, Tensor]]


class Family(NamedTuple):
    """The common part of a group of functions."""

    # Names of the tensors with a token axis, and their kinds (see `tokens`).
    inputs: Dict[str, str]
    reference: Reference
    functions: List[Callable[..., tuple]]
    # Names of keyword arguments for further tensors, with their kinds.
    parameters: Dict[str, str] = {}
    takes_reverse: Tuple[str, ...] = ()
    takes_layout: Tuple[str, ...] = ()
    takes_unit_vectors: bool = False
    # The values may have more heads than the keys.
    groups_values: bool = False
    # The reference supports the scale 1/√K only.
    has_fixed_scale: bool = False


def tokens(kind: str, batch: int, length: int, heads: int, value_heads: int, width: int,
           value_width: int) -> Tensor:
    """Random numbers of a kind; factors of the state stay below 1 in magnitude."""
    rows = (batch, length, heads, width)
    value_rows = (batch, length, value_heads, width)
    if kind in ("query", "key"):
        return torch.randn(rows)
    if kind == "unit key":
        return functional.normalize(torch.randn(rows), dim=-1)
    if kind == "small key":
        return functional.normalize(torch.randn(rows), dim=-1) / 4
    if kind == "value":
        return torch.randn(batch, length, value_heads, value_width)
    if kind == "decay":
        return strong(functional.logsigmoid(torch.randn(rows[:2] + (value_heads,)) + 1))
    if kind == "channel decay":
        return strong(functional.logsigmoid(torch.randn(value_rows) + 1))
    if kind == "beta":
        return torch.rand(rows[:2] + (value_heads,)) * 1.9
    if kind == "channel gate":
        return torch.rand(value_rows)
    if kind == "column gate":
        return torch.rand(batch, length, value_heads, value_width)
    if kind == "bonus":
        return torch.randn(value_heads, width)
    raise ValueError(kind)


def strong(decay: Tensor) -> Tensor:
    """With a gate of −20 for one number in sixteen."""
    return torch.where(torch.rand_like(decay) < 1 / 16, torch.full_like(decay, -20), decay)


def heads_first(function: Callable[..., tuple]) -> Callable[..., tuple]:
    """A reference for [B, H, T, …], applied to tensors [B, T, H, …]."""

    def transposed(*arguments: Tensor, **options: object) -> tuple:
        output, state = function(*[x.transpose(1, 2) for x in arguments], **options)
        return output.transpose(1, 2), state

    return transposed


def _grouped(x: Tensor, v: Tensor) -> Tensor:
    return x.repeat_interleave(v.shape[2] // x.shape[2], dim=2)


def _simple(q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: State, scale: float) -> tuple:
    return naive("simple_gla/naive").naive_recurrent_simple_gla(
        q, k, v, g, scale, state, output_final_state=True)


def _gla(q: Tensor, k: Tensor, v: Tensor, g: Tensor, state: State, scale: float) -> tuple:
    return naive("gla/naive").naive_recurrent_gla(q, k, v, g, state, True)


def _linear(q: Tensor, k: Tensor, v: Tensor, state: State, scale: float) -> tuple:
    return naive("linear_attn/naive").naive_recurrent_linear_attn(q, k, v, scale, state, True)


def _delta(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, state: State, scale: float) -> tuple:
    return heads_first(naive("delta_rule/naive").delta_rule_recurrence)(
        q, k, v, beta, initial_state=state)


def _gated_delta(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, state: State,
                 scale: float) -> tuple:
    return naive("gated_delta_rule/naive").naive_recurrent_gated_delta_rule(
        _grouped(q, v), _grouped(k, v), v, beta, g, scale, state, True)


def _kda(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, state: State,
         scale: float) -> tuple:
    return naive("kda/naive").naive_recurrent_kda(q, k, v, g, beta, scale, state, True)


def _gdn2(q: Tensor, k: Tensor, v: Tensor, g: Tensor, b: Tensor, w: Tensor, state: State,
          scale: float) -> tuple:
    return naive("gdn2/naive").naive_recurrent_gdn2(q, k, v, g, b, w, scale, state, True)


def _comba(q: Tensor, k: Tensor, v: Tensor, p: Tensor, g: Tensor, beta: Tensor, state: State,
           scale: float) -> tuple:
    # The recurrent reference reads the state after its decay; this one, like the kernels, before.
    return naive("comba/naive").naive_chunk_comba(
        _grouped(q, v), _grouped(k, v), v, _grouped(p, v), g, beta, 16, scale, state, True)


def _dplr(q: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, gk: Tensor, state: State,
          scale: float) -> tuple:
    return heads_first(naive("generalized_delta_rule/dplr/naive").dplr_recurrence)(
        q, k, v, a, b, gk, initial_state=state)


def _iplr(q: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: State,
          scale: float) -> tuple:
    return heads_first(naive("generalized_delta_rule/iplr/naive").iplr_recurrence)(
        q, k, v, a, b, initial_state=state)


def _rwkv6(r: Tensor, k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: State,
           scale: float) -> tuple:
    def recurrent(r: Tensor, k: Tensor, v: Tensor, w: Tensor, **options: object) -> tuple:
        return naive("rwkv6/recurrent_naive").naive_recurrent_rwkv6(r, k, v, w, u, **options)

    return heads_first(recurrent)(
        r, k, v, w, scale=scale, initial_state=state, output_final_state=True)


_QKV = {"q": "query", "k": "key", "v": "value"}
_DELTA = {"q": "query", "k": "unit key", "v": "value"}

FAMILIES: Dict[str, Family] = {
    "linear_attn": Family(
        _QKV, _linear,
        [fla.chunk_linear_attn, fla.fused_chunk_linear_attn, fla.fused_recurrent_linear_attn],
        takes_reverse=("fused_recurrent_linear_attn",)),
    "simple_gla": Family(
        {**_QKV, "g": "decay"}, _simple,
        [fla.chunk_simple_gla, fla.fused_chunk_simple_gla, fla.fused_recurrent_simple_gla],
        takes_reverse=("fused_recurrent_simple_gla",),
        takes_layout=("chunk_simple_gla", "fused_recurrent_simple_gla")),
    "gla": Family(
        {**_QKV, "g": "channel decay"}, _gla, [fla.chunk_gla],
        takes_layout=("chunk_gla",), has_fixed_scale=True),
    "gla recurrent": Family(
        {**_QKV, "gk": "channel decay"}, _gla, [fla.fused_recurrent_gla],
        takes_reverse=("fused_recurrent_gla",), takes_layout=("fused_recurrent_gla",),
        has_fixed_scale=True),
    "delta_rule": Family(
        {**_DELTA, "beta": "beta"}, _delta,
        [fla.chunk_delta_rule, fla.fused_recurrent_delta_rule],
        takes_unit_vectors=True, has_fixed_scale=True),
    "delta_rule by column": Family(
        {**_DELTA, "beta": "column gate"}, _delta, [fla.fused_recurrent_delta_rule],
        takes_unit_vectors=True, has_fixed_scale=True),
    "gated_delta_rule": Family(
        {**_DELTA, "g": "decay", "beta": "beta"}, _gated_delta,
        [fla.chunk_gated_delta_rule, fla.fused_recurrent_gated_delta_rule],
        takes_layout=("chunk_gated_delta_rule", "fused_recurrent_gated_delta_rule"),
        takes_unit_vectors=True, groups_values=True),
    "kda": Family(
        {**_DELTA, "g": "channel decay", "beta": "beta"}, _kda,
        [fla.chunk_kda, fla.fused_recurrent_kda],
        takes_layout=("chunk_kda", "fused_recurrent_kda"),
        takes_unit_vectors=True, groups_values=True),
    "gdn2": Family(
        {**_DELTA, "g": "channel decay", "b": "channel gate", "w": "column gate"}, _gdn2,
        [fla.chunk_gdn2, fla.fused_recurrent_gdn2],
        takes_layout=("chunk_gdn2", "fused_recurrent_gdn2"), takes_unit_vectors=True),
    "comba": Family(
        {**_DELTA, "p": "unit key", "g": "decay", "beta": "beta"}, _comba,
        [fla.chunk_comba, fla.fused_recurrent_comba],
        takes_unit_vectors=True, groups_values=True),
    "dplr": Family(
        {**_QKV, "a": "unit key", "b": "unit key", "gk": "channel decay"}, _dplr,
        [fla.chunk_dplr_delta_rule, fla.fused_recurrent_dplr_delta_rule],
        takes_reverse=("fused_recurrent_dplr_delta_rule",), has_fixed_scale=True),
    "iplr": Family(
        {**_QKV, "a": "small key", "b": "small key"}, _iplr,
        [fla.chunk_iplr_delta_rule, fla.fused_recurrent_iplr_delta_rule],
        has_fixed_scale=True),
    "rwkv6": Family(
        {"r": "query", "k": "key", "v": "value", "w": "channel decay"}, _rwkv6,
        [fla.chunk_rwkv6, fla.fused_recurrent_rwkv6],
        parameters={"u": "bonus"}, takes_reverse=("fused_recurrent_rwkv6",)),
}

"""Gates that functions compute from what a layer projects."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from ._recurrence import widened


def fused_gdn_gate(
    g: Tensor,
    A_log: Tensor,
    dt_bias: Tensor | None = None,
    output_dtype: torch.dtype = torch.float32,
) -> Tensor:
    """−exp(A_log) · softplus(g + dt_bias): the decay of Gated DeltaNet.

    g [B, T, H]; A_log and dt_bias [H].
    """
    g = widened(g)
    if dt_bias is not None:
        g = g + widened(dt_bias)
    return (-widened(A_log).exp() * functional.softplus(g)).to(output_dtype)


def fused_kda_gate(
    g: Tensor,
    A_log: Tensor | None = None,
    dt_bias: Tensor | None = None,
    lower_bound: float | None = None,
    output_dtype: torch.dtype = torch.float32,
) -> Tensor:
    """−exp(A_log) · softplus(h), or lower_bound · sigmoid(exp(A_log) h), with h = g + dt_bias.

    The decay of Kimi Delta Attention, of the second form where there is a bound: g [B, T, H, K];
    A_log [H], absent for 0 beside a bound; dt_bias [H·K].
    """
    if A_log is None and lower_bound is None:
        raise ValueError("A_log was None, must be given where lower_bound is not")
    heads, width = g.shape[-2:]
    g = widened(g)
    if dt_bias is not None:
        g = g + widened(dt_bias).reshape(heads, width)
    rate = 1 if A_log is None else widened(A_log).exp().reshape(heads, 1)
    if lower_bound is not None:
        return (lower_bound * torch.sigmoid(rate * g)).to(output_dtype)
    return (-rate * functional.softplus(g)).to(output_dtype)


def fused_additive_gate(
    x: Tensor,
    initial_state: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    output_dtype: torch.dtype | None = None,
    gate_dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """exp(x_t − z_t), z_{t−1} − z_t and the last z, with z_t = log(exp(z_{t−1}) + exp(x_t)).

    x [B, T, H, K] are logits; z begins with `initial_state` [N, 1, H, K], absent for −∞, beside
    which the first gate is 0. An empty sequence ends in what it began with.
    """
    if cu_seqlens is not None and x.shape[0] != 1:
        raise ValueError(f"the batch size was {x.shape[0]}, must be 1 with cu_seqlens")
    count = x.shape[0] if cu_seqlens is None else cu_seqlens.shape[0] - 1
    expected = (count, 1, *x.shape[2:])
    if initial_state is not None and tuple(initial_state.shape) != expected:
        raise ValueError(
            f"initial_state was {list(initial_state.shape)}, must be {list(expected)}"
        )
    logits = widened(x)
    first = logits.new_full(expected, -torch.inf) if initial_state is None else initial_state
    if cu_seqlens is None:
        sums = torch.logcumsumexp(torch.cat([first.to(logits.dtype), logits], 1), 1)
        last = sums[:, -1:]
    else:
        rows = [
            torch.logcumsumexp(torch.cat([start, piece], 0), 0)
            for start, piece in zip(
                first.to(logits.dtype).unbind(0), logits[0].split(cu_seqlens.diff().tolist())
            )
        ]
        last = torch.stack([row[-1:] for row in rows])
        # The z before each token, and after it, without what lies between the sequences.
        before = torch.cat([row[:-1] for row in rows]).unsqueeze(0)
        sums = torch.cat([row[1:] for row in rows]).unsqueeze(0)
    if cu_seqlens is None:
        before, sums = sums[:, :-1], sums[:, 1:]
    gate = torch.where(before == -torch.inf, torch.zeros_like(sums), before - sums)
    weights = torch.exp(logits - sums)
    return weights.to(output_dtype or x.dtype), gate.to(gate_dtype or x.dtype), last.float()


def write_strength(beta: Tensor, use_sigmoid: bool, allow_neg_eigval: bool) -> Tensor:
    """β of the delta rules: as given, or its sigmoid, twice that with `allow_neg_eigval`."""
    if not use_sigmoid:
        return beta
    gate = torch.sigmoid(widened(beta))
    return 2 * gate if allow_neg_eigval else gate

"""Recurrences token by token, where flash-linear-attention has no naive reference."""

from __future__ import annotations

from typing import Optional, Tuple

import torch
from torch import Tensor


def delta(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Optional[Tensor],
    *,
    g: Optional[Tensor] = None,
    gk: Optional[Tensor] = None,
    gv: Optional[Tensor] = None,
    state: Optional[Tensor] = None,
) -> Tuple[Tensor, Tensor]:
    """S' = e^(g + gk + gv) S, S = S' + β k (v − S'ᵀ k)ᵀ, o = Sᵀ q / √K; without β S' + k vᵀ.

    [B, T, H, …], with as many heads of q and k as of v; β may be per head or per column.
    """
    batch, length, heads, width = k.shape
    if state is None:
        state = k.new_zeros(batch, heads, width, v.shape[-1])
    outputs = []
    for t in range(length):
        if g is not None:
            state = state * g[:, t, :, None, None].exp()
        if gk is not None:
            state = state * gk[:, t, :, :, None].exp()
        if gv is not None:
            state = state * gv[:, t, :, None, :].exp()
        written = v[:, t]
        if beta is not None:
            share = beta[:, t] if beta.ndim == 4 else beta[:, t].unsqueeze(-1)
            written = share * (written - torch.einsum("bhkv,bhk->bhv", state, k[:, t]))
        state = state + k[:, t, :, :, None] * written.unsqueeze(-2)
        outputs.append(torch.einsum("bhkv,bhk->bhv", state, q[:, t]) * width ** -0.5)
    return torch.stack(outputs, 1), state


def oja(
    q: Tensor, k: Tensor, v: Tensor, gv: Optional[Tensor], beta: Tensor,
    state: Optional[Tensor] = None,
) -> Tuple[Tensor, Tensor]:
    """S' = S diag(e^gv), S = S' + β (k − S' v) vᵀ, o = Sᵀ q / √K."""
    batch, length, heads, width = k.shape
    if state is None:
        state = k.new_zeros(batch, heads, width, v.shape[-1])
    outputs = []
    for t in range(length):
        if gv is not None:
            state = state * gv[:, t, :, None, :].exp()
        found = torch.einsum("bhkv,bhv->bhk", state, v[:, t])
        written = beta[:, t].unsqueeze(-1) * (k[:, t] - found)
        state = state + written.unsqueeze(-1) * v[:, t].unsqueeze(-2)
        outputs.append(torch.einsum("bhkv,bhk->bhv", state, q[:, t]) * width ** -0.5)
    return torch.stack(outputs, 1), state

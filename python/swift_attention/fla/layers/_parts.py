"""Parts of layers: normalisation, rotation, convolution."""

from __future__ import annotations

from typing import Callable

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from .._recurrence import sequence_of_tokens, widened
from ._packing import positions

ACTIVATIONS = {
    "elu": functional.elu,
    "gelu": functional.gelu,
    "identity": lambda x: x,
    "relu": functional.relu,
    "sigmoid": torch.sigmoid,
    "silu": functional.silu,
    "swish": functional.silu,
}


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """The function of this name.

    Raises ValueError for another name.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation was {name!r}, must be one of {sorted(ACTIVATIONS)}")
    return ACTIVATIONS[name]


class RMSNorm(nn.Module):
    """x / √(mean x² + ε) over the last axis, times a weight; with a gate g, times g·sigmoid(g)."""

    def __init__(
        self, hidden_size: int, elementwise_affine: bool = True, eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(hidden_size)) if elementwise_affine else None

    def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
        wide = widened(x)
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        if self.weight is not None:
            wide = wide * self.weight
        if gate is not None:
            wide = wide * functional.silu(widened(gate))
        return wide.to(x.dtype)


class RotaryEmbedding(nn.Module):
    """Rotates pairs of channels, half the dimension apart, by angles that grow with position."""

    def __init__(self, dim: int, base: float = 10000.0) -> None:
        super().__init__()
        if dim % 2:
            raise ValueError(f"dim was {dim}, must be even")
        rates = base ** (-torch.arange(0, dim, 2, dtype=torch.float32) / dim)
        self.register_buffer("inv_freq", rates, persistent=False)

    def forward(
        self, q: Tensor, k: Tensor, offset: int | Tensor = 0, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """q, k [B, T, H, K]; `offset` is the number of earlier tokens, for all or each sequence."""
        places = positions(q.shape[1], offset, cu_seqlens, q.device)
        angles = (places.unsqueeze(-1) * self.inv_freq.float()).unsqueeze(-2)
        return _turned(q, angles), _turned(k, angles)


def _turned(x: Tensor, angles: Tensor) -> Tensor:
    first, second = widened(x).chunk(2, dim=-1)
    cosine, sine = angles.cos(), angles.sin()
    turned = [first * cosine - second * sine, first * sine + second * cosine]
    return torch.cat(turned, -1).to(x.dtype)


class ShortConvolution(nn.Conv1d):
    """A causal depthwise convolution over the last few tokens, and SiLU."""

    def __init__(self, hidden_size: int, kernel_size: int, bias: bool = False) -> None:
        super().__init__(hidden_size, hidden_size, kernel_size, groups=hidden_size, bias=bias)

    def forward(
        self, x: Tensor, earlier: Tensor | None = None, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """[B, T, channels], and the last W inputs of each sequence [N, channels, W].

        `earlier` are those of the previous call, None for zeros.
        """
        width, (batch, length, channels) = self.kernel_size[0], x.shape
        ends = None if cu_seqlens is None else cu_seqlens.to(device=x.device, dtype=torch.long)
        count = batch if ends is None else ends.shape[0] - 1
        if earlier is None:
            earlier = x.new_zeros(count, channels, width)
        before = earlier.to(x.dtype).transpose(1, 2)
        output = x.new_zeros(()) if self.bias is None else self.bias
        if ends is None:
            rows = torch.cat([before, x], 1)
            last = rows[:, length:]
            shifted = [rows[:, width - back:width - back + length] for back in range(width)]
        else:
            # Each sequence follows its own earlier inputs.
            behind = width * torch.arange(count, device=x.device)
            places = torch.arange(length, device=x.device) + width
            places = places + behind[sequence_of_tokens(ends, length)]
            reach = torch.arange(width, device=x.device)
            rows = x.new_empty(length + width * count, channels)
            rows = rows.index_copy(0, (ends[:-1] + behind)[:, None].add(reach).flatten(),
                                   before.flatten(0, 1))
            rows = rows.index_copy(0, places, x[0])
            last = rows[(ends[1:] + behind)[:, None] + reach]
            shifted = [rows[places - back].unsqueeze(0) for back in range(width)]
        for back, inputs in enumerate(shifted):
            output = output + inputs * self.weight[:, 0, width - 1 - back]
        return functional.silu(output), last.transpose(1, 2).contiguous()

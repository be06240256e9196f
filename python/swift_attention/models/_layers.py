"""The layers of a model; parameters have their names in checkpoints."""

from __future__ import annotations

from typing import Dict, Optional, Tuple, Union

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from .._operators.linear_attention import linear_attention
from ..exact import attention
from ..fla._recurrence import unit_vectors
from ._caches import KeyValueCache, StateCache
from ._configuration import ExactLayer, GatedLinearLayer, ModelConfiguration


class TokenContext:
    """What all layers need to know about the tokens of a call."""

    def __init__(
        self, positions: Tensor, padding_mask: Optional[Tensor],
        cumulative_lengths: Optional[Tensor],
    ) -> None:
        """
        Args:
            positions: The position of each token in its sequence, [length].
            padding_mask: bool [batch, length], false for padding.
            cumulative_lengths: int32 [sequences + 1] of packed sequences.
        """
        self.positions = positions
        self.padding_mask = padding_mask
        self.cumulative_lengths = cumulative_lengths
        self._tables: Dict[Tuple[float, int], Tuple[Tensor, Tensor]] = {}

    def rotated(self, x: Tensor, theta: float) -> Tensor:
        """[batch, length, heads, d] with pairs (x[i], x[i + d/2]) rotated by p · theta^(−2i/d)."""
        dimension = x.shape[-1]
        if (theta, dimension) not in self._tables:
            places = torch.arange(0, dimension, 2, dtype=torch.float64, device=x.device)
            angles = self.positions.double()[:, None] * theta ** (-places / dimension)
            self._tables[theta, dimension] = (angles.cos()[:, None], angles.sin()[:, None])
        wide = x if x.dtype == torch.float64 else x.float()
        cosines, sines = (table.to(wide.dtype) for table in self._tables[theta, dimension])
        a, b = wide.chunk(2, -1)
        return torch.cat((a * cosines - b * sines, b * cosines + a * sines), -1).to(x.dtype)


def _linear(inputs: int, outputs: int, bias: bool = False) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=bias)


class ExactAttention(nn.Module):
    """Causal softmax attention, or cosine similarity attention with a learned scale per head."""

    def __init__(self, hidden: int, layer: ExactLayer) -> None:
        super().__init__()
        self.layer = layer
        width = layer.heads * layer.head_dimension
        shared = layer.key_value_heads * layer.head_dimension
        self.q_proj = _linear(hidden, width)
        self.k_proj = _linear(hidden, shared)
        self.v_proj = _linear(hidden, shared)
        self.o_proj = _linear(width, hidden)
        if layer.is_cosine:
            self.scale = nn.Parameter(torch.empty(layer.heads))

    def make_cache(self) -> KeyValueCache:
        return KeyValueCache(self.layer.window)

    def forward(
        self, x: Tensor, context: TokenContext, cache: Optional[KeyValueCache] = None
    ) -> Tensor:
        """[batch, length, hidden] to the same."""
        layer = self.layer

        def positioned(heads: Tensor) -> Tensor:
            if layer.is_cosine:
                heads = unit_vectors(heads)
            if layer.rotary_theta is not None:
                heads = context.rotated(heads, layer.rotary_theta)
            return heads

        queries = positioned(self.q_proj(x).unflatten(-1, (layer.heads, -1)))
        keys = positioned(self.k_proj(x).unflatten(-1, (layer.key_value_heads, -1)))
        values = self.v_proj(x).unflatten(-1, (layer.key_value_heads, -1))
        mask = context.padding_mask
        if cache is not None:
            keys, values, mask = cache.append(keys, values, mask)
        similarity = (
            dict(is_cosine=True, is_normalized=True, scale=self.scale) if layer.is_cosine else {})
        # A window counts the query's own token, the operator's does not.
        output = attention(
            queries, keys, values, is_causal=True,
            window=None if layer.window is None else (layer.window - 1, 0), key_mask=mask,
            cumulative_lengths=context.cumulative_lengths, **similarity)
        return self.o_proj(output.flatten(-2))


class GatedLinearAttention(nn.Module):
    """A matrix state per head, whose rows decay by gates that depend on the token."""

    def __init__(self, hidden: int, layer: GatedLinearLayer) -> None:
        super().__init__()
        self.layer = layer
        self.q_proj = _linear(hidden, layer.key_width)
        self.k_proj = _linear(hidden, layer.key_width)
        self.v_proj = _linear(hidden, layer.value_width)
        self.g_proj = _linear(hidden, layer.value_width)
        self.gk_proj = nn.Sequential(
            _linear(hidden, layer.decay_rank), _linear(layer.decay_rank, layer.key_width, True))
        norm = nn.RMSNorm(layer.value_width // layer.heads, eps=layer.norm_epsilon)
        # Checkpoints have it under two names.
        if layer.gate == "swish":
            self.g_norm_swish_gate = norm
        else:
            self.g_norm = norm
        self.o_proj = _linear(layer.value_width, hidden)

    def make_cache(self) -> StateCache:
        return StateCache()

    def forward(
        self, x: Tensor, context: TokenContext, cache: Optional[StateCache] = None
    ) -> Tensor:
        """[batch, length, hidden] to the same."""
        keys, values = self.k_proj(x), self.v_proj(x)
        decay = functional.logsigmoid(self.gk_proj(x)) / self.layer.decay_divisor
        if context.padding_mask is not None:
            # A padded token writes nothing into the state and does not decay it.
            padding = ~context.padding_mask.unsqueeze(-1)
            keys, values, decay = (t.masked_fill(padding, 0) for t in (keys, values, decay))
        queries, keys, values, decay = (
            t.unflatten(-1, (self.layer.heads, -1))
            for t in (self.q_proj(x), keys, values, decay))
        output, state = linear_attention(
            queries, keys, values, decay, initial_state=None if cache is None else cache.state,
            cumulative_lengths=context.cumulative_lengths, output_final_state=cache is not None)
        if cache is not None:
            cache.state = state.detach()
        gate = self.g_proj(x)
        if self.layer.gate == "swish":
            gated = self.g_norm_swish_gate(output).flatten(-2) * functional.silu(gate)
        else:
            gated = self.g_norm(output).flatten(-2) * gate.sigmoid()
        return self.o_proj(gated)


class FeedForward(nn.Module):
    """down(silu(gate x) ⊙ up x)"""

    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = _linear(hidden, inner)
        self.up_proj = _linear(hidden, inner)
        self.down_proj = _linear(inner, hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """x + mixer(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(
        self, configuration: ModelConfiguration, layer: Union[ExactLayer, GatedLinearLayer]
    ) -> None:
        super().__init__()
        hidden, epsilon = configuration.hidden_size, configuration.norm_epsilon
        kind = ExactAttention if isinstance(layer, ExactLayer) else GatedLinearAttention
        self.mixer_norm = nn.RMSNorm(hidden, eps=epsilon)
        self.mixer = kind(hidden, layer)
        self.feed_forward_norm = nn.RMSNorm(hidden, eps=epsilon)
        self.feed_forward = FeedForward(hidden, configuration.feed_forward_size)

    def forward(
        self, x: Tensor, context: TokenContext,
        cache: Union[KeyValueCache, StateCache, None] = None,
    ) -> Tensor:
        x = x + self.mixer(self.mixer_norm(x), context, cache)
        return x + self.feed_forward(self.feed_forward_norm(x))

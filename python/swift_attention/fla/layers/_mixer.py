"""The common part of retention and gated linear attention: everything but the recurrence."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from .._recurrence import repeated_heads
from .._shapes import Shapes
from ._cache import Cache, keeps_states, state_of
from ._packing import Tokens
from ._parts import RMSNorm, ShortConvolution, activation

_CONVOLUTIONS = ("q_conv1d", "k_conv1d", "v_conv1d")
_SHAPES = Shapes("hidden_states [B, T, D]")


class Mixer(nn.Module):
    """Projections, short convolutions, output gate and normalisation around a recurrence."""

    modes: tuple[str, ...] = ()

    def __init__(
        self,
        mode: str,
        hidden_size: int,
        expand_k: float,
        expand_v: float,
        num_heads: int,
        num_kv_heads: int | None,
        feature_map: str | None,
        use_short_conv: bool,
        conv_size: int,
        conv_bias: bool,
        use_output_gate: bool,
        gate_fn: str,
        elementwise_affine: bool | None,
        norm_eps: float,
        fuse_norm: bool,
        layer_idx: int | None,
    ) -> None:
        super().__init__()
        if mode not in self.modes:
            raise ValueError(f"mode was {mode!r}, must be one of {self.modes}")
        self.mode, self.hidden_size, self.layer_idx = mode, hidden_size, layer_idx
        self.num_heads = num_heads
        self.num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"num_heads was {num_heads}, must be a multiple of num_kv_heads {num_kv_heads}")
        groups = self.num_heads // self.num_kv_heads
        self.key_dim = _whole("expand_k", hidden_size, expand_k, num_heads)
        self.value_dim = _whole("expand_v", hidden_size, expand_v, num_heads)
        self.head_k_dim, self.head_v_dim = self.key_dim // num_heads, self.value_dim // num_heads
        self.feature_map_fn = None if feature_map is None else activation(feature_map)

        self.use_short_conv, self.use_output_gate = use_short_conv, use_output_gate
        widths = {"q": self.key_dim, "k": self.key_dim // groups, "v": self.value_dim // groups}
        for name, width in widths.items():
            self.add_module(f"{name}_proj", nn.Linear(hidden_size, width, bias=False))
        if use_output_gate:
            self.g_proj = nn.Linear(hidden_size, self.value_dim, bias=False)
        if use_short_conv:
            for name, width in widths.items():
                self.add_module(f"{name}_conv1d", ShortConvolution(width, conv_size, conv_bias))
        self.o_proj = nn.Linear(self.value_dim, hidden_size, bias=False)
        norm = RMSNorm(self.head_v_dim, bool(elementwise_affine), norm_eps)
        self.fuse_norm_and_gate = gate_fn == "swish" and fuse_norm and use_output_gate
        if self.fuse_norm_and_gate:
            self.g_norm_swish_gate = norm
        else:
            self.g_norm, self.gate_fn = norm, activation(gate_fn)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = False,
        output_attentions: bool | None = False,
        **kwargs: Any,
    ) -> tuple[Tensor, None, Cache | None]:
        """The mixed [batch, length, hidden_size], None, and the cache.

        `attention_mask` [batch, at least length] is 0 for padding, which changes no state; its last
        entries apply. With `use_cache` the states go into `past_key_values` (a new `Cache` if None)
        under the layer's `layer_idx`, and the next call continues from there. `cu_seqlens`, a
        keyword argument, packs sequences, each with a state; the mask is ignored then.
        """
        cu_seqlens = kwargs.pop("cu_seqlens", None)
        if kwargs:
            raise TypeError(f"forward() got an unexpected keyword argument {min(kwargs)!r}")
        self._check(hidden_states, attention_mask, past_key_values, bool(use_cache))
        if cu_seqlens is not None:
            cu_seqlens = _SHAPES.check(cu_seqlens, hidden_states=hidden_states)
            attention_mask = None
        length = hidden_states.shape[1]
        tokens = Tokens(hidden_states, attention_mask, cu_seqlens)
        state, convolutions, seen = self._earlier(past_key_values, attention_mask, length)

        hidden_states = tokens.taken(hidden_states)
        rows, reached = self._rows(hidden_states, convolutions, tokens.cu_seqlens)
        output, final = self._mixed(
            hidden_states, *rows, state=state, seen=seen, needs_state=bool(use_cache),
            cu_seqlens=tokens.cu_seqlens)
        output = tokens.placed(self.o_proj(self._gated(output, hidden_states)))
        if use_cache:
            past_key_values = Cache() if past_key_values is None else past_key_values
            past_key_values.update(
                recurrent_state=tokens.state(final, state),
                conv_state=tuple(map(tokens.state, reached, convolutions)) or None,
                ffn_state=tokens.counts(seen), layer_idx=self.layer_idx, offset=length)
        return output, None, past_key_values

    def _check(
        self, hidden_states: Tensor, attention_mask: Tensor | None, cache: Any, use_cache: bool
    ) -> None:
        batch, length = hidden_states.shape[:2]
        if attention_mask is not None and (
            attention_mask.ndim != 2 or attention_mask.shape[0] != batch
            or attention_mask.shape[1] < length
        ):
            raise ValueError(
                f"attention_mask was {list(attention_mask.shape)}, must be [{batch}, at least"
                f" {length}]")
        if self.layer_idx is None and (use_cache or cache is not None):
            raise ValueError(
                "layer_idx was None, must be the layer's number in its model where"
                " past_key_values or use_cache is given")
        if cache is not None and not keeps_states(cache):
            raise TypeError(
                f"past_key_values was {type(cache).__name__}, must be a Cache of"
                " swift_attention.fla.layers or of flash-linear-attention")

    def _earlier(
        self, cache: Any, attention_mask: Tensor | None, length: int
    ) -> tuple[Tensor | None, tuple[Tensor | None, ...], int | Tensor]:
        """The states that a call continues from, and how many tokens came before.

        The states are the recurrence's and the convolutions', None for zeros; the number is one for
        all sequences, or one for each [N].
        """
        before = None if cache is None else state_of(cache, self.layer_idx)
        if before is None:
            return None, (None,) * len(_CONVOLUTIONS), 0
        if before["ffn_state"] is not None:
            seen = before["ffn_state"]
        elif attention_mask is not None and attention_mask.shape[1] > length:
            seen = attention_mask[:, :attention_mask.shape[1] - length].bool().sum(1)
        else:
            seen = cache.get_seq_length(self.layer_idx)
        convolutions = before["conv_state"] or (None,) * len(_CONVOLUTIONS)
        return before["recurrent_state"], convolutions, seen

    def _mixed(
        self, hidden_states: Tensor, q: Tensor, k: Tensor, v: Tensor, *, state: Tensor | None,
        seen: int | Tensor, needs_state: bool, cu_seqlens: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        """The recurrence's output [B, T, H, V] and final state."""
        raise NotImplementedError

    def _heads(self, x: Tensor, width: int) -> Tensor:
        """[B, T, heads·width] as [B, T, num_heads, width]."""
        return repeated_heads(x.unflatten(-1, (-1, width)), self.num_heads)

    def _rows(
        self, x: Tensor, earlier: tuple[Tensor | None, ...], cu_seqlens: Tensor | None
    ) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        """Queries, keys and values, and the final states of their convolutions, if any."""
        rows, reached = [self.q_proj(x), self.k_proj(x), self.v_proj(x)], ()
        if self.use_short_conv:
            rows, reached = zip(*[
                getattr(self, name)(row, before, cu_seqlens)
                for name, row, before in zip(_CONVOLUTIONS, rows, earlier)
            ])
        widths = (self.head_k_dim, self.head_k_dim, self.head_v_dim)
        q, k, v = (self._heads(row, width) for row, width in zip(rows, widths))
        if self.feature_map_fn is not None:
            q, k = self.feature_map_fn(q), self.feature_map_fn(k)
        return [q, k, v], reached

    def _gated(self, output: Tensor, hidden_states: Tensor) -> Tensor:
        if not self.use_output_gate:
            return self.g_norm(output).flatten(-2)
        gate = self.g_proj(hidden_states)
        if self.fuse_norm_and_gate:
            gate = gate.unflatten(-1, (-1, self.head_v_dim))
            return self.g_norm_swish_gate(output, gate).flatten(-2)
        return self.g_norm(output).flatten(-2) * self.gate_fn(gate)


def _whole(name: str, hidden_size: int, expand: float, heads: int) -> int:
    width = round(hidden_size * expand)
    if not math.isclose(width, hidden_size * expand) or width % heads:
        raise ValueError(
            f"{name} was {expand}, must make {hidden_size} channels a multiple of {heads} heads")
    return width

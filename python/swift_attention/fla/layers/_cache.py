"""What layers keep between calls to continue a sequence."""

from __future__ import annotations

import inspect
from typing import Any, Callable, Iterator, Optional, TypedDict

from torch import Tensor


class LayerState(TypedDict):
    """A layer's state for N sequences, with flash-linear-attention's names."""

    # [N, heads, …]
    recurrent_state: Tensor
    # The last W inputs [N, channels, W] of each short convolution of width W.
    conv_state: Optional[tuple[Tensor, ...]]
    # The number of tokens of each sequence [N], if the numbers differ. The original's slot for
    # feed-forwards, which these layers are not: its `Cache` reorders it with the others.
    ffn_state: Optional[Tensor]


class Cache:
    """The states of a model's layers by index, and how many tokens each has seen.

    Its methods are those that flash-linear-attention's layers and Transformers' generation call.
    """

    is_compileable = False
    # Transformers does not ask a cache of its linear layers how many tokens it has seen; it may ask
    # this one.
    is_linear = (False,)

    def __init__(self) -> None:
        self._states: dict[int, LayerState] = {}
        self._lengths: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._states)

    def __iter__(self) -> Iterator[LayerState]:
        return iter(self._states.values())

    def __getitem__(self, layer: int) -> LayerState:
        return self._states[layer]

    def get(self, layer: int) -> LayerState | None:
        """The state of a layer; None before its first call."""
        return self._states.get(layer)

    def get_seq_length(self, layer: int = 0) -> int:
        """The number of tokens that a layer has seen, padding and all packed sequences included."""
        return self._lengths.get(layer, 0)

    def update(
        self,
        recurrent_state: Tensor,
        conv_state: tuple[Tensor, ...] | None = None,
        ffn_state: Tensor | None = None,
        *,
        layer_idx: int,
        offset: int = 1,
    ) -> LayerState:
        """Replaces a layer's state after `offset` further tokens."""
        self._states[layer_idx] = LayerState(
            recurrent_state=recurrent_state, conv_state=conv_state, ffn_state=ffn_state)
        self._lengths[layer_idx] = self.get_seq_length(layer_idx) + offset
        return self._states[layer_idx]

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Each sequence continues from the state of the one that `beam_idx` names."""
        self._change(lambda x: x.index_select(0, beam_idx.to(x.device)))

    batch_select_indices = reorder_cache

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeats each sequence `repeats` times."""
        self._change(lambda x: x.repeat_interleave(repeats, 0))

    def reset(self) -> None:
        """Removes all states."""
        self._states.clear()
        self._lengths.clear()

    def crop(self, *length: int) -> None:
        """States cannot be rolled back."""
        raise NotImplementedError("states of linear attention cannot go back to earlier tokens")

    def _change(self, of: Callable[[Tensor], Tensor]) -> None:
        for layer, state in self._states.items():
            convolutions, lengths = state["conv_state"], state["ffn_state"]
            self._states[layer] = LayerState(
                recurrent_state=of(state["recurrent_state"]),
                conv_state=None if convolutions is None else tuple(map(of, convolutions)),
                ffn_state=None if lengths is None else of(lengths))


def keeps_states(cache: Any) -> bool:
    """Whether it is a `Cache`, this package's or flash-linear-attention's."""
    if isinstance(cache, Cache):
        return True
    return (
        hasattr(cache, "get_seq_length")
        and "recurrent_state" in inspect.signature(cache.update).parameters)


def state_of(cache: Any, layer: int) -> LayerState | None:
    """A layer's state in a `Cache`; None before its first call."""
    try:
        state = cache[layer]
    except LookupError:
        return None
    return None if state is None or state["recurrent_state"] is None else state

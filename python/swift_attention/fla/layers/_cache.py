"""What layers keep between calls, to go on with a sequence."""

from __future__ import annotations

from typing import Dict, Tuple

from torch import Tensor

# The recurrent state, and of a layer with short convolutions the inputs that they still reach.
LayerState = Tuple[Tensor, Tuple[Tensor, ...]]


class Cache:
    """The states of a model's layers by their number, and how many tokens each has seen."""

    def __init__(self) -> None:
        self._states: Dict[int, LayerState] = {}
        self._lengths: Dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._states)

    def get(self, layer: int) -> LayerState | None:
        """The state of a layer; None before its first call."""
        return self._states.get(layer)

    def get_seq_length(self, layer: int = 0) -> int:
        """How many tokens a layer has seen."""
        return self._lengths.get(layer, 0)

    def update(self, layer: int, state: LayerState, length: int) -> None:
        """Puts a layer's state in place after `length` further tokens."""
        self._states[layer] = state
        self._lengths[layer] = self.get_seq_length(layer) + length

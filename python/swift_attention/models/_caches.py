"""What a model keeps of the tokens that it has read."""

from __future__ import annotations

import copy
from typing import List, Optional, Tuple, Union

import torch
from torch import Tensor


class Rows:
    """Rows of tokens [batch, count, …] that grow at the end, and may be dropped at the start."""

    # The capacity allocated, in multiples of the rows needed.
    _GROWTH = 2

    def __init__(self) -> None:
        self.memory: Optional[Tensor] = None
        self.start = 0
        self.end = 0

    @property
    def count(self) -> int:
        return self.end - self.start

    def append(self, new: Tensor) -> Tensor:
        """All rows, with `new` [batch, length, …] appended."""
        new = new.detach()
        needed = self.count + new.shape[1]
        if self.memory is None or self.end + new.shape[1] > self.memory.shape[1]:
            capacity = needed if self.memory is None else self._GROWTH * needed
            memory = new.new_empty(new.shape[0], capacity, *new.shape[2:])
            if self.memory is not None:
                memory[:, :self.count] = self.memory[:, self.start:self.end]
            self.memory, self.start, self.end = memory, 0, self.count
        self.memory[:, self.end:self.end + new.shape[1]] = new
        self.end += new.shape[1]
        return self.memory[:, self.start:self.end]

    def keep_last(self, count: int) -> None:
        self.start = max(self.start, self.end - count)

    def copied(self) -> Rows:
        other = Rows()
        if self.memory is not None:
            other.memory = self.memory[:, self.start:self.end].clone()
            other.end = self.count
        return other


class KeyValueCache:
    """Keys and values that later queries may attend to, and which of them are not padding."""

    def __init__(self, window: Optional[int]) -> None:
        self.window = window
        self.keys, self.values, self.mask = Rows(), Rows(), Rows()
        # Whether any token was padding; otherwise nothing is masked.
        self.is_masked = False

    def append(
        self, keys: Tensor, values: Tensor, mask: Optional[Tensor]
    ) -> Tuple[Tensor, Tensor, Optional[Tensor]]:
        """All keys and values with these appended, and the mask of the keys if there is one."""
        def unpadded(count: int) -> Tensor:
            return torch.ones(keys.shape[0], count, dtype=torch.bool, device=keys.device)

        if mask is not None and not self.is_masked:
            self.is_masked = True
            self.mask.append(unpadded(self.keys.count))
        all_mask = None
        if self.is_masked:
            all_mask = self.mask.append(unpadded(keys.shape[1]) if mask is None else mask)
        visible = self.keys.append(keys), self.values.append(values), all_mask
        if self.window is not None:
            for rows in (self.keys, self.values, self.mask):
                rows.keep_last(self.window - 1)
        return visible

    def copied(self) -> KeyValueCache:
        other = copy.copy(self)
        other.keys, other.values, other.mask = (
            rows.copied() for rows in (self.keys, self.values, self.mask))
        return other


class StateCache:
    """The state of a recurrence, float32 [batch, heads, key dimension, value dimension]."""

    def __init__(self) -> None:
        self.state: Optional[Tensor] = None

    def copied(self) -> StateCache:
        # States are replaced, never modified in place.
        return copy.copy(self)


class Cache:
    """Made by `LanguageModel.make_cache` and extended by every call with it.

    Attributes:
        token_count: The number of tokens of each sequence read so far.
    """

    def __init__(self, layers: List[Union[KeyValueCache, StateCache]]) -> None:
        self.layers = layers
        self.token_count = 0
        self.batch: Optional[int] = None

    def copy(self) -> Cache:
        """An independent continuation."""
        other = copy.copy(self)
        other.layers = [layer.copied() for layer in self.layers]
        return other

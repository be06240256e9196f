"""What a model remembers of the tokens that it has read."""

from __future__ import annotations

import copy
from typing import List, Optional, Tuple, Union

import torch
from torch import Tensor


class Rows:
    """Rows of tokens [batch, count, …] that grow at the end, and may be dropped at the start."""

    # Memory is asked for with so many times the rows that are needed.
    _GROWTH = 2

    def __init__(self) -> None:
        self.memory: Optional[Tensor] = None
        self.start = 0
        self.end = 0

    @property
    def count(self) -> int:
        return self.end - self.start

    def append(self, new: Tensor) -> Tensor:
        """All rows, `new` [batch, length, …] behind those that are kept."""
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
    """Keys and values that later queries may still see, and which of them are no padding."""

    def __init__(self, window: Optional[int]) -> None:
        self.window = window
        self.keys, self.values, self.mask = Rows(), Rows(), Rows()
        # Whether any token was padding: without, nothing is masked.
        self.is_masked = False

    def append(
        self, keys: Tensor, values: Tensor, mask: Optional[Tensor]
    ) -> Tuple[Tensor, Tensor, Optional[Tensor]]:
        """All keys and values after these, and the mask of the keys if they have one."""
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
        # States are replaced, never written into.
        return copy.copy(self)


class Cache:
    """What `LanguageModel.make_cache` makes, and every call with it continues.

    Attributes:
        token_count: How many tokens of each sequence have been read.
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

"""Batches with padding as packed sequences, and back."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor

from .._recurrence import sequence_of_tokens


class Packing(NamedTuple):
    """Where the tokens of a batch [batch, length] are that are no padding."""

    places: Tensor
    cu_seqlens: Tensor
    batch: int
    length: int

    @classmethod
    def of(cls, mask: Tensor, length: int) -> Packing:
        """`mask` [batch, at least length] is 1 for a token and 0 for padding; its end counts."""
        mask = mask[:, -length:].bool()
        ends = functional.pad(mask.sum(1).cumsum(0), (1, 0))
        return cls(mask.flatten().nonzero().squeeze(1), ends, *mask.shape)

    def packed(self, x: Tensor) -> Tensor:
        """[batch, length, …] as [1, tokens, …]."""
        return x.flatten(0, 1)[self.places].unsqueeze(0)

    def padded(self, x: Tensor) -> Tensor:
        """[1, tokens, …] as [batch, length, …], zero in the padding."""
        rows = x.new_zeros(self.batch * self.length, *x.shape[2:])
        return rows.index_copy(0, self.places, x[0]).reshape(self.batch, self.length, *x.shape[2:])


def positions(length: int, cu_seqlens: Tensor | None, device: torch.device) -> Tensor:
    """[length]: the place of each token in its sequence."""
    places = torch.arange(length, device=device)
    if cu_seqlens is None:
        return places
    ends = cu_seqlens.to(device=device, dtype=torch.long)
    return places - ends[sequence_of_tokens(ends, length)]

"""The tokens of a layer's call: padding removed, packed sequences, and positions."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from .._recurrence import sequence_of_tokens


class Tokens:
    """The tokens of one call [batch, length], with padding or packed sequences.

    With several tokens per row, those that are not padding are packed, separated by `cu_seqlens`.
    With one per row, padding is computed with the others and its effect is undone.
    """

    def __init__(
        self, x: Tensor, attention_mask: Tensor | None, cu_seqlens: Tensor | None
    ) -> None:
        """`attention_mask` [batch, at least length] is 0 for padding; its last entries apply. It
        excludes `cu_seqlens`."""
        self._batch, self._length = x.shape[:2]
        self._device = x.device
        self._is_token = self._places = None
        self.cu_seqlens = cu_seqlens
        if attention_mask is None:
            return
        self._is_token = attention_mask[:, attention_mask.shape[1] - self._length:].bool()
        if self._length != 1:
            self._places = self._is_token.flatten().nonzero().squeeze(1)
            self.cu_seqlens = functional.pad(self._is_token.sum(1).cumsum(0), (1, 0))

    def taken(self, x: Tensor) -> Tensor:
        """[batch, length, …] as it is computed with."""
        return x if self._places is None else x.flatten(0, 1)[self._places].unsqueeze(0)

    def placed(self, x: Tensor) -> Tensor:
        """The results as [batch, length, …], zero for padding."""
        if self._places is not None:
            rows = x.new_zeros(self._batch * self._length, *x.shape[2:])
            return rows.index_copy(0, self._places, x[0]).unflatten(
                0, (self._batch, self._length))
        return x if self._is_token is None else _selected(self._is_token, x, None)

    def state(self, after: Tensor, before: Tensor | None) -> Tensor:
        """A state [sequences, …]; `before` is None for zeros."""
        if self._is_token is None or self._places is not None:
            return after
        return _selected(self._is_token, after, before)

    def counts(self, seen: int | Tensor) -> Tensor | None:
        """Tokens of each sequence so far [sequences], `seen` before; None if all are equal."""
        if self._is_token is not None:
            return seen + self._is_token.sum(1)
        if self.cu_seqlens is not None:
            return seen + self.cu_seqlens.diff().to(self._device)
        return seen + self._length if isinstance(seen, Tensor) else None


def _selected(is_taken: Tensor, x: Tensor, other: Tensor | None) -> Tensor:
    """The selected rows of x, and those of `other` for the rest, zero if it is None."""
    is_taken = is_taken.view(-1, *[1] * (x.ndim - 1))
    return torch.where(is_taken, x, torch.zeros_like(x) if other is None else other)


def positions(
    length: int, seen: int | Tensor, cu_seqlens: Tensor | None, device: torch.device
) -> Tensor:
    """[length], or [batch, length]: the position of each token in its sequence.

    `seen` is the number of tokens before, one for all sequences or one for each.
    """
    places = torch.arange(length, device=device)
    if cu_seqlens is None:
        return places + (seen.unsqueeze(-1) if isinstance(seen, Tensor) else seen)
    ends = cu_seqlens.to(device=device, dtype=torch.long)
    sequence = sequence_of_tokens(ends, length)
    return places - ends[sequence] + (seen[sequence] if isinstance(seen, Tensor) else seen)

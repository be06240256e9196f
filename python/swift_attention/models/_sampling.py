"""Choosing the next token."""

from __future__ import annotations

import math
from typing import Optional

import torch
from torch import Tensor


class Sampler:
    """Chooses tokens from logits like `attention generate`, with PyTorch's random numbers."""

    def __init__(
        self, temperature: float, top_k: Optional[int], top_p: Optional[float],
        generator: Optional[torch.Generator],
    ) -> None:
        """Raises ValueError that names an invalid argument."""
        if not (temperature >= 0 and math.isfinite(temperature)):
            raise ValueError(f"temperature is {temperature}; it must be at least 0")
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k is {top_k}; it must be at least 1")
        if top_p is not None and not 0 < top_p <= 1:
            raise ValueError(f"top_p is {top_p}; it must be above 0 and at most 1")
        self.temperature, self.top_k, self.top_p = temperature, top_k, top_p
        self.generator = generator

    def next(self, logits: Tensor) -> Tensor:
        """The next tokens [batch, 1] from logits [batch, vocabulary]."""
        if bool(logits.isnan().any()):
            token = int(logits.isnan().nonzero()[0, 1])
            raise ValueError(f"the model's logit of token {token} is not a number")
        if self.temperature == 0:
            return logits.argmax(-1, keepdim=True)
        probabilities = (logits.double() / self.temperature).softmax(-1)
        if self.top_k is None and self.top_p is None:
            return probabilities.multinomial(1, generator=self.generator)
        # Equally likely tokens keep their order.
        probabilities, tokens = probabilities.sort(dim=-1, descending=True, stable=True)
        if self.top_k is not None:
            probabilities, tokens = (t[:, :self.top_k] for t in (probabilities, tokens))
        if self.top_p is not None:
            # A token is included if those before it do not suffice.
            sums = probabilities.cumsum(-1)
            enough = self.top_p * sums[:, -1:]
            probabilities = probabilities.masked_fill(sums - probabilities >= enough, 0)
        return tokens.gather(-1, probabilities.multinomial(1, generator=self.generator))

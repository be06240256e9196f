"""Training losses of language models."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

IGNORED = -100
_PENALTY = 1e-4
# The number of rows of logits that exist at once.
_ROWS = 1024


def next_labels(labels: Tensor) -> Tensor:
    """[batch, length]: the label after each token; that of the last token is ignored."""
    return functional.pad(labels[:, 1:], (0, 1), value=IGNORED)


def penalty_of_largest(logits: Tensor, rows: int) -> Tensor:
    """0, whose gradient is 10⁻⁴ / rows times the largest logit of each row, at its index.

    flash-linear-attention's L2 penalty: it keeps logits small without changing the loss.
    """
    square = logits.max(-1).values.float().square()
    return (square - square.detach()).sum() * (_PENALTY / rows / 2)


def loss_in_chunks(
    states: Tensor, labels: Tensor, head: nn.Linear, has_penalty: bool
) -> Tensor:
    """The mean cross entropy of `head(states)` [batch, length, vocabulary], some rows at a time.

    No other logits are kept: the backward pass recomputes them.
    """
    states, labels = states.flatten(0, 1), labels.flatten()
    rows = labels.shape[0]

    def chunk(states: Tensor, labels: Tensor) -> Tensor:
        logits = head(states)
        loss = functional.cross_entropy(
            logits.float(), labels, ignore_index=IGNORED, reduction="sum") / count
        return loss + penalty_of_largest(logits, rows) if has_penalty else loss

    count = (labels != IGNORED).sum()
    losses = [
        checkpoint(chunk, *piece, use_reentrant=False)
        for piece in zip(states.split(_ROWS), labels.split(_ROWS))
    ]
    return torch.stack(losses).sum()

"""Inputs of a case: tokens of small sizes, in a batch or packed."""

from __future__ import annotations

from typing import Dict

import torch
from comparison import seeded
from families import tokens
from torch import Tensor

SIZES = dict(batch=2, length=37, heads=2, value_heads=2, width=16, value_width=12)
ENDS = [0, 19, 19, 20, 37]


def draw(name: str, *, packed: bool = False, **kinds: str) -> Dict[str, Tensor]:
    """Tokens of the kinds, and for "state" an initial state; the same for the same name."""
    seeded(name)
    sizes = dict(SIZES, batch=1) if packed else SIZES
    count = len(ENDS) - 1 if packed else sizes["batch"]
    drawn = {}
    for key, kind in kinds.items():
        if kind == "state":
            drawn[key] = torch.randn(count, 2, sizes["width"], sizes["value_width"])
        else:
            drawn[key] = tokens(kind, **sizes)
    return drawn


def packed_lengths() -> Tensor:
    """The cumulative lengths of packed tokens: 19, 0, 1 and 17."""
    return torch.tensor(ENDS)

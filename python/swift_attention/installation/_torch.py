"""Behind `torch.nn.functional.scaled_dot_product_attention`."""

from __future__ import annotations

import functools

import torch

from ..scaled_dot_product import scaled_dot_product_attention
from ._patches import Patches
from ._report import attempt

_NAME = "scaled_dot_product_attention"


def install(patches: Patches) -> None:
    """Replaces the function; code that took it from the module before keeps the original."""
    functional = torch.nn.functional
    original = functional.scaled_dot_product_attention

    @functools.wraps(original)
    def replaced(*arguments, **options):
        return attempt(
            "torch", _NAME, lambda: scaled_dot_product_attention(*arguments, **options),
            lambda: original(*arguments, **options), "PyTorch's own")

    patches.set_attribute(functional, _NAME, replaced)

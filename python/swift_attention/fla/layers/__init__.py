"""Layers of flash-linear-attention, with its arguments and its parameters' names.

    from swift_attention.fla.layers import MultiScaleRetention
"""

from __future__ import annotations

from ._cache import Cache
from .gla import GatedLinearAttention
from .multiscale_retention import MultiScaleRetention

__all__ = ["Cache", "GatedLinearAttention", "MultiScaleRetention"]

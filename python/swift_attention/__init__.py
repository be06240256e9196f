"""Exact attention, linear attention and gated scans for PyTorch, on CPUs and NVIDIA GPUs.

    from swift_attention import scaled_dot_product_attention
    from swift_attention import flash_cosine_sim_attention, plain_cosine_sim_attention
"""

from __future__ import annotations

from ._library import version as _version
from .cosine import flash_cosine_sim_attention, l2norm_tensors, plain_cosine_sim_attention
from .exact import attention
from .explanation import explain
from .installation import install, install_from_environment, report, uninstall
from .scaled_dot_product import scaled_dot_product_attention

__version__ = _version()
__all__ = [
    "attention",
    "explain",
    "flash_cosine_sim_attention",
    "install",
    "l2norm_tensors",
    "plain_cosine_sim_attention",
    "report",
    "scaled_dot_product_attention",
    "uninstall",
]

install_from_environment()

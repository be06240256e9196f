"""Exact attention, linear attention and gated scans for PyTorch, on CPUs and NVIDIA GPUs."""

from __future__ import annotations

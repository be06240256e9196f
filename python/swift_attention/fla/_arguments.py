"""Validation of arguments shared by the functions."""

from __future__ import annotations

import warnings
from typing import Any, Iterable

import torch
from torch import Tensor


class RemovedArgument(DeprecationWarning, ValueError):
    """An argument that flash-linear-attention has removed, and that is rejected here too."""


def refuse_head_first(extra: dict[str, Any]) -> None:
    """Raises if `head_first` is among the remaining keyword arguments."""
    if "head_first" in extra:
        raise RemovedArgument(
            "head_first was removed: inputs must be [batch, length, heads, dimension]"
        )


def take_chunk_size(extra: dict[str, Any], allowed: Iterable[int] | None = None) -> None:
    """Checks and drops `chunk_size`: the kernels choose their own chunks.

    Without `allowed` it must be a power of two.
    """
    size = extra.pop("chunk_size", None)
    if size is None:
        return
    if allowed is None:
        if size <= 0 or size & (size - 1):
            raise ValueError(f"chunk_size was {size}, must be a power of 2")
    elif size not in allowed:
        choices = " or ".join(str(choice) for choice in allowed)
        raise ValueError(f"chunk_size was {size}, must be {choices}")


def take_layout(state_v_first: bool, extra: dict[str, Any]) -> bool:
    """Whether states are [V, K], from `state_v_first` or its former name."""
    if "transpose_state_layout" not in extra:
        return state_v_first
    if state_v_first:
        raise ValueError("state_v_first and transpose_state_layout are one argument: give one")
    warnings.warn(
        "transpose_state_layout has become state_v_first", DeprecationWarning, stacklevel=3
    )
    return extra.pop("transpose_state_layout")


def refuse_others(function: str, extra: dict[str, Any]) -> None:
    """Raises TypeError for unknown keyword arguments."""
    if extra:
        raise TypeError(f"{function}() got an unexpected keyword argument {min(extra)!r}")


def refuse_context_parallel(context: Any) -> None:
    """Raises if a context-parallel context is given."""
    if context is not None:
        raise NotImplementedError("cp_context must be None: a sequence lies on one device here")


def check_float32(**states: Tensor | None) -> None:
    """Raises ValueError for states that are neither float32 nor float64."""
    for name, state in states.items():
        if state is not None and state.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"the dtype of {name} was {state.dtype}, must be float32")


def check_eigenvalues(allow_neg_eigval: bool, use_beta_sigmoid_in_kernel: bool) -> None:
    """Raises ValueError for 2·sigmoid(beta) without the sigmoid."""
    if allow_neg_eigval and not use_beta_sigmoid_in_kernel:
        raise ValueError("allow_neg_eigval=True needs use_beta_sigmoid_in_kernel=True")

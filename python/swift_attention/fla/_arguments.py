"""What the functions check of their arguments before anything is computed."""

from __future__ import annotations

import warnings
from typing import Any, Iterable

from torch import Tensor


class RemovedArgument(DeprecationWarning, ValueError):
    """An argument that flash-linear-attention has removed, and refuses as this package does."""


def refuse_head_first(extra: dict[str, Any]) -> None:
    """Raises where `head_first` is among the further keyword arguments."""
    if "head_first" in extra:
        raise RemovedArgument(
            "head_first was removed: inputs must be [batch, length, heads, dimension]"
        )


def take_chunk_size(extra: dict[str, Any], allowed: Iterable[int] | None = None) -> None:
    """Checks and drops `chunk_size`: kernels here choose their own chunks.

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
    """Whether states are [V, K], by `state_v_first` or its former name."""
    if "transpose_state_layout" not in extra:
        return state_v_first
    if state_v_first:
        raise ValueError("state_v_first and transpose_state_layout are one argument: give one")
    warnings.warn(
        "transpose_state_layout has become state_v_first", DeprecationWarning, stacklevel=3
    )
    return extra.pop("transpose_state_layout")


def refuse_others(function: str, extra: dict[str, Any]) -> None:
    """Raises TypeError for keyword arguments that nothing has taken."""
    if extra:
        raise TypeError(f"{function}() got an unexpected keyword argument {min(extra)!r}")


def refuse_context_parallel(context: Any) -> None:
    """Raises where a context of context parallelism is given."""
    if context is not None:
        raise NotImplementedError("cp_context must be None: a sequence lies on one device here")


def check_packing(
    tokens: Tensor, cu_seqlens: Tensor | None, initial_state: Tensor | None = None
) -> None:
    """Checks that packed sequences are one row of the batch, and have a state each."""
    if cu_seqlens is None:
        return
    if tokens.shape[0] != 1:
        raise ValueError(
            f"the batch size was {tokens.shape[0]}, must be 1 with cu_seqlens: "
            "sequences are packed one behind the other"
        )
    count = cu_seqlens.shape[0] - 1
    if initial_state is not None and initial_state.shape[0] != count:
        raise ValueError(
            f"initial_state had {initial_state.shape[0]} states, must have {count}: "
            "one for each sequence of cu_seqlens"
        )


def check_shape(name: str, tensor: Tensor, expected: Iterable[int]) -> None:
    """Raises ValueError where `tensor` has not the expected shape."""
    expected = tuple(expected)
    if tuple(tensor.shape) != expected:
        raise ValueError(f"{name} was {list(tensor.shape)}, must be {list(expected)}")


def check_value_heads(keys: Tensor, values: Tensor) -> None:
    """Raises ValueError unless heads of queries and keys divide those of the values."""
    heads, value_heads = keys.shape[2], values.shape[2]
    if heads == 0 or value_heads % heads != 0:
        raise ValueError(
            f"v had {value_heads} heads, must have a multiple of the {heads} of q and k"
        )


def check_eigenvalues(allow_neg_eigval: bool, use_beta_sigmoid_in_kernel: bool) -> None:
    """Raises ValueError for 2·sigmoid(beta) without the sigmoid."""
    if allow_neg_eigval and not use_beta_sigmoid_in_kernel:
        raise ValueError("allow_neg_eigval=True needs use_beta_sigmoid_in_kernel=True")

"""`swift_attention::gated_scan`: a state a channel that decays and receives."""

from __future__ import annotations

from typing import Mapping, Optional, Tuple

from torch import Tensor

from .._library import GATED_SCAN
from .recurrence import Recurrence
from .recurrence_calls import Shapes


def _shapes(tensors: Mapping[str, Tensor]) -> Shapes:
    inputs = tensors["inputs"]
    if inputs.ndim != 3:
        raise ValueError(f"inputs: was {list(inputs.shape)}, must be [batch, length, channels]")
    batch, length, channels = inputs.shape
    ends = tensors.get("cumulative_lengths")
    return Shapes(
        (batch, length, channels), (batch if ends is None else ends.shape[0] - 1, channels))


_gated_scan = Recurrence(
    GATED_SCAN,
    required=2,
    narrowed=(),
    options={},
    shapes=_shapes,
    reads_output=True,
    shared={},
)


def gated_scan(
    inputs: Tensor,
    decay: Tensor,
    initial_state: Optional[Tensor] = None,
    cumulative_lengths: Optional[Tensor] = None,
    *,
    kernel: Optional[str] = None,
) -> Tuple[Tensor, Tensor]:
    """h = exp(decay) ⊙ h + inputs.

    inputs, decay [b, t, d], the latter a natural logarithm, at most 0; initial_state [n, d];
    cumulative_lengths int32 [n + 1] of n packed sequences, batch 1. Returns all h [b, t, d] in the
    dtype of the inputs and the last of each sequence [n, d] in float32. Raises ValueError where an
    argument is wrong.
    """
    return _gated_scan.forward(inputs, decay, initial_state, cumulative_lengths, True, kernel)

"""`swift_attention::linear_attention`: a matrix state that decays and is written."""

from __future__ import annotations

from typing import Mapping, Optional, Sequence, Tuple

from torch import Tensor

from .._library import LINEAR_ATTENTION
from .eager import NUMBER_TYPES, number
from .recurrence import Recurrence
from .recurrence_calls import Shapes


def _shapes(tensors: Mapping[str, Tensor]) -> Shapes:
    queries, values = tensors["queries"], tensors["values"]
    for name, tensor in (("queries", queries), ("values", values)):
        if tensor.ndim != 4:
            raise ValueError(
                f"{name}: was {list(tensor.shape)}, must be [batch, length, heads, dimension]")
    batch, length, _, dimension = queries.shape
    ends = tensors.get("cumulative_lengths")
    count = batch if ends is None else ends.shape[0] - 1
    _, _, heads, width = values.shape
    return Shapes((batch, length, heads, width), (count, heads, dimension, width))


_linear_attention = Recurrence(
    LINEAR_ATTENTION,
    required=3,
    narrowed=("queries", "keys", "values"),
    options={"scale": "float?", "normalizes": "bool"},
    shapes=_shapes,
    reads_output=False,
    shared={"decay": 1, "bonus": 2},
)


def linear_attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    decay: Optional[Tensor] = None,
    beta: Optional[Tensor] = None,
    read_keys: Optional[Tensor] = None,
    low_rank_a: Optional[Tensor] = None,
    low_rank_b: Optional[Tensor] = None,
    bonus: Optional[Tensor] = None,
    initial_state: Optional[Tensor] = None,
    cumulative_lengths: Optional[Tensor] = None,
    *,
    scale: Optional[float] = None,
    normalizes: bool = False,
    output_final_state: bool = True,
    kernel: Optional[str] = None,
) -> Tuple[Tensor, Tensor]:
    """S' = exp(decay) S₋, S = S' + what the update writes, o = scale Sᵀ q, S₋ before the token.

    The update is that of the tensors given: none is k vᵀ; `beta` k β (v − S'ᵀ k)ᵀ; `read_keys`
    k (v − S'ᵀ y)ᵀ; `low_rank_a` and `low_rank_b` b (S₋ᵀ a)ᵀ + k vᵀ; `bonus` u is k vᵀ, read before
    as o = scale (S₋ + diag(u) k vᵀ)ᵀ q.

    queries, keys [b, t, h, k]; values [b, t, g, v], h dividing g; decay, a natural logarithm, at
    most 0, [g], [b, t, g] or [b, t, g, k]; beta [b, t, g]; read_keys, low_rank_a, low_rank_b
    [b, t, g, k]; bonus [g, k]; initial_state [n, g, k, v]; cumulative_lengths int32 [n + 1] of n
    packed sequences, batch 1. `scale` is 1/√k unless given. With `normalizes` each query and key x
    becomes x / √(Σ x² + 10⁻⁶).

    Returns the output [b, t, g, v] and the state after the last token [n, g, k, v] in float32 (an
    empty tensor without `output_final_state`). Raises ValueError where an argument is wrong.
    """
    if type(scale) not in NUMBER_TYPES:
        scale = number("scale", scale)
    return _linear_attention.forward(
        queries, keys, values, decay, beta, read_keys, low_rank_a, low_rank_b, bonus,
        initial_state, cumulative_lengths, scale, normalizes, output_final_state, kernel)


def linear_attention_backward(
    output_gradient: Optional[Tensor],
    final_state_gradient: Optional[Tensor],
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    decay: Optional[Tensor] = None,
    beta: Optional[Tensor] = None,
    *,
    initial_state: Optional[Tensor] = None,
    cumulative_lengths: Optional[Tensor] = None,
    scale: Optional[float] = None,
    kernel: Optional[str] = None,
    needs: Sequence[str],
) -> Sequence[Tensor]:
    """The gradients of the tensors named in `needs`, in the order of the arguments.

    None for a gradient of the output or the final state is zero.
    """
    arguments = (
        queries, keys, values, decay, beta, None, None, None, None, initial_state,
        cumulative_lengths, scale, False, True, kernel)
    return _linear_attention.backward(
        (output_gradient, final_state_gradient), arguments, _linear_attention.needed(needs))

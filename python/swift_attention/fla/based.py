"""Based and ReBased: attention with a polynomial of the score instead of the exponential."""

from __future__ import annotations

import torch
from torch import Tensor

from ._recurrence import default_scale, recurrence, widened
from ._shapes import Shapes

_SHAPES = Shapes("q, k [B, T, H, K]; v [B, T, H, V]")
_EPSILON = 1e-6
# The most rows of a state: more features are split over several states.
_FEATURES_OF_A_STATE = 128


def parallel_based(
    q: Tensor, k: Tensor, v: Tensor, scale: float | None = None, use_norm: bool = True
) -> Tensor:
    """o = Σ_j (1 + s + s²/2) v_j over j ≤ i, s = scale q_i·k_j, divided by the sum of the weights.

    q, k [B, T, H, K], K at most 128; v [B, T, H, V]. 10⁻⁶ is added to the sum; without `use_norm`
    nothing is divided.
    """
    _check(q, k, v, 128)
    output, total = _polynomial(q, k, v, default_scale(scale, q), has_lower_terms=True)
    return (output / (total + _EPSILON) if use_norm else output).to(q.dtype)


def fused_chunk_based(
    q: Tensor, k: Tensor, v: Tensor, scale: float | None = None, use_norm: bool = True
) -> Tensor:
    """Like `parallel_based`, for K of at most 16."""
    _check(q, k, v, 16)
    return parallel_based(q, k, v, scale, use_norm)


def parallel_rebased(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    eps: float = 1e-5,
    use_scale: bool = True,
    use_normalize: bool = True,
    return_both: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """o = Σ_j s² v_j over j ≤ i, s = q_i·k_j / √K; divided by Σ_j s² + eps with `use_normalize`.

    q, k [B, T, H, K], K at most 128; v [B, T, H, V]. Without `use_scale` s is q_i·k_j. With
    `return_both` the results are the undivided sums, [B, H, T, V] and [B, H, T].
    """
    _check(q, k, v, 128)
    scale = default_scale(None, q) if use_scale else 1.0
    output, total = _polynomial(q, k, v, scale, has_lower_terms=False)
    if return_both:
        return (
            output.transpose(1, 2).to(q.dtype),
            total.squeeze(-1).transpose(1, 2).to(q.dtype),
        )
    return (output / (total + eps) if use_normalize else output).to(q.dtype)


def _check(q: Tensor, k: Tensor, v: Tensor, most: int) -> None:
    _SHAPES.check(q=q, k=k, v=v)
    if q.shape[-1] > most:
        raise ValueError(f"q had dimension {q.shape[-1]}, must have at most {most}")


def _polynomial(
    q: Tensor, k: Tensor, v: Tensor, scale: float, has_lower_terms: bool
) -> tuple[Tensor, Tensor]:
    """Σ_j p(s_ij) v_j and Σ_j p(s_ij) in float32, p(s) = s² or 1 + s + s²/2."""
    v = widened(v)
    # The sum of the weights is an additional column of the values.
    v = torch.cat([v, torch.ones_like(v[..., :1])], -1)
    features = (_features(widened(x) * scale ** 0.5, has_lower_terms) for x in (q, k))
    parts = zip(*(x.split(_FEATURES_OF_A_STATE, dim=-1) for x in features))
    output = sum(recurrence(queries, keys, v, scale=1)[0] for queries, keys in parts)
    return output[..., :-1], output[..., -1:]


def _features(x: Tensor, has_lower_terms: bool) -> Tensor:
    """φ with φ(x)·φ(y) = p(x·y): products of pairs of numbers, each pair of different ones once."""
    width = x.shape[-1]
    first, second = torch.triu_indices(width, width, device=x.device)
    weights = torch.where(first == second, 1.0, 2 ** 0.5).to(x.dtype)
    products = x[..., first] * x[..., second] * weights
    if not has_lower_terms:
        return products
    return torch.cat([torch.ones_like(x[..., :1]), x, products * 0.5 ** 0.5], -1)

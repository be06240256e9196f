"""Log-linear attention: the past in buckets, small for recent tokens and large for distant ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._recurrence import default_scale, recurrence, repeated_heads, widened
from ._shapes import Shapes

_SHAPES = Shapes(
    "q, k [B, T, G, K]; v [B, T, H, V]; g [B, T, H]; level_scales [B, T, H, levels]")

_CHUNK = 64
# Buckets within a chunk: the token itself, and those of 1 to half a chunk.
_LEVELS_OF_CHUNK = _CHUNK.bit_length()
# The exponential of this is zero in float64 too, like that of −∞.
_LEAST_DECAY = -1e4


def chunk_log_linear_attn(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    level_scales: Tensor,
    initial_state: Any = None,
    output_final_state: bool = False,
    cu_seqlens: Tensor | None = None,
    scale: float | None = 1.0,
) -> tuple[Tensor, None]:
    """o = scale Σ_ℓ λ^(ℓ) (S^(ℓ))ᵀ q, S^(ℓ) the decayed sum of k vᵀ over the tokens of bucket ℓ.

    Bucket 0 is the token itself; token s < t is in bucket ℓ ≥ 1 where bit ℓ − 1 is the highest in
    which their numbers differ. q, k [B, T, G, K]; v [B, T, H, V], G dividing H; g [B, T, H], a
    natural logarithm, at most 0; level_scales λ [B, T, H, levels], at least 1 + the bits of T − 1.
    Returns the output [B, T, H, V] and None: continuing in the middle of a bucket is not supported,
    and `initial_state` and `output_final_state` raise NotImplementedError.
    """
    if initial_state is not None or output_final_state:
        raise NotImplementedError(
            "initial_state must be None and output_final_state False for chunk_log_linear_attn")
    cu_seqlens = _SHAPES.check(cu_seqlens, q=q, k=k, v=v, g=g, level_scales=level_scales)
    scale = default_scale(scale, q)
    if cu_seqlens is None:
        return _of_sequences(q, k, v, g, level_scales, scale), None
    lengths = cu_seqlens.diff().tolist()
    pieces = zip(*(x.split(lengths, dim=1) for x in (q, k, v, g, level_scales)))
    outputs = [_of_sequences(*piece, scale) for piece in pieces]
    return torch.cat([v[:, :0], *outputs], 1), None


def _of_sequences(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, weights: Tensor, scale: float
) -> Tensor:
    length = q.shape[1]
    levels = max(length - 1, 0).bit_length() + 1
    if weights.shape[-1] < levels:
        raise ValueError(
            f"level_scales had {weights.shape[-1]} levels, must have at least {levels}")
    if length == 0:
        return torch.empty_like(v)
    output = _within_chunks(q, k, v, g, weights, scale)
    for level in range(_LEVELS_OF_CHUNK, levels):
        output = output + _reading(level, q, k, v, g, weights, scale)
    return output.to(v.dtype)


def _reading(
    level: int, q: Tensor, k: Tensor, v: Tensor, g: Tensor, weights: Tensor, scale: float
) -> Tensor:
    """The output of a level above the chunk: every second bucket is read by the tokens after it."""
    batch, length = q.shape[:2]
    bucket = 1 << (level - 1)
    places = torch.arange(length, device=q.device)
    is_read = (places // bucket % 2 == 1).view(-1, 1, 1)
    # The rows of the batch concatenated, each split into pairs of buckets.
    starts = torch.arange(0, length, 2 * bucket)
    ends = (torch.arange(batch).unsqueeze(1) * length + starts).reshape(-1)
    ends = torch.cat([ends, torch.tensor([batch * length])]).to(torch.int32)
    output, _ = recurrence(
        *(x.reshape(1, batch * length, *x.shape[2:]) for x in (q, k.masked_fill(is_read, 0), v)),
        decay=g.reshape(1, batch * length, -1), scale=scale, cu_seqlens=ends)
    weight = widened(weights[..., level:level + 1]).masked_fill(~is_read, 0)
    return widened(output.reshape(v.shape)) * weight


def _within_chunks(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, weights: Tensor, scale: float
) -> Tensor:
    """(Q Kᵀ ⊙ decay ⊙ weights) V in chunks."""
    batch, length, heads = v.shape[:3]
    count = -(-length // _CHUNK)

    def chunked(x: Tensor) -> Tensor:
        """[B, H, chunks, chunk, width] in float32, padded with zeros."""
        x = repeated_heads(widened(x), heads)
        x = torch.nn.functional.pad(x, (0, 0, 0, 0, 0, count * _CHUNK - length))
        return x.reshape(batch, count, _CHUNK, heads, -1).permute(0, 3, 1, 2, 4)

    scores = chunked(q) @ chunked(k).transpose(-1, -2) * scale
    places = torch.arange(_CHUNK, device=q.device)
    read, written = places.unsqueeze(1), places
    # Separate sums of the logarithms between any two tokens; they must be finite, since they are
    # multiplied by zero.
    token = places.view(-1, 1, 1)
    is_between = (token > written) & (token <= read)
    decays = chunked(g.unsqueeze(-1)).squeeze(-1).clamp(min=_LEAST_DECAY)
    sums = torch.einsum("bhns,sij->bhnij", decays, is_between.to(decays.dtype))
    bucket = sum((read ^ written) >> bit > 0 for bit in range(_LEVELS_OF_CHUNK - 1)).long()
    levels = chunked(weights[..., :_LEVELS_OF_CHUNK])
    bucket = bucket.clamp(max=levels.shape[-1] - 1).expand(*levels.shape[:-1], _CHUNK)
    scores = scores * sums.exp() * levels.gather(-1, bucket)
    output = scores.masked_fill(written > read, 0) @ chunked(v)
    return output.permute(0, 2, 3, 1, 4).reshape(batch, -1, heads, v.shape[-1])[:, :length]

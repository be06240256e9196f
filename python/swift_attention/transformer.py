"""A causal transformer with cosine similarity attention, as in flash-cosine-sim-attention 0.1.40.

Parameters have the names and initial distributions of the original, whose checkpoints load.
Attention runs on this package's kernels on every device, and generation caches keys and values.
"""

from __future__ import annotations

from typing import List, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .exact import attention

# Weights of embeddings are initialised near zero, since a normalisation follows.
_EMBEDDING_DEVIATION = 1e-5


def _norm(dim: int, is_present: bool) -> nn.Module:
    return nn.LayerNorm(dim) if is_present else nn.Identity()


def _feed_forward(dim: int, pre_norm: bool, multiple: int = 4) -> nn.Sequential:
    return nn.Sequential(
        _norm(dim, pre_norm), nn.Linear(dim, dim * multiple, bias=False), nn.GELU(),
        nn.Linear(dim * multiple, dim, bias=False))


class Cache:
    """Keys and values of one layer, [batch, capacity, heads, dimension], and their number."""

    def __init__(self, batch: int, capacity: int, heads: int, dim: int, like: Tensor) -> None:
        self.keys, self.values = (
            torch.empty(batch, capacity, heads, dim, dtype=like.dtype, device=like.device)
            for _ in range(2))
        self.count = 0

    def extended(self, keys: Tensor, values: Tensor) -> Tuple[Tensor, Tensor]:
        """All keys and values with these appended."""
        end = self.count + keys.shape[1]
        self.keys[:, self.count:end] = keys
        self.values[:, self.count:end] = values
        self.count = end
        return self.keys[:, :end], self.values[:, :end]


class Attention(nn.Module):
    """Causal self-attention by cosine similarity, or by scaled dot product."""

    def __init__(
        self,
        dim: int,
        dim_head: int = 64,
        heads: int = 8,
        scale: float = 8,
        l2norm_groups: int = 1,
        pre_norm: bool = False,
        non_cosine_sim_attn: bool = False,
    ) -> None:
        super().__init__()
        inner = dim_head * heads
        self.heads = heads
        self.is_cosine = not non_cosine_sim_attn
        self.scale = scale if self.is_cosine else None
        self.groups = l2norm_groups
        self.norm = _norm(dim, pre_norm)
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, inner, bias=False) for _ in range(3))
        self.to_out = nn.Linear(inner, dim, bias=False)

    def forward(self, x: Tensor, cache: Optional[Cache] = None) -> Tensor:
        """[batch, length, dim] to the same."""
        x = self.norm(x)
        q, k, v = (
            project(x).unflatten(-1, (self.heads, -1))
            for project in (self.to_q, self.to_k, self.to_v))
        if cache is not None:
            k, v = cache.extended(k, v)
        output = attention(
            q, k, v, is_causal=True, is_cosine=self.is_cosine, scale=self.scale,
            groups=self.groups)
        return self.to_out(output.flatten(-2))


class CosineSimCausalTransformer(nn.Module):
    """A language model over `num_tokens` tokens with a context of at most `max_seq_len`.

    Args:
        num_tokens: The size of the vocabulary.
        dim: Columns of the residual stream.
        max_seq_len: The longest context.
        depth: The number of layers.
        attn_scale: Multiplies the similarity.
        attn_l2norm_groups: The number of slices in which queries and keys are normalised.
        heads: Attention heads.
        dim_head: Columns per head.
        use_cuda_kernel: Accepted for existing calls: the kernels always run, on every device.
        pre_norm: Normalises before the sublayers instead of after them.
        non_cosine_sim_attn: Uses the scaled dot product instead of cosine similarity.
    """

    def __init__(
        self,
        *,
        num_tokens: int,
        dim: int,
        max_seq_len: int,
        depth: int,
        attn_scale: float = 8,
        attn_l2norm_groups: int = 1,
        heads: int = 8,
        dim_head: int = 64,
        use_cuda_kernel: bool = False,
        pre_norm: bool = False,
        non_cosine_sim_attn: bool = False,
    ) -> None:
        super().__init__()
        self.max_seq_len = max_seq_len
        self.token_emb = nn.Embedding(num_tokens, dim)
        self.pos_emb = nn.Embedding(max_seq_len, dim)
        # With post-normalisation, residual and initial weights are scaled by depth as in DeepNet
        # (Wang et al., 2022).
        self.residual_scale = 1 if pre_norm else (2 * depth) ** 0.25
        self.layers = nn.ModuleList(
            nn.ModuleList([
                Attention(
                    dim, dim_head=dim_head, heads=heads, scale=attn_scale,
                    l2norm_groups=attn_l2norm_groups, pre_norm=pre_norm,
                    non_cosine_sim_attn=non_cosine_sim_attn),
                _norm(dim, not pre_norm),
                _feed_forward(dim, pre_norm),
                _norm(dim, not pre_norm),
            ])
            for _ in range(depth))
        self.to_logits = nn.Sequential(
            _norm(dim, pre_norm), nn.Linear(dim, num_tokens, bias=False))
        if not pre_norm:
            self._initialize(gain=(8 * depth) ** -0.25)

    def _initialize(self, gain: float) -> None:
        for embedding in (self.token_emb, self.pos_emb):
            nn.init.normal_(embedding.weight, std=_EMBEDDING_DEVIATION)
        for mixer, _, feed_forward, _ in self.layers:
            for linear in (mixer.to_q, mixer.to_k):
                nn.init.xavier_normal_(linear.weight)
            for linear in (mixer.to_v, mixer.to_out, feed_forward[1], feed_forward[3]):
                nn.init.xavier_normal_(linear.weight, gain=gain)
        nn.init.xavier_normal_(self.to_logits[-1].weight)

    def forward(self, x: Tensor, return_loss: bool = False) -> Tensor:
        """Logits [batch, length, num_tokens] of tokens [batch, length].

        With `return_loss` the mean cross entropy of all tokens but the first, given those before.
        """
        if not return_loss:
            return self._logits(x)
        logits = self._logits(x[:, :-1])
        return F.cross_entropy(logits.transpose(1, 2), x[:, 1:])

    def _logits(self, tokens: Tensor, caches: Optional[List[Cache]] = None) -> Tensor:
        start = caches[0].count if caches else 0
        places = torch.arange(start, start + tokens.shape[1], device=tokens.device)
        x = self.token_emb(tokens) + self.pos_emb(places)
        each = caches if caches is not None else [None] * len(self.layers)
        for (mixer, mixer_norm, feed_forward, feed_norm), cache in zip(self.layers, each):
            x = mixer_norm(mixer(x, cache) + x * self.residual_scale)
            x = feed_norm(feed_forward(x) + x * self.residual_scale)
        return self.to_logits(x)

    @torch.no_grad()
    def generate(
        self,
        start_tokens: Tensor,
        seq_len: int,
        temperature: float = 1.0,
        filter_thres: float = 0.9,
    ) -> Tensor:
        """`seq_len` tokens [batch, seq_len] that follow `start_tokens` [batch, length].

        Each is drawn from the fraction 1 − `filter_thres` of the tokens with the highest logits.
        """
        was_training = self.training
        self.eval()
        try:
            return self._drawn(start_tokens, seq_len, temperature, filter_thres)
        finally:
            self.train(was_training)

    def _drawn(self, tokens: Tensor, count: int, temperature: float, threshold: float) -> Tensor:
        batch, length = tokens.shape
        caches = [
            Cache(batch, self.max_seq_len, mixer.heads, mixer.to_k.out_features // mixer.heads,
                  like=self.token_emb.weight)
            for mixer, *_ in self.layers]
        seen = 0
        for _ in range(count):
            if tokens.shape[1] <= self.max_seq_len:
                logits = self._logits(tokens[:, seen:], caches)
                seen = tokens.shape[1]
            else:
                # All tokens have new positions, so the cache is no longer valid.
                logits = self._logits(tokens[:, -self.max_seq_len:])
            logits = logits[:, -1]
            kept = max(1, int((1 - threshold) * logits.shape[-1]))
            highest, indices = logits.topk(kept, dim=-1)
            drawn = (highest / temperature).softmax(dim=-1).multinomial(1)
            tokens = torch.cat((tokens, indices.gather(-1, drawn)), dim=-1)
        return tokens[:, length:]

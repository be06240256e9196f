"""The language model and generation."""

from __future__ import annotations

import contextlib
from typing import Optional

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torch.compiler import is_compiling

from ._caches import Cache
from ._configuration import ModelConfiguration
from ._layers import Block, TokenContext
from ._sampling import Sampler


class LanguageModel(nn.Module):
    """A causal language model: embedding, blocks, norm, and the projection to logits.

    `load` makes one from a checkpoint; its parameters have the names of the checkpoint's tensors.

    Args:
        configuration: The model's layers.
    """

    def __init__(self, configuration: ModelConfiguration) -> None:
        super().__init__()
        self.configuration = configuration
        hidden = configuration.hidden_size
        self.embedding = nn.Embedding(configuration.vocabulary_size, hidden)
        self.layers = nn.ModuleList(Block(configuration, layer) for layer in configuration.layers)
        self.norm = nn.RMSNorm(hidden, eps=configuration.norm_epsilon)
        self.head = (
            None if configuration.has_tied_embeddings
            else nn.Linear(hidden, configuration.vocabulary_size, bias=False))

    def make_cache(self) -> Cache:
        """A cache before the first token."""
        return Cache([block.mixer.make_cache() for block in self.layers])

    def forward(
        self,
        tokens: Tensor,
        cache: Optional[Cache] = None,
        *,
        padding_mask: Optional[Tensor] = None,
        cumulative_lengths: Optional[Tensor] = None,
        only_last: bool = False,
    ) -> Tensor:
        """The logits of the token after each, [batch, length, vocabulary].

        Args:
            tokens: Integers [batch, length], each below the vocabulary size.
            cache: From `make_cache`: the tokens follow those in the cache, and are appended to it.
                No gradients are recorded then.
            padding_mask: bool [batch, length], false for padding.
            cumulative_lengths: int32 [sequences + 1], the bounds of packed sequences; for batch 1,
                without cache and padding.
            only_last: Whether only the last token's logits are returned, [batch, 1, vocabulary].

        Raises:
            ValueError: An invalid argument; the message names it.
        """
        context = self._context(tokens, cache, padding_mask, cumulative_lengths)
        with contextlib.nullcontext() if cache is None else torch.no_grad():
            x = self.embedding(tokens.to(self.embedding.weight.device))
            for index, block in enumerate(self.layers):
                x = block(x, context, None if cache is None else cache.layers[index])
            if only_last:
                x = x[:, -1:]
            if cache is not None:
                cache.batch = tokens.shape[0]
                cache.token_count += tokens.shape[1]
            weight = self.embedding.weight if self.head is None else self.head.weight
            return functional.linear(self.norm(x), weight)

    def _context(
        self, tokens: Tensor, cache: Optional[Cache], mask: Optional[Tensor],
        lengths: Optional[Tensor],
    ) -> TokenContext:
        if tokens.ndim != 2 or tokens.dtype not in (torch.int32, torch.int64):
            raise ValueError(
                f"tokens is {_summary(tokens)}; it must be int32 or int64 [batch, length]")
        size = self.configuration.vocabulary_size
        # Checking tokens on a GPU would have to wait for them.
        if tokens.device.type == "cpu" and tokens.numel() and not is_compiling():
            for token in (int(tokens.min()), int(tokens.max())):
                if not 0 <= token < size:
                    raise ValueError(f"tokens has {token}; it must be of numbers in 0..<{size}")
        if mask is not None and (mask.dtype != torch.bool or mask.shape != tokens.shape):
            raise ValueError(
                f"padding_mask is {_summary(mask)}; it must be torch.bool {list(tokens.shape)}")
        device = self.embedding.weight.device
        if lengths is not None and (cache is not None or mask is not None):
            raise ValueError(
                "cumulative_lengths is given with a cache or a padding_mask; it must be None")
        if cache is not None:
            if len(cache.layers) != len(self.layers):
                raise ValueError(
                    f"cache is of {len(cache.layers)} layers; it must be of {len(self.layers)}")
            if cache.batch is not None and cache.batch != tokens.shape[0]:
                raise ValueError(
                    f"tokens has a batch of {tokens.shape[0]}; it must be {cache.batch}, as the"
                    " cache's")
        offset = 0 if cache is None else cache.token_count
        positions = torch.arange(offset, offset + tokens.shape[1], device=device)
        if lengths is not None:
            positions = positions - _starts(lengths, tokens).to(device)
        return TokenContext(positions, None if mask is None else mask.to(device), lengths)

    @torch.no_grad()
    def generate(
        self,
        tokens: Tensor,
        count: int,
        *,
        temperature: float = 1.0,
        top_k: Optional[int] = None,
        top_p: Optional[float] = None,
        generator: Optional[torch.Generator] = None,
        prefill_length: int = 512,
    ) -> Tensor:
        """`count` tokens [batch, count] that follow `tokens` [batch, length].

        Each token is read once: the layers keep states, exact ones keys and values.

        Args:
            tokens: At least one per sequence.
            count: The number of tokens to generate for each sequence.
            temperature: Divides the logits; 0 takes the most likely token.
            top_k: Only this many of the most likely tokens are drawn.
            top_p: Only the most likely tokens that together have this probability are drawn.
            generator: The random number generator; PyTorch's default one if None.
            prefill_length: The prompt is read in pieces of this length, which bounds memory.

        Raises:
            ValueError: An invalid argument; the message names it.
        """
        sampler = Sampler(temperature, top_k, top_p, generator)
        if tokens.ndim != 2 or tokens.shape[1] < 1:
            raise ValueError(
                f"tokens is {_summary(tokens)}; it must be [batch, length] of at least one token")
        for name, value, least in (("count", count, 0), ("prefill_length", prefill_length, 1)):
            if value < least:
                raise ValueError(f"{name} is {value}; it must be at least {least}")
        cache = self.make_cache()
        drawn = tokens.new_empty(tokens.shape[0], count)
        unread = tokens
        for place in range(count):
            for piece in unread.split(prefill_length, dim=1):
                logits = self(piece, cache, only_last=True)
            unread = sampler.next(logits[:, -1]).to(tokens)
            drawn[:, place:place + 1] = unread
        return drawn


def _summary(tensor: Tensor) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}"


def _starts(lengths: Tensor, tokens: Tensor) -> Tensor:
    """[length]: the start of each token's packed sequence."""
    if tokens.shape[0] != 1:
        raise ValueError(
            f"tokens has a batch of {tokens.shape[0]}; it must be 1 where sequences are packed")
    if lengths.dtype != torch.int32 or lengths.ndim != 1 or lengths.numel() < 1:
        raise ValueError(
            f"cumulative_lengths is {_summary(lengths)}; it must be torch.int32 [sequences + 1]")
    ends = lengths.long()
    steps = ends.diff()
    if int(ends[0]) != 0 or int(ends[-1]) != tokens.shape[1] or bool((steps < 0).any()):
        raise ValueError(
            f"cumulative_lengths is {ends.tolist()}; it must be from 0 to {tokens.shape[1]} and"
            " never decreasing")
    return ends[:-1].repeat_interleave(steps)

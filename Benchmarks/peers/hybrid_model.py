"""The language model of this package in PyTorch: the same layers, the same parameter names.

Softmax and cosine layers use torch's scaled_dot_product_attention, gated linear ones the chunked
computation of gated_linear.py. A key of the configuration that this file does not know is an error.
"""

import torch
import torch.nn.functional as F
from torch import nn

from gated_linear import gated_linear_attention

NORM_EPSILON = 1e-6


class Options:
    """A section of the configuration; every key has to be taken."""

    def __init__(self, section, where):
        self.rest, self.where = dict(section), where

    def take(self, key, otherwise=None):
        return self.rest.pop(key, otherwise)

    def finish(self):
        if self.rest:
            raise SystemExit(f"{self.where}: unknown keys {', '.join(sorted(self.rest))}")


def linear(inputs, outputs, bias=False, scale=1.0):
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.normal_(layer.weight, std=scale * inputs**-0.5)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def rotary_tables(length, dimension, theta):
    """Cosines and sines [length, 1, dimension / 2]."""
    frequencies = theta ** (-torch.arange(0, dimension, 2, dtype=torch.float64) / dimension)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies
    return angles.cos().float()[:, None], angles.sin().float()[:, None]


def rotated(x, tables):
    """Turns the pairs (x[i], x[i + d/2]) of [batch, length, heads, d]."""
    cosines, sines = tables
    a, b = x.chunk(2, -1)
    return torch.cat((a * cosines - b * sines, b * cosines + a * sines), -1)


class ExactAttention(nn.Module):
    """Softmax attention, or cosine attention with a learned scale for each head."""

    def __init__(self, kind, hidden, options, length, output_scale):
        super().__init__()
        self.heads = options.take("heads", 4)
        self.shared = options.take("key_value_heads") or self.heads
        d = options.take("head_dimension") or hidden // self.heads
        window = options.take("window")
        theta = options.take("rotary_theta", 10000.0)
        if kind == "cosine":
            initial = float(options.take("scale", 8.0))
            self.scale = nn.Parameter(torch.full([self.heads], initial))
        else:
            self.scale = None
        self.q_proj = linear(hidden, self.heads * d)
        self.k_proj = linear(hidden, self.shared * d)
        self.v_proj = linear(hidden, self.shared * d)
        self.o_proj = linear(self.heads * d, hidden, scale=output_scale)
        self.tables = rotary_tables(length, d, theta) if theta else None
        self.band = None
        if window and window < length:
            places = torch.arange(length)
            distance = places[:, None] - places
            self.band = (distance >= 0) & (distance < window)

    def forward(self, x):
        batch, length, _ = x.shape
        q = self.q_proj(x).view(batch, length, self.heads, -1)
        k = self.k_proj(x).view(batch, length, self.shared, -1)
        v = self.v_proj(x).view(batch, length, self.shared, -1)
        if self.scale is not None:
            q, k = (u * (u.square().sum(-1, True) + NORM_EPSILON).rsqrt() for u in (q, k))
        if self.tables is not None:
            tables = [table[:length] for table in self.tables]
            q, k = rotated(q, tables), rotated(k, tables)
        if self.scale is not None:
            q = q * self.scale[:, None]
        mask = None if self.band is None else self.band[:length, :length]
        o = F.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask,
            is_causal=mask is None, scale=None if self.scale is None else 1.0,
            enable_gqa=self.shared != self.heads)
        return self.o_proj(o.transpose(1, 2).reshape(batch, length, -1))


class GatedLinearAttention(nn.Module):
    def __init__(self, hidden, options, output_scale):
        super().__init__()
        self.heads = options.take("heads", 4)
        keys = int(hidden * options.take("key_expansion", 0.5))
        values = int(hidden * options.take("value_expansion", 1.0))
        rank = options.take("decay_rank", 16)
        self.divisor = options.take("decay_divisor", 16.0)
        self.gate = {"swish": F.silu, "sigmoid": torch.sigmoid}[options.take("gate", "swish")]
        self.q_proj = linear(hidden, keys)
        self.k_proj = linear(hidden, keys)
        self.v_proj = linear(hidden, values)
        self.g_proj = linear(hidden, values)
        self.gk_proj = nn.Sequential(linear(hidden, rank), linear(rank, keys, bias=True))
        self.norm = nn.RMSNorm(values // self.heads, eps=NORM_EPSILON)
        self.o_proj = linear(values, hidden, scale=output_scale)

    def forward(self, x):
        batch, length, _ = x.shape
        decay = F.logsigmoid(self.gk_proj(x)) / self.divisor
        q, k, v, decay = (
            u.view(batch, length, self.heads, -1)
            for u in (self.q_proj(x), self.k_proj(x), self.v_proj(x), decay))
        o = self.norm(gated_linear_attention(q, k, v, decay)).reshape(batch, length, -1)
        return self.o_proj(o * self.gate(self.g_proj(x)))


class FeedForward(nn.Module):
    def __init__(self, hidden, inner, output_scale):
        super().__init__()
        self.gate_proj = linear(hidden, inner)
        self.up_proj = linear(hidden, inner)
        self.down_proj = linear(inner, hidden, scale=output_scale)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """x + mixer(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, hidden, inner, epsilon, section, length, output_scale, where):
        super().__init__()
        options = Options(section, where)
        kind = options.take("type")
        self.mixer_norm = nn.RMSNorm(hidden, eps=epsilon)
        if kind in ("softmax", "cosine"):
            self.mixer = ExactAttention(kind, hidden, options, length, output_scale)
        elif kind == "gated_linear":
            self.mixer = GatedLinearAttention(hidden, options, output_scale)
        else:
            raise SystemExit(f"{where}: unknown type {kind}")
        options.finish()
        self.feed_forward_norm = nn.RMSNorm(hidden, eps=epsilon)
        self.feed_forward = FeedForward(hidden, inner, output_scale)

    def forward(self, x):
        x = x + self.mixer(self.mixer_norm(x))
        return x + self.feed_forward(self.feed_forward_norm(x))


class LanguageModel(nn.Module):
    def __init__(self, section, length):
        super().__init__()
        options = Options(section, "model")
        hidden = options.take("hidden_size")
        vocabulary = options.take("vocabulary_size", 256)
        inner = options.take("feed_forward_size", -(-(hidden * 8 // 3) // 32) * 32)
        epsilon = options.take("norm_epsilon", 1e-6)
        tied = options.take("tied_embeddings", True)
        layers = options.take("layers")
        options.finish()
        if isinstance(layers, dict):
            layers = layers["pattern"] * layers["repeat"]
        # The sum of all layers' outputs keeps the size of one.
        output_scale = (2 * len(layers)) ** -0.5
        self.embedding = nn.Embedding(vocabulary, hidden)
        nn.init.normal_(self.embedding.weight, std=hidden**-0.5)
        self.layers = nn.ModuleList(
            Block(hidden, inner, epsilon, layer, length, output_scale, f"model.layers.{index}")
            for index, layer in enumerate(layers))
        self.norm = nn.RMSNorm(hidden, eps=epsilon)
        self.head = None if tied else linear(hidden, vocabulary)

    def parameter_count(self):
        return sum(p.numel() for p in self.parameters())

    def loss(self, tokens, targets):
        """The mean cross-entropy in nats; both [batch, length]."""
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x)
        x = self.norm(x)
        weight = self.embedding.weight if self.head is None else self.head.weight
        return F.cross_entropy(F.linear(x, weight).flatten(0, 1), targets.flatten())

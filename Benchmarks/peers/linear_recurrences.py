"""The recurrences that linear_cpu.py compares: inputs, PyTorch's computations, operations.

A recurrence is one entry of RECURRENCES. PyTorch's side consists of flash-linear-attention's reference
implementations, and gated_linear.py where it has no chunked one. Tensors are
[batch, length, heads, dimension], as in the tool.
"""

from dataclasses import dataclass, field
from typing import Callable

import torch
import torch.nn.functional as F
from fla.ops.delta_rule.naive import delta_rule_chunkwise, delta_rule_recurrence
from fla.ops.gated_delta_rule.naive import (naive_chunk_gated_delta_rule,
                                            naive_recurrent_gated_delta_rule)
from fla.ops.gla.naive import naive_recurrent_gla
from fla.ops.kda.naive import naive_chunk_kda, naive_recurrent_kda
from fla.ops.linear_attn.naive import naive_chunk_linear_attn, naive_recurrent_linear_attn
from fla.ops.rwkv6.chunk_naive import naive_chunk_rwkv6
from fla.ops.rwkv6.recurrent_naive import naive_recurrent_rwkv6
from fla.ops.simple_gla.naive import naive_chunk_simple_gla, naive_recurrent_simple_gla

from gated_linear import gated_linear_attention

CHUNK = 64


def additive_operations(k, v, step):
    """Operations of a chunk: products of tokens with the tokens before them, and with the state."""
    pairs = CHUNK * (CHUNK + 1) // 2
    if step == "forward":
        # Scores and their product with the values; reading and writing the state.
        return 2 * (pairs * (k + v) + CHUNK * 2 * k * v)
    # Scores and their gradient, the gradients of values, queries and keys through them; the states
    # anew, the three gradients through the state, and the state's own.
    return 2 * (pairs * (3 * k + 2 * v) + CHUNK * 5 * k * v)


def erasing_operations(k, v, step):
    """The same where a token erases: reads of its key, and a triangular system, beside those of the
    query."""
    pairs = CHUNK * (CHUNK + 1) // 2
    if step == "forward":
        return 2 * (pairs * 2 * (k + v) + CHUNK * 3 * k * v)
    return 2 * (pairs * (7 * k + 5 * v) + CHUNK * 8 * k * v)


@dataclass
class Recurrence:
    """A recurrence, its inputs beside queries, keys and values by the tool's names, and its peers.

    `inputs` are functions of (batch, length, heads, dimension); `chunked` and `stepwise` are functions
    of the inputs by name; `operations` is a function of (key dimension, value dimension, pass).
    """
    name: str
    inputs: dict = field(default_factory=dict)
    chunked: Callable = None
    stepwise: Callable = None
    operations: Callable = additive_operations
    flags: tuple = ()


def gate(*shape):
    """Logarithms of decays as trained gates have them."""
    return -0.1 * torch.rand(*shape)


def by_token(x):
    """A decay by head for every token."""
    return x["decay"].expand(*x["queries"].shape[:3])


def heads_first(x, *names):
    """The tensors as [batch, heads, length, dimension], for references that want them so."""
    return (x[name].transpose(1, 2) for name in names)


def unit(x):
    """Queries and keys as unit vectors, which the tool's --l2norm makes of them."""
    return (F.normalize(x[name].float(), dim=-1) for name in ("queries", "keys"))


def erasing(compute):
    """A reference of (q, k, v, g, beta) on the inputs."""
    return lambda x: compute(*unit(x), x["values"].float(), x["decay"], x["beta"])[0]


def delta(compute):
    def run(x):
        q, k = (tensor.transpose(1, 2) for tensor in unit(x))
        v, beta = heads_first(x, "values", "beta")
        return compute(q, k, v.float(), beta)[0].transpose(1, 2)
    return run


def beta(b, t, h, d):
    return torch.rand(b, t, h)


RECURRENCES = [
    Recurrence(
        "linear attention",
        chunked=lambda x: naive_chunk_linear_attn(x["queries"], x["keys"], x["values"]),
        stepwise=lambda x: naive_recurrent_linear_attn(x["queries"], x["keys"], x["values"])[0]),
    Recurrence(
        "retention", inputs={"decay": lambda b, t, h, d: gate(h)},
        chunked=lambda x: naive_chunk_simple_gla(
            x["queries"], x["keys"], x["values"], by_token(x))[0],
        stepwise=lambda x: naive_recurrent_simple_gla(
            x["queries"], x["keys"], x["values"], by_token(x))[0]),
    Recurrence(
        "simple GLA", inputs={"decay": lambda b, t, h, d: gate(b, t, h)},
        chunked=lambda x: naive_chunk_simple_gla(
            x["queries"], x["keys"], x["values"], x["decay"])[0],
        stepwise=lambda x: naive_recurrent_simple_gla(
            x["queries"], x["keys"], x["values"], x["decay"])[0]),
    Recurrence(
        "GLA", inputs={"decay": lambda b, t, h, d: gate(b, t, h, d)},
        chunked=lambda x: gated_linear_attention(
            *(x[name].float() for name in ("queries", "keys", "values", "decay"))),
        stepwise=lambda x: naive_recurrent_gla(
            x["queries"], x["keys"], x["values"], x["decay"])[0]),
    Recurrence(
        "RWKV-6", inputs={"decay": lambda b, t, h, d: gate(b, t, h, d),
                          "bonus": lambda b, t, h, d: torch.randn(h, d)}, flags=("--scale", "1"),
        chunked=lambda x: naive_chunk_rwkv6(
            *heads_first(x, "queries", "keys", "values", "decay"), x["bonus"]).transpose(1, 2),
        stepwise=lambda x: naive_recurrent_rwkv6(
            *heads_first(x, "queries", "keys", "values", "decay"), x["bonus"],
            scale=1.0)[0].transpose(1, 2)),
    Recurrence(
        "DeltaNet", inputs={"beta": beta}, flags=("--l2norm",), operations=erasing_operations,
        chunked=delta(delta_rule_chunkwise), stepwise=delta(delta_rule_recurrence)),
    Recurrence(
        "Gated DeltaNet", inputs={"decay": lambda b, t, h, d: gate(b, t, h), "beta": beta},
        flags=("--l2norm",), operations=erasing_operations,
        chunked=erasing(naive_chunk_gated_delta_rule),
        stepwise=erasing(lambda q, k, v, g, beta: naive_recurrent_gated_delta_rule(
            q, k, v, beta, g))),
    Recurrence(
        "Kimi Delta Attention",
        inputs={"decay": lambda b, t, h, d: gate(b, t, h, d), "beta": beta}, flags=("--l2norm",),
        operations=erasing_operations, chunked=erasing(naive_chunk_kda),
        stepwise=erasing(naive_recurrent_kda)),
]

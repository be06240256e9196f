"""The recurrences that linear_cpu.py compares: inputs, PyTorch's computations, operations.

A recurrence is one entry of RECURRENCES. PyTorch's side are the reference implementations of
flash-linear-attention, imported, and gated_linear.py where it has no chunked one. Tensors are
[batch, length, heads, dimension] as the tool's.
"""

from dataclasses import dataclass, field
from typing import Callable

import torch
from fla.ops.gla.naive import naive_recurrent_gla
from fla.ops.linear_attn.naive import naive_chunk_linear_attn, naive_recurrent_linear_attn
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
]

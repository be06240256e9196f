"""What calls of all operators share: plans that are kept, what they depend on, and the call."""

from __future__ import annotations

from typing import Callable, Iterable, List, Optional, Tuple, TypeVar

import torch

from .._library import CPU, Template, current_stream, follow_threads

Tensors = Tuple[Optional[torch.Tensor], ...]
_Plan = TypeVar("_Plan")

# Plans of each table: a decoder's keys grow by one a step. A plan takes about 10 kB.
_CAPACITY = 4096


class Plans(dict):
    """What was worked out once for calls that are alike, by all that it depends on.

    A full table forgets everything.
    """

    def keep(self, key: tuple, plan: _Plan) -> _Plan:
        """Remembers a plan, and returns it."""
        if len(self) >= _CAPACITY:
            self.clear()
        self[key] = plan
        return plan


# Those of all operators. Keys begin with what tells operators and their options apart.
FORWARD, BACKWARD = Plans(), Plans()


def key_of(tensors: Iterable[Optional[torch.Tensor]]) -> list:
    """What a plan depends on, beside the options."""
    key: list = []
    for tensor in tensors:
        if tensor is None:
            key.append(None)
        else:
            key += (tensor.shape, tensor.stride(), tensor.dtype, tensor.device)
    return key


def pointers_of(tensors: Iterable[Optional[torch.Tensor]]) -> List[int]:
    """Where those tensors are that there are."""
    return [tensor.data_ptr() for tensor in tensors if tensor is not None]


def run(template: Template, function: Callable[[int], int], pointers: List[int]) -> None:
    """Calls the library on the threads, or in the stream, that PyTorch has for such work."""
    if template.device == CPU:
        follow_threads()
    else:
        pointers.append(current_stream(template.device))
    template.run(function, *pointers)

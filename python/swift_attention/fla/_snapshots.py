"""States between the chunks of a sequence."""

from __future__ import annotations

from typing import Any, Callable

import torch
from torch import Tensor


def states_before_chunks(
    function: Callable[..., tuple[Tensor, Tensor | None]],
    chunk: int,
    tokens: tuple[Tensor, ...],
    options: dict[str, Any],
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Runs `function` chunk by chunk: its output, final state, and the states [B, NT, …] before.

    Packed sequences are cut each by itself, their states one behind the other.
    """
    options = dict(options)
    ends, initial = options.pop("cu_seqlens"), options.pop("initial_state")
    needs_state = options.pop("output_final_state")
    places = [0, tokens[0].shape[1]] if ends is None else ends.tolist()
    outputs, states, finals = [], [], []
    with torch.no_grad():
        for index, (first, end) in enumerate(zip(places[:-1], places[1:])):
            state = initial if ends is None or initial is None else initial[index:index + 1]
            for start in range(first, end, chunk):
                pieces = (x[:, start:min(start + chunk, end)] for x in tokens)
                output, following = function(
                    *pieces, initial_state=state, output_final_state=True, **options
                )
                states.append(torch.zeros_like(following) if state is None else state)
                outputs.append(output)
                state = following
            if state is None:
                _, state = function(
                    *(x[:, first:end] for x in tokens), output_final_state=True, **options
                )
            finals.append(state)
    values = tokens[2]
    output = torch.cat(outputs, 1) if outputs else torch.empty_like(values)
    before = (
        torch.stack(states, 1)
        if states
        else finals[0].new_empty((values.shape[0], 0, *finals[0].shape[1:]))
    )
    final = torch.cat(finals) if needs_state else None
    return output, final, before.to(torch.bfloat16)

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

    Packed sequences, whose lengths have been validated, are split separately, and their states
    concatenated.
    """
    options = dict(options)
    ends, initial = options.pop("cu_seqlens"), options.pop("initial_state")
    needs_state = options.pop("output_final_state")
    places = [0, tokens[0].shape[1]] if ends is None else ends.tolist()
    outputs, states, finals = [], [], []
    with torch.no_grad():
        output, zeros = function(*(x[:, :0] for x in tokens), output_final_state=True, **options)
        for index, (first, end) in enumerate(zip(places[:-1], places[1:])):
            state = zeros
            if initial is not None:
                state = initial if ends is None else initial[index:index + 1]
            for start in range(first, end, chunk):
                states.append(state)
                pieces = (x[:, start:min(start + chunk, end)] for x in tokens)
                output, state = function(
                    *pieces, initial_state=state, output_final_state=True, **options
                )
                outputs.append(output)
            finals.append(state)
    before = torch.stack(states, 1) if states else zeros.unsqueeze(1)[:, :0]
    return (
        torch.cat(outputs, 1) if outputs else output,
        torch.cat([zeros[:0], *finals]) if needs_state else None, before.to(torch.bfloat16))

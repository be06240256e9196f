"""Cumulative lengths of packed sequences: validation, and conversion for the operators."""

from __future__ import annotations

import torch
from torch import Tensor

from .._library import names_of
from .._operators.eager import check_tensor, holds_numbers

_INTEGERS = frozenset([torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8])
_LARGEST = torch.iinfo(torch.int32).max


def checked_lengths(
    cu_seqlens: Tensor, copy: Tensor | None, total: int, device: torch.device
) -> Tensor:
    """int32 lengths that start at 0, never decrease and end at `total` tokens, from integers.

    Those on a GPU are waited for, unless a `copy` on the CPU is given and read instead. If numbers
    cannot be read yet, as when a program is compiled, the operators validate them at run time: a
    number that int32 cannot hold becomes one that is rejected then.

    Raises TypeError or ValueError for invalid lengths, naming the argument.
    """
    name = "cu_seqlens"
    if cu_seqlens.device != device and cu_seqlens.device.type != "cpu":
        raise ValueError(f"{name} was on {cu_seqlens.device}, must be on {device} or cpu")
    if copy is not None:
        check_kind("cu_seqlens_cpu", copy)
        if copy.device.type != "cpu" or copy.shape != cu_seqlens.shape:
            raise ValueError(
                f"cu_seqlens_cpu was {list(copy.shape)} on {copy.device}, must be"
                f" {list(cu_seqlens.shape)} on cpu as a copy of cu_seqlens")
        if cu_seqlens.device.type == "cpu" and holds_numbers(cu_seqlens):
            if cu_seqlens.tolist() != copy.tolist():
                raise ValueError(
                    f"cu_seqlens_cpu was {_shortened(copy.tolist())}, must be"
                    f" {_shortened(cu_seqlens.tolist())} as cu_seqlens")
        name, cu_seqlens = "cu_seqlens_cpu", copy
    if not holds_numbers(cu_seqlens):
        return cu_seqlens.clamp(-1, _LARGEST).to(torch.int32)
    if cu_seqlens.device.type != "cpu":
        cu_seqlens = cu_seqlens.cpu()
    ends = cu_seqlens.tolist()
    if ends[0] != 0 or ends[-1] != total or ends != sorted(ends):
        raise ValueError(
            f"{name} was {_shortened(ends)}, must begin with 0, never fall, and end with the"
            f" {total} tokens")
    return cu_seqlens.to(torch.int32)


def check_kind(name: str, lengths: Tensor) -> None:
    """Raises TypeError or ValueError unless these are at least one integer in one dimension."""
    check_tensor(name, lengths)
    if lengths.dtype not in _INTEGERS:
        raise TypeError(f"{name} was {names_of([lengths.dtype])}, must be int32 or int64")
    if lengths.ndim != 1 or lengths.shape[0] == 0:
        raise ValueError(f"{name} was {list(lengths.shape)}, must be [sequences + 1]")


def _shortened(ends: list[int]) -> str:
    most = 8
    return str(ends) if len(ends) <= most else f"{str(ends[:most])[:-1]}, …, {ends[-1]}]"

"""The tensors of a safetensors file, with every number of its header validated."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, BinaryIO, Dict, List, Tuple

import torch
from torch import Tensor

from ._errors import CheckpointError
from ._files import opened, parsed, size_of

FILE = "model.safetensors"
_LENGTH_BYTES = 8
# The format's limit.
_LONGEST_HEADER = 100_000_000
_TYPES = {
    "F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "F64": torch.float64}


def read_weights(folder: Path) -> Dict[str, Tensor]:
    """The tensors of a checkpoint's folder by their names, in the order of the header.

    Raises CheckpointError that names the file, and the tensor if it is one.
    """
    path = folder / FILE
    with opened(path) as file:
        start, header = _header(path, file)
        places = _places(path, header, size_of(file) - start)
        return {name: _tensor(path, file, name, start, *place) for name, place in places.items()}


# dtype, shape, and the first and last byte in the data.
_Place = Tuple[torch.dtype, List[int], int, int]


def _header(path: Path, file: BinaryIO) -> Tuple[int, Dict[str, Any]]:
    """The offset of the data, and the parsed header."""
    size = size_of(file)
    if size < _LENGTH_BYTES:
        raise CheckpointError(
            path, f"is {size} bytes long; a safetensors file has at least {_LENGTH_BYTES}")
    length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    if length > _LONGEST_HEADER:
        raise CheckpointError(
            path, f"its header has {length} bytes; the format allows {_LONGEST_HEADER}")
    if length > size - _LENGTH_BYTES:
        raise CheckpointError(
            path,
            f"is truncated: its header has {length} bytes, but {size - _LENGTH_BYTES} follow")
    header = parsed(path, file.read(length), "its header")
    if not isinstance(header, dict):
        raise CheckpointError(path, "its header is no object")
    header.pop("__metadata__", None)
    return _LENGTH_BYTES + length, header


def _places(path: Path, header: Dict[str, Any], data_size: int) -> Dict[str, _Place]:
    places = {name: _place(path, name, entry) for name, entry in header.items()}
    end = 0
    for name, (_, _, first, last) in sorted(places.items(), key=lambda item: item[1][2:]):
        if first != end:
            raise CheckpointError(
                path, f"tensor {name} begins at byte {first} of the data, not {end}", name)
        end = last
    if end != data_size:
        what = "is truncated" if data_size < end else "has bytes that belong to no tensor"
        raise CheckpointError(path, f"{what}: {data_size} bytes of data, tensors take {end}")
    return places


def _place(path: Path, name: str, entry: Any) -> _Place:
    def fail(reason: str) -> CheckpointError:
        return CheckpointError(path, f"tensor {name} {reason}", name)

    keys = ("dtype", "shape", "data_offsets")
    if not isinstance(entry, dict) or set(entry) != set(keys):
        raise fail(f"must have the keys {', '.join(keys)}, and no others")
    element, shape, offsets = (entry[key] for key in keys)
    if not isinstance(element, str) or element not in _TYPES:
        raise fail(f"has the dtype {element!r}; it must be one of {', '.join(_TYPES)}")
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or not all(type(n) is int and n >= 0 for n in numbers):
            raise fail(f"has the shape {shape} and the data_offsets {offsets}")
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise fail(f"has the data_offsets {offsets}; they must be [begin, end] with begin ≤ end")
    needed = math.prod(shape) * _TYPES[element].itemsize
    if needed != offsets[1] - offsets[0]:
        raise fail(
            f"has {offsets[1] - offsets[0]} bytes; {element} of shape {shape} takes {needed}")
    return _TYPES[element], shape, offsets[0], offsets[1]


def _tensor(
    path: Path, file: BinaryIO, name: str, start: int, dtype: torch.dtype, shape: List[int],
    first: int, last: int,
) -> Tensor:
    if first == last:
        return torch.empty(shape, dtype=dtype)
    file.seek(start + first)
    bytes_read = bytearray(last - first)
    if file.readinto(bytes_read) != len(bytes_read):
        raise CheckpointError(path, f"is truncated within the tensor {name}", name)
    return torch.frombuffer(bytes_read, dtype=dtype).reshape(shape)

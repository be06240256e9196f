"""The C library: where it is, the layout of its calls, and its errors as Python exceptions.

The library has its header, `swift_attention.h`, with it: structs are read there. A call's struct
is packed once for each combination of shapes, strides, dtypes and flags, as a `Template`; after
that a call writes pointers only.
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
from pathlib import Path
from typing import (
    Callable, Dict, Iterable, List, Mapping, NamedTuple, NoReturn, Optional, Sequence, Tuple,
    Union)

import torch

_ENVIRONMENT = "SWIFT_ATTENTION_LIBRARY"
_FILE = "libswift_attention.so"
# The interface version that this file is written for: at least this one, with the same hundreds.
_INTERFACE_VERSION = 101

CPU = -1
MAX_RANK = 4
WORD = 8

_OK, _INVALID_ARGUMENT, _NO_KERNEL, _UNAVAILABLE, _OUT_OF_MEMORY = range(5)

DTYPES: Dict[torch.dtype, int] = {
    torch.float32: 0,
    torch.bfloat16: 1,
    torch.float16: 2,
    torch.float64: 3,
    torch.int32: 4,
    torch.int64: 5,
    torch.bool: 6,
}
# The dtypes of floating-point tensors.
FLOATING = tuple(dtype for dtype in DTYPES if dtype.is_floating_point)
# The dtypes of the other tensors.
_DTYPES_OF = {"cumulative_lengths": [torch.int32], "key_mask": [torch.bool]}


def names_of(dtypes: Iterable[torch.dtype]) -> str:
    """dtypes as messages name them: "float32, bfloat16 or float16"."""
    *names, last = (str(dtype).replace("torch.", "") for dtype in dtypes)
    return f"{', '.join(names)} or {last}" if names else last


class Layout(NamedTuple):
    """A struct's description of a tensor without its address. Strides are in elements."""

    shape: Tuple[int, ...]
    strides: Tuple[int, ...]
    dtype: torch.dtype
    # Whether a call on a GPU finds it in host memory: cumulative lengths may be there.
    is_on_host: bool = False

    @classmethod
    def of(cls, tensor: torch.Tensor) -> Layout:
        return cls(tuple(tensor.shape), tensor.stride(), tensor.dtype)


Option = Union[int, float, str]

# --- Structs

# data, is_present, dtype, rank, is_on_host, shape, strides
_TENSOR = struct.Struct("@P4i8q")


# Codes of `struct` of the header's types; that of a tensor is its name.
_KINDS = {
    "sa_tensor": "tensor", "uint32_t": "I", "int32_t": "i", "int64_t": "q", "double": "d",
}
_POINTER = "P"


def _fields_of(name: str) -> Dict[str, str]:
    """The fields of a struct of the header, and their kinds."""
    body = re.search(rf"typedef struct {name} {{(.*?)}} {name};", _header, re.DOTALL).group(1)
    fields = {}
    for declaration in re.sub("//.*", "", body).split(";")[:-1]:
        kind, names = re.fullmatch(r"(?:const )?(\w+) (.*)", declaration.strip()).groups()
        for field in names.split(", "):
            fields[field.lstrip("*")] = _POINTER if field[0] == "*" else _KINDS[kind]
    return fields


class Operator:
    """An operator of the library: its struct's fields, and its three functions."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kinds = _fields_of(f"sa_{name}")
        self.offsets: Dict[str, int] = {}
        size = 0
        for field, kind in self.kinds.items():
            is_tensor = kind == "tensor"
            width = _TENSOR.size if is_tensor else struct.calcsize(kind)
            size += -size % (WORD if is_tensor else width)
            self.offsets[field] = size
            size += width
        self.size = size + -size % WORD
        self.forward = _function(_library, f"sa_{name}_forward", ctypes.c_void_p)
        self.backward = _function(_library, f"sa_{name}_backward", ctypes.c_void_p)
        self._explain = _function(
            _library, f"sa_{name}_explain", ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t,
            ctypes.POINTER(ctypes.c_size_t))
        # Inputs stand between what all structs begin with and the first option, results behind that. Options
        # that later versions added stand at the end.
        fields = iter(self.kinds.items())
        next(field for field, kind in fields if field == "kernel")
        inputs, options = [], []
        for field, kind in fields:
            if kind != "tensor":
                options.append(field)
            elif not options:
                inputs.append(field)
        self.differentiable = tuple(x for x in inputs if f"{x}_gradient" in self.kinds)
        # Those that may have gradients come first.
        self.inputs = self.differentiable + tuple(
            x for x in inputs if x not in self.differentiable)
        self.options = tuple(x for x in options if not x.startswith("reserved"))

    def template(
        self, device: int, tensors: Mapping[str, Layout], options: Mapping[str, Option] = {}
    ) -> Template:
        """A call with these tensors present.

        `device` is `CPU` or a GPU's number. Pointers are written in the order of `tensors`, then
        the stream.
        """
        memory = bytearray(self.size)
        struct.pack_into("@Ii", memory, 0, self.size, device)
        for field, (shape, strides, dtype, is_on_host) in tensors.items():
            code = DTYPES.get(dtype)
            if code is None:
                names = names_of(_DTYPES_OF.get(field, FLOATING))
                raise TypeError(f"{field} is of {names_of([dtype])}; it must be of {names}")
            rank = len(shape)
            if rank > MAX_RANK:
                raise ValueError(f"{field} is of rank {rank}; it must be of at most {MAX_RANK}")
            padding = (0,) * (MAX_RANK - rank)
            _TENSOR.pack_into(
                memory, self.offsets[field],
                0, 1, code, rank, is_on_host, *shape, *padding, *strides, *padding)
        kept = []
        for field, value in options.items():
            if isinstance(value, str):
                text = ctypes.create_string_buffer(value.encode())
                kept.append(text)
                value = ctypes.addressof(text)
            struct.pack_into("@" + self.kinds[field], memory, self.offsets[field], value)
        pointers = [self.offsets[field] // WORD for field in tensors]
        pointers.append(self.offsets["stream"] // WORD)
        return Template(device, memory, pointers, kept)

    def explain(self, template: Template) -> str:
        """Which kernel runs a call of this template, and why not the others."""
        return text_of(lambda *arguments: self._explain(template.address, *arguments))


class Template:
    """A call's struct, complete except for its pointers."""

    __slots__ = ("device", "_memory", "_pointers", "_kept", "_spare")

    def __init__(
        self, device: int, memory: bytearray, pointers: Sequence[int], kept: List[object]
    ) -> None:
        self.device = device
        self._memory = memory
        self._pointers = tuple(pointers)
        self._kept = kept
        # Structs that no thread is using.
        self._spare = [self._copy()]

    def _copy(self) -> Tuple[memoryview, int]:
        memory = bytearray(self._memory)
        return memoryview(memory).cast("Q"), _address(memory)

    @property
    def address(self) -> int:
        """The address of the struct, without pointers."""
        return _address(self._memory)

    def run(self, function: Callable[[int], int], *pointers: int) -> None:
        """Calls `function` with these pointers.

        They are those of the template's tensors, in order, and the stream, which may be omitted on
        the CPU or for the default stream.
        """
        try:
            call = self._spare.pop()
        except IndexError:
            call = self._copy()
        words, address = call
        for index, pointer in zip(self._pointers, pointers):
            words[index] = pointer
        status = function(address)
        if status:
            raise_error(status, self.device)
        self._spare.append(call)


def _address(memory: bytearray) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


# --- The library


def _find() -> Path:
    given = os.environ.get(_ENVIRONMENT)
    path = Path(given) if given else Path(__file__).with_name(_FILE)
    if path.is_file():
        return path
    raise ImportError(
        f"swift_attention's library is not at {path}: install the package with"
        f" `pip install ./python`, or set {_ENVIRONMENT} to a {_FILE}")


def _function(library: ctypes.CDLL, name: str, *arguments: type) -> Callable[..., int]:
    function = getattr(library, name)
    function.argtypes = arguments
    function.restype = ctypes.c_int
    return function


def _load() -> ctypes.CDLL:
    path = _find()
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise ImportError(f"swift_attention cannot load its library: {error}") from error
    library.sa_error.restype = ctypes.c_char_p
    library.sa_version.restype = ctypes.c_char_p
    version = library.sa_interface_version()
    if version < _INTERFACE_VERSION or version // 100 != _INTERFACE_VERSION // 100:
        raise ImportError(
            f"{path} has version {version} of the C interface, and this package needs"
            f" {_INTERFACE_VERSION}: install the package again")
    library.sa_header.restype = ctypes.c_char_p
    return library


_library = _load()
_header = _library.sa_header().decode()
_device_count = _function(_library, "sa_device_count", ctypes.POINTER(ctypes.c_int32))
_set_threads = _function(_library, "sa_set_threads", ctypes.c_int32)
_device_description = _function(
    _library, "sa_device_description", ctypes.c_int32, ctypes.c_char_p, ctypes.c_size_t,
    ctypes.POINTER(ctypes.c_size_t))

_error = _library.sa_error


def raise_error(status: int, device: int = CPU) -> NoReturn:
    """Raises the exception for a status and the message of this thread's last call."""
    message = _SWIFT_NAMES.sub(
        lambda name: _PYTHON_NAMES[name.group()], (_error() or b"").decode())
    if status in (_INVALID_ARGUMENT, _NO_KERNEL):
        raise ValueError(message)
    if status == _OUT_OF_MEMORY:
        raise MemoryError(message) if device == CPU else torch.cuda.OutOfMemoryError(message)
    raise RuntimeError(message)


def text_of(write: Callable[..., int]) -> str:
    """The text that a function of the library writes into a buffer."""
    length = ctypes.c_size_t(1 << 14)
    while True:
        capacity = length.value + 1
        buffer = ctypes.create_string_buffer(capacity)
        status = write(buffer, capacity, ctypes.byref(length))
        if status:
            raise_error(status)
        if length.value < capacity:
            return buffer.value.decode()


def version() -> str:
    """The library's version."""
    return _library.sa_version().decode()


def device_description(device: int = CPU) -> str:
    """A one-line description of a device."""
    return text_of(lambda *arguments: _device_description(device, *arguments))


# --- The device of a call

_threads = 0


def follow_threads() -> None:
    """Makes calls on the CPU use as many threads as PyTorch does in this thread."""
    global _threads
    count = torch.get_num_threads()
    if count != _threads:
        status = _set_threads(count)
        if status:
            raise_error(status)
        _threads = count


def device_number(device: torch.device) -> Optional[int]:
    """A device's number in the library; None if it is neither the CPU nor a CUDA GPU."""
    if device.type == "cpu":
        return CPU
    if device.type == "cuda":
        return torch.cuda.current_device() if device.index is None else device.index
    return None


def current_stream(device: int) -> int:
    """PyTorch's current stream on a GPU; 0 for the CPU."""
    return 0 if device == CPU else torch._C._cuda_getCurrentRawStream(device)


# --- Operators

ATTENTION = Operator("attention")
LINEAR_ATTENTION = Operator("linear_attention")
GATED_SCAN = Operator("gated_scan")

# The library's messages use Swift's argument names: keyMask for key_mask.
_PYTHON_NAMES = {
    re.sub("_([a-z])", lambda letter: letter.group(1).upper(), field): field
    for operator in (ATTENTION, LINEAR_ATTENTION, GATED_SCAN)
    for field in operator.offsets
    if "_" in field
}
_SWIFT_NAMES = re.compile(rf"\b({'|'.join(_PYTHON_NAMES)})\b")

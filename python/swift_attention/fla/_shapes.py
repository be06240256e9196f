"""The shapes that a function requires, in the notation of its documentation."""

from __future__ import annotations

import re
from typing import Iterable, Mapping, NamedTuple

import torch
from torch import Tensor
from torch.compiler import is_compiling

from .._operators.eager import PLAIN_TYPES, check_floating, check_tensor
from ._lengths import check_kind, checked_lengths

# Heads that several others share: the first of each pair is a multiple of the second.
_MULTIPLES = (("HV", "H"), ("HQ", "H"), ("H", "G"))
# The number of checks remembered; a set takes a kilobyte for each.
_CAPACITY = 1024


class _Form(NamedTuple):
    """One shape that an argument may have: axes are letters, numbers or products of letters;
    `first …` stands for any others.

    For a form in parentheses only the number of elements matters.
    """

    axes: tuple[str, ...]
    counts: bool

    def __str__(self) -> str:
        return "{1}{0}{2}".format(", ".join(self.axes), *("()" if self.counts else "[]"))


class Shapes:
    """Shapes as in documentation: "q, k [B, T, H, K]; beta? [B, T, HV] or [B, T, HV, V]".

    Arguments with a question mark may be None.
    A letter stands for the same length everywhere, set by the first argument that has it. N is the
    number of sequences: the packed ones, or the batch B. HV and HQ are multiples of H, and H of G.
    (HV·K) is any shape with that many elements. An initial state has its axes in this order, unless
    states are stored values first: then the last two are exchanged.
    """

    def __init__(self, text: str) -> None:
        # Combinations that have passed.
        self._known: set[tuple] = set()
        self._forms: dict[str, tuple[_Form, ...]] = {}
        self._optional: set[str] = set()
        for rule in text.split(";"):
            names = re.split(r" [\[(]", rule, maxsplit=1)[0]
            forms = tuple(
                _Form(tuple(form[1:-1].split(", ")), form[0] == "(")
                for form in re.findall(r"\[[^\]]*\]|\([^)]*\)", rule[len(names):]))
            for name in names.split(", "):
                name = name.strip()
                if name.endswith("?"):
                    self._optional.add(name := name[:-1])
                self._forms[name] = forms

    def check(
        self,
        cu_seqlens: Tensor | None = None,
        cu_seqlens_cpu: Tensor | None = None,
        *,
        values_first: bool = False,
        sizes: Mapping[str, int] | None = None,
        **tensors: Tensor | None,
    ) -> Tensor | None:
        """Checks the tensors by name; all must be on the device of the first.

        `sizes` are the lengths of letters known beforehand. Returns the cumulative lengths, if any,
        as the operators read them (see `checked_lengths`).

        Raises TypeError or ValueError, naming the argument, what it was and what it must be.
        """
        lengths = None
        if cu_seqlens is not None:
            check_kind("cu_seqlens", cu_seqlens)
            lengths = cu_seqlens.shape[0]
        key = _key(tensors, lengths, values_first, sizes)
        if key is None or key not in self._known:
            self._check(tensors, lengths, values_first, sizes)
            if key is not None:
                if len(self._known) >= _CAPACITY:
                    self._known.clear()
                self._known.add(key)
        if lengths is None:
            return None
        return checked_lengths(cu_seqlens, cu_seqlens_cpu, *self._tokens(tensors))

    def _check(
        self,
        tensors: Mapping[str, Tensor | None],
        lengths: int | None,
        values_first: bool,
        sizes: Mapping[str, int] | None,
    ) -> None:
        found = dict(sizes or {})
        if lengths is not None:
            found["N"] = lengths - 1
        first, owners = "", {}
        for name, tensor in tensors.items():
            if tensor is None and name in self._optional:
                continue
            check_tensor(name, tensor)
            check_floating(name, tensor)
            if not first:
                first, device = name, tensor.device
            elif tensor.device != device:
                raise ValueError(f"{name} was on {tensor.device}, must be on {device} as {first}")
            forms = self._forms[name]
            if values_first and name.startswith("initial_state"):
                forms = tuple(map(_values_first, forms))
            if not any(_fits(tensor, form, found, owners, name) for form in forms):
                wanted = " or ".join(_wanted(form, found) for form in forms)
                raise ValueError(f"{name} was {list(tensor.shape)}, must be {wanted}")
        _check_heads(found, owners)
        batch = found.get("B", 1)
        if lengths is not None and batch != 1:
            raise ValueError(
                f"the batch size was {batch}, must be 1 with cu_seqlens:"
                " sequences are packed one behind the other")

    def _tokens(self, tensors: Mapping[str, Tensor | None]) -> tuple[int, torch.device]:
        """The number of tokens, and their device."""
        for name, tensor in tensors.items():
            (axes, _), *_ = self._forms[name]
            if "T" in axes:
                return tensor.shape[axes.index("T")], tensor.device
        raise ValueError("there are no tokens")


def _key(
    tensors: Mapping[str, Tensor | None], lengths: int | None, values_first: bool,
    sizes: Mapping[str, int] | None,
) -> tuple | None:
    """What a check depends on; None if it must be repeated each time."""
    if is_compiling():
        return None
    key = [lengths, values_first, *(sizes or {}).values()]
    for name, x in tensors.items():
        key.append(name)
        if x is None:
            continue
        if type(x) not in PLAIN_TYPES or x.is_nested:
            return None
        key += (x.shape, x.dtype, x.device, x.layout)
    return tuple(key)


def _fits(
    tensor: Tensor, form: _Form, found: dict[str, int], owners: dict[str, str], name: str
) -> bool:
    """Whether the tensor has this form; if so, records its new letters."""
    axes, counts = form
    if counts:
        return tensor.numel() == _product(axes, found)
    shape = tensor.shape
    if axes[0] == "…":
        axes = axes[1:]
        shape = shape[-len(axes):]
    if len(shape) != len(axes):
        return False
    new = {}
    for axis, length in zip(axes, shape):
        known = _length(axis, found)
        if known is None:
            known = new.setdefault(axis, length)
        if known != length:
            return False
    found.update(new)
    for axis in new:
        owners[axis] = name
    return True


def _values_first(form: _Form) -> _Form:
    """The form of a state [K, V] as [V, K]."""
    *axes, keys, values = form.axes
    return _Form((*axes, values, keys), False) if values == "V" else form


def _length(axis: str, found: Mapping[str, int]) -> int | None:
    """The length of an axis; None if its letter is new."""
    length = found.get(axis)
    if length is not None:
        return length
    if axis == "N":
        return found.get("B")
    if axis.isdigit():
        return int(axis)
    if "·" in axis:
        return _product(axis.split("·"), found)
    return None


def _product(axes: Iterable[str], found: Mapping[str, int]) -> int:
    """`math.prod`, which `torch.compile` does not support."""
    product = 1
    for axis in axes:
        product *= _length(axis, found)
    return product


def _wanted(form: _Form, found: Mapping[str, int]) -> str:
    """The form with the known lengths: "[B, T, H, K] = [2, 6, 4, K]"."""
    lengths = [_length(axis, found) for axis in form.axes]
    if form.counts:
        return f"of {_product(form.axes, found)} elements {form}"
    known = ", ".join(
        axis if length is None else str(length) for axis, length in zip(form.axes, lengths))
    return str(form) if known == ", ".join(form.axes) else f"{form} = [{known}]"


def _check_heads(found: Mapping[str, int], owners: Mapping[str, str]) -> None:
    for many, few in _MULTIPLES:
        if many in owners and few in owners:
            count, unit = found[many], found[few]
            if unit == 0 or count % unit:
                raise ValueError(
                    f"{owners[many]} had {count} heads, must have a multiple of the {unit} of"
                    f" {owners[few]}")

"""A model's layers: `config.json`, with the keys that CONFIGURATION.md lists.

Configurations that the tool rejects are rejected here with the same names: unknown keys, values of
another type, and invalid values.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from pathlib import Path
from typing import Any, Callable, Dict, List, NoReturn, Optional, Sequence, Tuple, Union

from ._errors import CheckpointError
from ._files import opened, parsed

FILE = "config.json"
# More than any configuration has.
_MOST_BYTES = 64 << 20
_LARGEST_EXTENT = 1 << 20
_MOST_LAYERS = 1 << 12
_DEFAULT_HEADS = 4
_GATES = ("swish", "sigmoid")


@dataclasses.dataclass(frozen=True)
class ExactLayer:
    """A layer of softmax attention or, with a scale, of cosine similarity attention."""

    heads: int
    key_value_heads: int
    head_dimension: int
    # The number of tokens that a token attends to, itself included; None for all before it.
    window: Optional[int]
    # The base of the rotary frequencies; None for no positions.
    rotary_theta: Optional[float]
    is_cosine: bool


@dataclasses.dataclass(frozen=True)
class GatedLinearLayer:
    """A layer of gated linear attention."""

    heads: int
    # The widths over all heads.
    key_width: int
    value_width: int
    decay_rank: int
    decay_divisor: float
    gate: str
    # ε of the norm over each head.
    norm_epsilon: float


@dataclasses.dataclass(frozen=True)
class ModelConfiguration:
    """The shape of a language model; the layers from the first to the last."""

    vocabulary_size: int
    hidden_size: int
    feed_forward_size: int
    norm_epsilon: float
    has_tied_embeddings: bool
    layers: Tuple[Union[ExactLayer, GatedLinearLayer], ...]


def read_configuration(folder: Path) -> ModelConfiguration:
    """The configuration of a checkpoint's folder.

    Raises CheckpointError that names the file, and the key if it is one.
    """
    path = folder / FILE
    with opened(path) as file:
        text = file.read(_MOST_BYTES + 1)
    if len(text) > _MOST_BYTES:
        raise CheckpointError(path, f"is longer than {_MOST_BYTES} bytes")
    return _model(_Section(path, "", parsed(path, text, "the configuration")))


class _Section:
    """An object of the configuration; keys that are not read are errors."""

    def __init__(self, file: Path, path: str, value: Any) -> None:
        self.file, self.path = file, path
        if not isinstance(value, dict):
            self._fail(path or "the configuration", value, "an object")
        self.values: Dict[str, Any] = value

    def name(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def require_known(self, known: Sequence[str]) -> None:
        """Rejects the first unknown key in alphabetical order."""
        for key in sorted(self.values):
            if key not in known:
                near = difflib.get_close_matches(key, known, 1)
                guess = f"; did you mean {near[0]}? The" if near else "; the"
                name = self.name(key)
                raise CheckpointError(
                    self.file, f"unknown key {name}{guess} keys are {', '.join(known)}", name)

    def fail(self, key: str, must_be: str, was: Any = None) -> NoReturn:
        """Rejects the value of a key, or its default."""
        value = self.values.get(key)
        self._fail(self.name(key), was if value is None else value, must_be)

    def missing(self, key: str) -> NoReturn:
        raise CheckpointError(self.file, f"{self.name(key)} is missing", self.name(key))

    def _fail(self, name: str, was: Any, must_be: str) -> NoReturn:
        raise CheckpointError(self.file, f"{name} is {_shown(was)}; it must be {must_be}", name)

    def value(self, key: str, default: Any, kind: Callable[[Any], Any], must_be: str) -> Any:
        """The value of a key, converted by `kind`, which returns None for another type."""
        if key not in self.values:
            if default is _REQUIRED:
                self.missing(key)
            return default
        value = kind(self.values[key])
        if value is None:
            self.fail(key, must_be)
        return value

    def extent(self, key: str, default: Any) -> Any:
        value = self.value(key, default, _whole, "a whole number")
        if key in self.values and not 1 <= value <= _LARGEST_EXTENT:
            self.fail(key, f"in 1...{_LARGEST_EXTENT}")
        return value

    def positive(self, key: str, default: Any) -> Any:
        value = self.value(key, default, _number, "a number")
        if key in self.values and not (value > 0 and math.isfinite(value)):
            self.fail(key, "a number above 0")
        return value

    def truth(self, key: str, default: bool) -> bool:
        return self.value(
            key, default, lambda x: x if isinstance(x, bool) else None, "true or false")

    def text(self, key: str, default: Any, names: Sequence[str]) -> str:
        value = self.value(key, default, lambda x: x if isinstance(x, str) else None, "a string")
        if value not in names:
            self.fail(key, "one of " + ", ".join(f'"{name}"' for name in names))
        return value

    def is_null(self, key: str) -> bool:
        """Whether the key is present with the value null."""
        return key in self.values and self.values[key] is None


_REQUIRED = object()


def _whole(value: Any) -> Optional[int]:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and not value.is_integer():
        return None
    return int(value)


def _number(value: Any) -> Optional[float]:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _shown(value: Any) -> str:
    """The value as messages show it; for arrays and objects only the type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"an array of {len(value)}"
    shown = f'"{value}"' if isinstance(value, str) else repr(value)
    longest = 80
    return shown if len(shown) <= longest else shown[:longest] + "…"


def _model(section: _Section) -> ModelConfiguration:
    section.require_known((
        "vocabulary_size", "hidden_size", "feed_forward_size", "norm_epsilon", "tied_embeddings",
        "layers"))
    hidden = section.extent("hidden_size", _REQUIRED)
    multiple = 32
    # 8/3 of the hidden size, rounded up to a multiple.
    inner = (hidden * 8 // 3 + multiple - 1) // multiple * multiple
    return ModelConfiguration(
        vocabulary_size=section.extent("vocabulary_size", 256), hidden_size=hidden,
        feed_forward_size=section.extent("feed_forward_size", inner),
        norm_epsilon=section.positive("norm_epsilon", 1e-6),
        has_tied_embeddings=section.truth("tied_embeddings", True),
        layers=_layers(section, hidden))


def _layers(model: _Section, hidden: int) -> Tuple[Union[ExactLayer, GatedLinearLayer], ...]:
    value = model.value("layers", _REQUIRED, lambda x: x, "an array or an object")
    if isinstance(value, list):
        pattern, repeats, where = value, 1, "layers"
    elif isinstance(value, dict):
        section = _Section(model.file, "layers", value)
        section.require_known(("pattern", "repeat"))
        pattern = section.value(
            "pattern", _REQUIRED, lambda x: x if isinstance(x, list) else None, "an array")
        repeats = section.value("repeat", _REQUIRED, _whole, "a whole number")
        if repeats < 1 or repeats * len(pattern) > _MOST_LAYERS:
            section.fail("repeat", f"at least 1, with at most {_MOST_LAYERS} layers in all")
        where = "layers.pattern"
    else:
        model.fail("layers", "an array of layers, or an object with the keys pattern and repeat")
    if not 1 <= len(pattern) <= _MOST_LAYERS:
        raise CheckpointError(
            model.file, f"{where} has {len(pattern)} layers; it must have 1...{_MOST_LAYERS}", where)
    layers: List[Union[ExactLayer, GatedLinearLayer]] = [
        _layer(_Section(model.file, f"{where}.{index}", layer), hidden)
        for index, layer in enumerate(pattern)]
    return tuple(layers) * repeats


def _layer(section: _Section, hidden: int) -> Union[ExactLayer, GatedLinearLayer]:
    kind = section.text("type", _REQUIRED, ("softmax", "cosine", "gated_linear"))
    if kind == "gated_linear":
        return _gated_linear(section, hidden)
    return _exact(section, hidden, is_cosine=kind == "cosine")


def _exact(section: _Section, hidden: int, is_cosine: bool) -> ExactLayer:
    section.require_known((
        "type", "heads", "window", *(["scale"] if is_cosine else []), "key_value_heads",
        "head_dimension", "rotary_theta"))

    def optional(key: str) -> Optional[int]:
        return None if section.is_null(key) else section.extent(key, None)

    heads = section.extent("heads", _DEFAULT_HEADS)
    shared = optional("key_value_heads") or heads
    if heads % shared:
        section.fail("key_value_heads", f"a divisor of heads, {heads}")
    dimension = optional("head_dimension")
    if dimension is None:
        if hidden % heads:
            section.fail("heads", f"a divisor of the hidden size, {hidden}", was=heads)
        dimension = hidden // heads
    window = None if section.is_null("window") else section.value(
        "window", None, _whole, "a whole number")
    if window is not None and window < 1:
        section.fail("window", "at least 1")
    theta = None if section.is_null("rotary_theta") else section.positive("rotary_theta", 10_000.0)
    if theta is not None and dimension % 2:
        section.fail(
            "head_dimension", "even and above 0 for rotary embeddings", was=dimension)
    if is_cosine:
        # The initial value of the trained scale.
        section.positive("scale", 8.0)
    return ExactLayer(heads, shared, dimension, window, theta, is_cosine)


def _gated_linear(section: _Section, hidden: int) -> GatedLinearLayer:
    section.require_known((
        "type", "heads", "key_value_heads", "key_expansion", "value_expansion",
        "convolution_width", "convolution_bias", "feature_map", "decay_rank", "decay_divisor",
        "smallest_decay", "gate", "norm_epsilon"))
    # What the Swift package can compute besides.
    for key in ("key_value_heads", "convolution_width", "smallest_decay"):
        if section.values.get(key) is not None:
            section.fail(key, "null in this package")
    section.truth("convolution_bias", False)
    section.text("feature_map", "identity", ("identity",))
    heads = section.extent("heads", _DEFAULT_HEADS)

    def width(key: str, default: float) -> int:
        ratio = section.positive(key, default)
        product = ratio * hidden
        if not product.is_integer() or int(product) % heads or product > _LARGEST_EXTENT:
            section.fail(
                key,
                f"such that times the hidden size, {hidden}, it is a multiple of heads, {heads},"
                f" and at most {_LARGEST_EXTENT}", was=ratio)
        return int(product)

    return GatedLinearLayer(
        heads=heads, key_width=width("key_expansion", 0.5), value_width=width("value_expansion", 1),
        decay_rank=section.extent("decay_rank", 16),
        decay_divisor=section.positive("decay_divisor", 16.0),
        gate=section.text("gate", "swish", _GATES),
        norm_epsilon=section.positive("norm_epsilon", 1e-6))

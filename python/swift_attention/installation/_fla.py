"""Behind flash-linear-attention: its functions, wherever its layers and models have them from."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Callable, Dict, Tuple

import torch

from .. import fla, flash_attn
from ._fla_modules import MODULES, loss_of_module
from ._patches import Patches
from ._report import Refusal, attempt

_FRAMEWORK = "fla"


def install(patches: Patches) -> None:
    """Routes the operators, on any device, and on CPUs what its layers put around them."""
    routes = _Routes(patches)
    patches.when_imported(r"fla(\..*)?", routes.change)


class _Routes:
    """Originals by their identity, each with what stands in its place."""

    def __init__(self, patches: Patches) -> None:
        self._patches = patches
        self._routed: Dict[int, Tuple[object, Callable]] = {}

    def change(self, module: ModuleType) -> None:
        """Replaces every global of a module that is one of the functions."""
        for own in MODULES.get(module.__name__, ()):
            original = getattr(module, own.__name__, None)
            if original is not None and id(original) not in self._routed:
                self._routed[id(original)] = (original, _on_processors(original, own))
        loss = vars(module).get("FusedCrossEntropyLoss")
        if loss is not None and loss.__module__ == module.__name__:
            self._patches.set_attribute(
                loss, "forward", _on_processors(loss.forward, loss_of_module))
        for name in ("flash_attn_func", "flash_attn_varlen_func"):
            if vars(module).get(name, module) is None:
                self._patches.set_attribute(
                    module, name, _routed(_missing, getattr(flash_attn, name)))
        for name, value in list(vars(module).items()):
            if isinstance(value, dict) and name.isupper():
                for key, each in list(value.items()):
                    if id(each) in self._routed:
                        self._patches.set_item(value, key, self._routed[id(each)][1])
                continue
            if _is_operator(value) and id(value) not in self._routed:
                own = getattr(fla, value.__name__)
                self._routed[id(value)] = (value, _routed(value, own))
            if id(value) in self._routed:
                self._patches.set_attribute(module, name, self._routed[id(value)][1])


def _missing(*_arguments: object, **_options: object) -> None:
    raise ImportError("flash_attn is not installed, and swift_attention refused the call")


def _is_operator(value: object) -> bool:
    name = getattr(value, "__name__", None)
    module = getattr(value, "__module__", None) or ""
    return (
        callable(value) and not isinstance(value, type) and name in fla.__all__
        and module.startswith("fla.ops") and not hasattr(value, "_runs_swift_attention"))


def _routed(original: Callable, own: Callable) -> Callable:
    @functools.wraps(original)
    def routed(*arguments, **options):
        return attempt(
            _FRAMEWORK, own.__name__, lambda: own(*arguments, **options),
            lambda: original(*arguments, **options), "the original")

    routed._runs_swift_attention = True
    return routed


def _on_processors(original: Callable, own: Callable) -> Callable:
    def run(*arguments, **options):
        tensors = (x for x in (*arguments, *options.values()) if isinstance(x, torch.Tensor))
        if any(x.is_cuda for x in tensors):
            raise Refusal("tensors are on a GPU, where the original is one kernel")
        return own(*arguments, **options)

    run.__name__ = own.__name__
    return _routed(original, run)

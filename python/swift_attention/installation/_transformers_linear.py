"""The linear functions of models: `transformers` names the package that each could come from."""

from __future__ import annotations

import functools
import inspect
from types import FunctionType, ModuleType
from typing import Callable, Dict, Optional

import torch

from .. import causal_conv1d, mamba_ssm
from ..fla import (
    chunk_gated_delta_rule, chunk_kda, fused_recurrent_gated_delta_rule, fused_recurrent_kda)
from ._patches import Patches
from ._report import Refusal, attempt

# By the function's name in its package.
_FUNCTIONS: Dict[str, Callable] = {
    function.__name__: function
    for function in (
        causal_conv1d.causal_conv1d_fn,
        causal_conv1d.causal_conv1d_update,
        chunk_gated_delta_rule,
        chunk_kda,
        fused_recurrent_gated_delta_rule,
        fused_recurrent_kda,
        mamba_ssm.mamba_chunk_scan_combined,
        mamba_ssm.selective_scan_fn,
        mamba_ssm.selective_state_update,
    )
}
_WITHOUT_GRADIENTS = frozenset(["selective_state_update"])


def change_functions(patches: Patches, module: ModuleType) -> None:
    """Routes those functions of a model's module that a package could replace."""
    for name, value in list(vars(module).items()):
        replaced = _replaced_name(value)
        if replaced in _FUNCTIONS:
            patches.set_attribute(module, name, _routed(value, _FUNCTIONS[replaced]))


def _replaced_name(value: object) -> Optional[str]:
    """The package's name of a function that `use_kernel_func_from_hub_with_fallback` made."""
    if not isinstance(value, FunctionType) or value.__closure__ is None:
        return None
    names = dict(zip(value.__code__.co_freevars, value.__closure__))
    cell = names.get("func_name")
    return cell.cell_contents if cell is not None and "torch_function" in names else None


def _routed(original: FunctionType, own: Callable) -> Callable:
    """`original` on this package's function, with those arguments that it has."""
    name = own.__name__
    parameters = frozenset(inspect.signature(own).parameters) - {"kwargs"}

    @functools.wraps(original)
    def routed(*arguments, **options):
        def run():
            if name in _WITHOUT_GRADIENTS and torch.is_grad_enabled() and any(
                isinstance(each, torch.Tensor) and each.requires_grad
                for each in (*arguments, *options.values())
            ):
                raise Refusal("gradients are recorded; a step of decoding has none")
            return own(*arguments, **{k: v for k, v in options.items() if k in parameters})

        return attempt(
            "transformers", f"{name} of {original.__module__.rpartition('.')[2]}", run,
            lambda: original(*arguments, **options), original.__name__)

    return routed

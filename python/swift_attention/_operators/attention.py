"""The operator `swift_attention::attention`, as PyTorch's dispatcher and autograd see it."""

from __future__ import annotations

from typing import List, Optional, Sequence, Tuple

import torch
from torch.compiler import is_compiling

from . import NAMESPACE, explainers, library
from .._library import ATTENTION
from .attention_calls import (
    DIFFERENTIABLE, INPUTS, NO_TERMS, SCHEMA, OptionValues, Plan, allocated, backward,
    check_together, forward, log_sum_exp_shape, output_layout, plan_of)
from .batching import Batching, register_vmap
from .calls import FORWARD, Tensors, run
from .eager import PLAIN_TYPES, is_plain, is_plain_tensor, records_gradients
from .tape import (
    FirstDerivatives, Recorded, apply_in_kernel, below_autograd, is_differentiated)

_TENSORS = "Tensor queries, Tensor keys, Tensor values, " + ", ".join(
    f"Tensor? {name}" for name in INPUTS[3:])
library.define(
    f"attention({_TENSORS}, {SCHEMA}) -> (Tensor output, Tensor log_sum_exp)",
    tags=(torch.Tag.pt2_compliant_tag,))
library.define(
    f"attention_backward({_TENSORS}, Tensor output, Tensor log_sum_exp, Tensor? output_gradient,"
    f" Tensor? log_sum_exp_gradient, bool[] needed, {SCHEMA}) -> Tensor[]",
    tags=(torch.Tag.pt2_compliant_tag,))

_operators = getattr(torch.ops, NAMESPACE)
_attention = _operators.attention.default
_attention_backward = _operators.attention_backward.default


_COUNT = len(INPUTS)


def attend(
    tensors: Tensors, values: OptionValues, rule: Optional[tuple] = None
) -> Tuple[torch.Tensor, torch.Tensor]:
    """Output and log-sum-exp, with gradients where inputs need them.

    `tensors` are those of `INPUTS` in their order; `rule` is that of `plan_of`.
    """
    if is_compiling() or not is_plain() or not all(map(is_plain_tensor, tensors)):
        return _attention(*tensors, *values)
    plan = plan_of(tensors, values, rule)
    if records_gradients() and any(t is not None and t.requires_grad for t in tensors):
        return _Attention.apply(values, plan, *tensors)
    return forward(plan, tensors, needs_gradient=False)


def attend_again(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, rule: tuple
) -> Optional[torch.Tensor]:
    """The output of a call without terms, if one with such tensors and rule was made before.

    It is the way of short calls: nothing is checked twice.
    """
    if (
        not is_plain()
        or type(queries) not in PLAIN_TYPES
        or type(keys) not in PLAIN_TYPES
        or type(values) not in PLAIN_TYPES
        or queries.is_neg()
        or keys.is_neg()
        or values.is_neg()
    ):
        return None
    # As `plan_of` has it.
    try:
        plan = FORWARD.get((
            rule, queries.shape, queries.stride(), queries.dtype, queries.device,
            keys.shape, keys.stride(), keys.dtype, keys.device,
            values.shape, values.stride(), values.dtype, values.device, *NO_TERMS))
    except RuntimeError:
        # A layout without a shape or strides.
        return None
    if plan is None or plan.is_empty:
        return None
    if torch.is_grad_enabled() and (
        queries.requires_grad or keys.requires_grad or values.requires_grad
    ):
        if not records_gradients():
            return None
        return _Attention.apply(plan.values, plan, queries, keys, values, *NO_TERMS)[0]
    output = allocated(plan, queries)
    run(plan.template, ATTENTION.forward, [
        queries.data_ptr(), keys.data_ptr(), values.data_ptr(), output.data_ptr()])
    return output


class _Attention(Recorded):
    """Output and log-sum-exp of options, a plan and tensors; without a plan by the dispatcher."""

    @staticmethod
    def forward(ctx, values: OptionValues, plan: Optional[Plan], *tensors: Optional[torch.Tensor]):
        if plan is None:
            with below_autograd():
                results = _attention(*tensors, *values._replace(needs_gradient=True))
        else:
            results = forward(plan, tensors, needs_gradient=True)
        ctx.values = values
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, *results)
        return results

    @staticmethod
    def backward(ctx, *incoming: Optional[torch.Tensor]):
        saved = ctx.saved_tensors
        tensors, results = saved[:_COUNT], saved[_COUNT:]
        needed = ctx.needs_input_grad[2:2 + len(DIFFERENTIABLE)]
        everything = (*saved, *incoming)
        if torch.is_grad_enabled() or not is_plain() or not all(map(is_plain_tensor, everything)):
            found = _attention_backward(*everything, needed, *ctx.values)
        else:
            found = backward(tensors, ctx.values, results, incoming, needed)
        gradients = iter(found)
        others = len(ctx.needs_input_grad) - len(needed) - 2
        return (
            None, None, *(next(gradients) if is_needed else None for is_needed in needed),
            *[None] * others)


# --- What the dispatcher is told


def _split(arguments: Sequence) -> Tuple[Tensors, OptionValues]:
    return tuple(arguments[:_COUNT]), OptionValues(*arguments[_COUNT:])


def _forward(*arguments):
    tensors, values = _split(arguments)
    return forward(plan_of(tensors, values), tensors, values.needs_gradient)


def _backward(*arguments) -> List[torch.Tensor]:
    tensors, (output, lse, output_gradient, lse_gradient, needed), values = (
        arguments[:_COUNT], arguments[_COUNT:_COUNT + 5], arguments[_COUNT + 5:])
    return backward(
        tensors, OptionValues(*values), (output, lse), (output_gradient, lse_gradient), needed)


def _autograd(*arguments):
    tensors, values = _split(arguments)
    if is_differentiated(tensors):
        return apply_in_kernel(_Attention, values, None, *tensors)
    with torch._C._AutoDispatchBelowAutograd():
        return _attention(*arguments)


def _autograd_of_backward(*arguments) -> List[torch.Tensor]:
    if is_differentiated(arguments):
        return list(apply_in_kernel(FirstDerivatives, _attention_backward, *arguments))
    with torch._C._AutoDispatchBelowAutograd():
        return _attention_backward(*arguments)


def _fake(*arguments) -> Tuple[torch.Tensor, torch.Tensor]:
    # PyTorch gives a call to the meta device where one tensor of it is there.
    check_together(arguments[:_COUNT])
    queries, values = arguments[0], arguments[2]
    heads_first = OptionValues(*arguments[_COUNT:]).heads_first
    shape, strides = output_layout(queries, values, heads_first)
    return (
        queries.new_empty_strided(shape, strides),
        queries.new_empty(log_sum_exp_shape(queries, heads_first), dtype=torch.float32))


def _fake_of_backward(*arguments) -> List[torch.Tensor]:
    needed = arguments[_COUNT + 4]
    return [torch.empty_like(t) for t, is_needed in zip(arguments, needed) if is_needed]


def _autocast(device: str, key: str):
    """As PyTorch's own attention: queries, keys and values in autocast's type."""

    def run(queries, keys, values, *others):
        dtype = torch.get_autocast_dtype(device)

        def cast(tensor: torch.Tensor) -> torch.Tensor:
            is_eligible = tensor.is_floating_point() and tensor.dtype != torch.float64
            return tensor.to(dtype) if is_eligible and tensor.device.type == device else tensor

        with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(key_of_dispatch)):
            return _attention(cast(queries), cast(keys), cast(values), *others)

    key_of_dispatch = getattr(torch._C.DispatchKey, key)
    library.impl("attention", run, key)


def _explained(*arguments) -> Tuple[str, object]:
    tensors, values = _split(arguments)
    return ATTENTION.explain(plan_of(tensors, values).template), _fake(*arguments)


explainers[_attention] = _explained

def _has_batch(name: str, shape: Sequence[int], batch: int) -> bool:
    # What has one number per head has no batch, and a bias may have one of 1.
    return len(shape) > 1 and (name != "bias" or shape[0] == batch)


def _names_of(arguments: Sequence) -> List[str]:
    return [name for name, is_needed in zip(DIFFERENTIABLE, arguments[_COUNT + 4]) if is_needed]


_batching = Batching("queries", _has_batch, unrepeated=("bias",))
register_vmap("attention", _attention, _batching, INPUTS)
register_vmap(
    "attention_backward", _attention_backward, _batching,
    (*INPUTS, "output", "log_sum_exp", "output_gradient", "log_sum_exp_gradient"), _names_of)

for _device in ("CPU", "CUDA"):
    library.impl("attention", _forward, _device)
    library.impl("attention_backward", _backward, _device)
    _autocast(_device.lower(), f"Autocast{_device}")
library.impl("attention", _autograd, "Autograd")
library.impl("attention_backward", _autograd_of_backward, "Autograd")
torch.library.register_fake(f"{NAMESPACE}::attention", _fake, lib=library)
torch.library.register_fake(f"{NAMESPACE}::attention_backward", _fake_of_backward, lib=library)

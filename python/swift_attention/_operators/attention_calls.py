"""Calls of exact attention on memory: options, layouts and results; no autograd, no dispatcher."""

from __future__ import annotations

from collections import namedtuple
from typing import Dict, List, Optional, Sequence, Tuple

import torch

from .._library import ATTENTION, Layout, Option, Template, device_number
from .calls import BACKWARD, FORWARD, Tensors, key_of, pointers_of, run
from .eager import check_floating

# The tensors of a call in the operator's order; those that may have gradients come first.
DIFFERENTIABLE, INPUTS = ATTENTION.differentiable, ATTENTION.inputs
# queries, keys and values are followed by these.
NO_TERMS: Tensors = (None,) * (len(INPUTS) - 3)

HEADS_FIRST = (0, 2, 1, 3)
_UNLIMITED = -1


# Options of the struct with two values, by what the second means.
_NAMES = {"similarity": "is_cosine", "alignment": "is_top_left"}
_IN_STRUCT = {name: field for field, name in _NAMES.items()}
# Those that may be absent, with the field that says so.
_PRESENCE = {"scale": "has_scale", "window_left": "has_window", "window_right": "has_window"}
_WINDOW = {"window_left": _UNLIMITED, "window_right": _UNLIMITED}
_FLAGS = ("is_", "has_", "allows_", "needs_", "heads_first")


def _kind(name: str) -> str:
    """An option's kind in the schema language."""
    if name in _PRESENCE:
        return "SymInt?" if name in _WINDOW else "float?"
    if name == "kernel":
        return "str"
    if name.startswith(_FLAGS):
        return "bool"
    return "float" if ATTENTION.kinds[name] == "d" else "int"


_OPTIONS = [
    _NAMES.get(field, field) for field in ATTENTION.options
    if field not in _PRESENCE.values() and field != "needs_gradient"]
# Whether queries, keys, values and output are [b,h,t,d] in place of [b,t,h,d]; the kernel; and whether
# the backward pass will be asked for: the kernel of both is chosen for it.
_OPTIONS += ["heads_first", "kernel", "needs_gradient"]
_KINDS = {name: _kind(name) for name in _OPTIONS}
_DEFAULTS = {"float": 0.0, "int": 0, "bool": False, "str": "", "float?": None, "SymInt?": None}

SCHEMA = ", ".join(f"{kind} {name}" for name, kind in _KINDS.items())


class OptionValues(
    namedtuple("_OptionValues", _OPTIONS, defaults=[_DEFAULTS[x] for x in _KINDS.values()])
):
    """What a call says beside its tensors, in the operator's order."""

    __slots__ = ()

    @property
    def fields(self) -> Dict[str, Option]:
        """The same as fields of the call's struct."""
        fields: Dict[str, Option] = {
            _IN_STRUCT.get(name, name): value for name, value in self._asdict().items()
            if value not in (None, "") and name != "heads_first"}
        for name, presence in _PRESENCE.items():
            if name in fields:
                fields[presence] = 1
        return {**_WINDOW, **fields} if "has_window" in fields else fields


class Plan:
    """What is the same in every forward call of one combination of layouts and options."""

    __slots__ = (
        "values", "device", "is_empty", "output", "log_sum_exp", "is_like_queries", "template",
        "_layouts", "_with_log_sum_exp")

    def __init__(self, tensors: Tensors, values: OptionValues) -> None:
        check(tensors)
        self.values = values
        queries = tensors[0]
        self.device = device_number(queries.device)
        shape, strides = output_layout(queries, tensors[2], values.heads_first)
        self.output = Layout(shape, strides, queries.dtype)
        self.is_like_queries = shape == queries.shape and strides == queries.stride()
        lse = log_sum_exp_shape(queries, values.heads_first)
        # Without a dimension of the values there still is a log-sum-exp.
        self.is_empty = 0 in lse
        self.log_sum_exp = Layout(lse, (lse[1] * lse[2], lse[2], 1), torch.float32)
        layouts = _layouts(tensors, values.heads_first)
        layouts["output"] = _heads_second(self.output, values.heads_first)
        self.template = ATTENTION.template(self.device, layouts, values.fields)
        self._layouts = dict(layouts, log_sum_exp=self.log_sum_exp)
        self._with_log_sum_exp: List[Optional[Template]] = [None, None]

    def with_log_sum_exp(self, needs_gradient: bool) -> Template:
        """The call that gives the log-sum-exp too; made when it is first asked for."""
        template = self._with_log_sum_exp[needs_gradient]
        if template is None:
            template = ATTENTION.template(
                self.device, self._layouts, dict(self.values.fields, needs_gradient=needs_gradient))
            self._with_log_sum_exp[needs_gradient] = template
        return template


def check(tensors: Tensors) -> None:
    """Raises for what the library cannot be asked about."""
    check_together(tensors)
    device = tensors[0].device
    if device_number(device) is None:
        raise ValueError(f"queries is on {device}; it must be on the processor or a GPU")


def check_together(tensors: Tensors) -> None:
    """Raises for ranks, types and devices that do not fit, wherever the queries are."""
    queries = tensors[0]
    for name, tensor in zip(INPUTS, tensors):
        if tensor is None:
            continue
        if name in INPUTS[:3] and tensor.dim() != 4:
            raise ValueError(f"{name} is {list(tensor.shape)}; it must be of rank 4")
        if name in DIFFERENTIABLE and not (name == "bias" and tensor.dtype == torch.bool):
            check_floating(name, tensor)
        is_on_host = name == "cumulative_lengths" and tensor.device.type == "cpu"
        if tensor.device != queries.device and not is_on_host:
            raise ValueError(
                f"{name} is on {tensor.device}; it must be on {queries.device}, as the queries")


def output_layout(
    queries: torch.Tensor, values: torch.Tensor, heads_first: bool
) -> Tuple[Sequence[int], Sequence[int]]:
    """Shape and strides of the output, which lies in memory as the queries do.

    Tokens or heads are outside; where there is one of either, both are the same, and heads are.
    """
    shape = (*queries.shape[:3], values.shape[3])
    token, head = (2, 1) if heads_first else (1, 2)
    tokens, heads, width = shape[token], shape[head], shape[3]
    strides = [tokens * heads * width, 0, 0, 1]
    if tokens > 1 and heads > 1 and queries.stride(token) > queries.stride(head):
        strides[token], strides[head] = heads * width, width
    else:
        strides[token], strides[head] = width, tokens * width
    return shape, tuple(strides)


def log_sum_exp_shape(queries: torch.Tensor, heads_first: bool) -> Tuple[int, int, int]:
    """[b,h,t]"""
    batch, second, third, _ = queries.shape
    return (batch, second, third) if heads_first else (batch, third, second)


def _heads_second(layout: Layout, heads_first: bool) -> Layout:
    """The layout as [b,t,h,d]."""
    if not heads_first:
        return layout
    shape, strides, dtype, _ = layout
    return Layout(
        tuple(shape[axis] for axis in HEADS_FIRST), tuple(strides[axis] for axis in HEADS_FIRST),
        dtype)


def _layouts(tensors: Tensors, heads_first: bool) -> Dict[str, Layout]:
    layouts = {}
    for name, tensor in zip(INPUTS, tensors):
        if tensor is not None:
            layout = Layout.of(tensor)
            layouts[name] = _heads_second(layout, heads_first and name in INPUTS[:3])
            if tensor.device != tensors[0].device:
                layouts[name] = layout._replace(is_on_host=True)
    return layouts


def plan_of(tensors: Tensors, values: OptionValues, rule: Optional[tuple] = None) -> Plan:
    """The plan of a call; made where there is none yet.

    `rule` stands for the values where a function has checked its calls by rules of its own.
    """
    key = (rule or values, *key_of(tensors))
    plan = FORWARD.get(key)
    return FORWARD.keep(key, Plan(tensors, values)) if plan is None else plan


def forward(
    plan: Plan, tensors: Tensors, needs_gradient: bool
) -> Tuple[torch.Tensor, torch.Tensor]:
    """Output and log-sum-exp; `needs_gradient` says whether the backward pass will be asked for."""
    queries = tensors[0]
    output, layout = allocated(plan, queries), plan.log_sum_exp
    log_sum_exp = torch.empty_strided(
        layout.shape, layout.strides, dtype=layout.dtype, device=queries.device)
    if not plan.is_empty:
        run(
            plan.with_log_sum_exp(needs_gradient), ATTENTION.forward,
            pointers_of((*tensors, output, log_sum_exp)))
    return output, log_sum_exp


def allocated(plan: Plan, queries: torch.Tensor) -> torch.Tensor:
    """Memory for the output of a call."""
    if plan.is_like_queries:
        return torch.empty_like(queries)
    shape, strides, dtype, _ = plan.output
    return torch.empty_strided(shape, strides, dtype=dtype, device=queries.device)


def backward(
    tensors: Tensors,
    values: OptionValues,
    results: Tensors,
    incoming: Tensors,
    needed: Sequence[bool],
) -> List[torch.Tensor]:
    """Gradients of those of `DIFFERENTIABLE` that are needed, in their order.

    `results` are output and log-sum-exp, `incoming` their gradients; None is zero.
    """
    gradients = [
        torch.empty_like(tensor) for tensor, is_needed in zip(tensors, needed) if is_needed]
    if results[1].numel() == 0 or not gradients:
        return [gradient.zero_() for gradient in gradients]
    others = [*results, *incoming, *gradients]
    key = (values, tuple(needed), *key_of(tensors), *key_of(others))
    template = BACKWARD.get(key)
    if template is None:
        layouts = _layouts(tensors, values.heads_first)
        names = ["output", "log_sum_exp", "output_gradient", "log_sum_exp_gradient"]
        names += [f"{name}_gradient" for name, is_needed in zip(INPUTS, needed) if is_needed]
        turned = {"output", "output_gradient", *(f"{name}_gradient" for name in INPUTS[:3])}
        for name, tensor in zip(names, others):
            if tensor is not None:
                layouts[name] = _heads_second(
                    Layout.of(tensor), values.heads_first and name in turned)
        template = ATTENTION.template(
            device_number(results[0].device), layouts, values.fields)
        BACKWARD.keep(key, template)
    run(template, ATTENTION.backward, pointers_of((*tensors, *others)))
    return gradients
